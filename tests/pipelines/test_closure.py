from pathlib import Path

import pytest

from pipelines.closure import ClosureError, closure, code_digest


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
