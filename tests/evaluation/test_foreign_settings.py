"""A measurement is known by what its numbers depend on, and the code by its commit."""

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

from dimitra.assets import asset_sha256
from dimitra.evaluation.tasks import Settings
from pipelines.closure import ROOT, closure
from pipelines.evaluation.foreign_settings import MEASURER, code_commit, identity, settings_of
from tests.evaluation.films import sync_folder


def test_whatever_changes_a_number_changes_its_identity(tmp_path: Path) -> None:
    sync_folder(tmp_path / "sync")
    plain = Settings(("lmd", "sync"))
    trained = replace(plain, network="trained", weights=str(tmp_path / "sync"))
    cropped = settings_of(
        ("lmd",), None, None, None, ROOT / "conf/sample.yaml",
        max_reference_missed=0.0, max_difference_s=0.2,
    )  # fmt: skip
    others = [
        plain,
        trained,
        replace(plain, groups=("lmd",)),
        replace(plain, max_reference_missed=0.1),
        replace(plain, max_difference_s=0.1),
        cropped,
        replace(cropped, crop=str(cropped.crop).replace('"max_frames"', '"max_frames_"')),
        replace(cropped, crop=str(cropped.crop).replace('"margin": ', '"margin": 1')),
    ]
    found = [identity(one)["sha256"] for one in others]
    assert len(set(found)) == len(found)
    shutil.copytree(tmp_path / "sync", tmp_path / "copy")
    assert identity(replace(trained, weights=str(tmp_path / "copy")))["sha256"] == found[1]
    assert identity(cropped)["crop_weights"] == {"dlib_68": asset_sha256("dlib_68")}


def test_the_code_is_named_by_its_last_commit_and_its_edits(tmp_path: Path) -> None:
    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", "-c", "user.name=t", "-c", "user.email=t@t", *arguments],
            cwd=tmp_path,
            check=True,
            capture_output=True,
            text=True,
        ).stdout.strip()

    for path in closure(MEASURER):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / path, tmp_path / path)
    assert code_commit(tmp_path) == {"commit": None, "uncommitted": None}
    git("init", "-q")
    git("add", "-A")
    git("commit", "-qm", "code")
    commit = git("rev-parse", "HEAD")
    (tmp_path / "README").write_text("words")
    git("add", "-A")
    git("commit", "-qm", "words")
    assert code_commit(tmp_path) == {"commit": commit, "uncommitted": []}
    (tmp_path / "dimitra/metrics/image.py").write_text("# other\n")
    assert code_commit(tmp_path)["uncommitted"] == ["dimitra/metrics/image.py"]
