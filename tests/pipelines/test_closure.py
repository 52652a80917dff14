from pathlib import Path

import pytest

from pipelines.closure import ROOT, ClosureError, closure, code_digest, differences, rewrite

DVC = ROOT / "dvc.yaml"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    files = {
        "dimitra/__init__.py": "",
        "dimitra/clips.py": "import dimitra.seeds as seeds\n",
        "dimitra/seeds.py": "import hashlib\n",
        "dimitra/unused.py": "",
        "dimitra/faces/__init__.py": "",
        "dimitra/faces/track.py": "def f():\n    from dimitra.faces.boxes import Box\n",
        "dimitra/faces/boxes.py": "DATA_FILES = ('boxes.json',)\n",
        "dimitra/faces/boxes.json": "{}",
        "pipelines/__init__.py": "",
        "pipelines/crop.py": (
            "import numpy\nfrom dimitra import clips\nfrom dimitra.faces.track import f\n"
        ),
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def test_closure_follows_imports_into_functions_packages_and_data(tree: Path) -> None:
    assert [path.as_posix() for path in closure("pipelines.crop", tree)] == [
        "dimitra/__init__.py",
        "dimitra/clips.py",
        "dimitra/faces/__init__.py",
        "dimitra/faces/boxes.json",
        "dimitra/faces/boxes.py",
        "dimitra/faces/track.py",
        "dimitra/seeds.py",
        "pipelines/__init__.py",
        "pipelines/crop.py",
    ]


def test_the_digest_follows_the_closure_alone(tree: Path) -> None:
    before = code_digest("pipelines.crop", tree)
    (tree / "dimitra" / "unused.py").write_text("x = 1\n")
    assert code_digest("pipelines.crop", tree) == before
    (tree / "dimitra" / "faces" / "boxes.json").write_text("{}\n")
    assert code_digest("pipelines.crop", tree) != before


def test_what_cannot_be_followed_is_named(tree: Path) -> None:
    with pytest.raises(ClosureError, match=r"pipelines\.fit is not below"):
        closure("pipelines.fit", tree)
    (tree / "dimitra" / "clips.py").write_text("DATA_FILES = ('gone.json',)\n")
    with pytest.raises(ClosureError, match=r"gone\.json.*no such file"):
        closure("pipelines.crop", tree)
    (tree / "dimitra" / "clips.py").write_text("")
    (tree / "dimitra" / "faces" / "track.py").write_text("from . import boxes\n")
    with pytest.raises(ClosureError, match=r"track\.py:1: relative import"):
        closure("pipelines.crop", tree)


def test_rewrite_mends_what_the_check_finds_and_touches_nothing_else(tree: Path) -> None:
    text = (
        "# a comment\nstages:\n  crop:\n    cmd: python -m pipelines.crop\n    deps:\n"
        "    - data/manifest\n    - dimitra/unused.py\n    params:\n    - crop\n    outs:\n"
        "    - data/crops\n"
    )
    wrong = differences(text, tree)
    assert "crop: dimitra/unused.py is in deps, but not imported" in wrong
    assert "crop: dimitra/seeds.py is missing from deps" in wrong
    mended = rewrite(text, tree)
    assert differences(mended, tree) == []
    assert rewrite(mended, tree) == mended
    kept = "".join(line for line in mended.splitlines(keepends=True) if "imitra" not in line)
    assert kept.replace("    - pipelines/__init__.py\n    - pipelines/crop.py\n", "") == (
        text.replace("    - dimitra/unused.py\n", "")
    )


def test_every_stage_of_dvc_yaml_depends_on_its_closure() -> None:
    assert differences(DVC.read_text()) == [], "run `python -m pipelines.closure --write`"
