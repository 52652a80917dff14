"""``datasets.root`` on another disk, with the real DVC: read in place, hashed, never copied."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from pipelines.closure import ROOT
from pipelines.runtime.jobs import read_manifest
from tests.pipelines.test_ingest import video

RANDOM_BYTES = 4_000_000
"""Appended to the videos, so that a copy of one would be seen."""


def size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


class Repository:
    """A repository with the stages ``ingest`` and ``split`` of dvc.yaml, and the code they need."""

    def __init__(self, folder: Path, root: Path) -> None:
        self.folder = folder
        stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
        stages = {name: stages[name] for name in ("ingest", "split")}
        for package in ("dimitra", "pipelines", "conf"):
            shutil.copytree(
                ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__")
            )
        (folder / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}))
        self.values: dict[str, Any] = yaml.safe_load((ROOT / "conf/sample.yaml").read_text())
        self.values["datasets"]["root"] = str(root)
        self.values["datasets"]["sets"] = {
            "mine": {"layout": "folder", "path": "talks", "split": "mine/v1"}
        }
        self.save()
        for side, name in (("train", "anna"), ("test", "ben")):
            path = folder / f"splits/mine/v1/{side}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{name}\n")
        self.run("git", "init", "-q")
        self.run("dvc", "init", "-q")

    def save(self) -> None:
        (self.folder / "params.yaml").write_text(yaml.safe_dump(self.values, sort_keys=False))

    def run(self, *command: str) -> str:
        environment = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(self.folder),
            "DIMITRA_CACHE_DIR": str(self.folder.parent / "cache"),
            "DVC_NO_ANALYTICS": "true",
            "DVC_SITE_CACHE_DIR": str(self.folder.parent / "site"),
            "GIT_CONFIG_GLOBAL": os.devnull,
        }
        environment.pop("RAY_ADDRESS", None)
        result = subprocess.run(
            command, cwd=self.folder, env=environment, capture_output=True, text=True, check=False
        )
        output = result.stdout + result.stderr
        assert result.returncode == 0, f"{command} exited {result.returncode}:\n{output[-6000:]}"
        return output

    def stages(self, *command: str) -> list[str]:
        """Stages that a ``dvc repro`` really ran."""
        return re.findall(r"Running stage '([^']+)'", self.run("dvc", "repro", *command))


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    """A folder outside of the repository, with two videos."""
    root = tmp_path / "other disk"
    filler = np.random.default_rng(1).bytes(RANDOM_BYTES)
    for name, seconds in (("anna/one.mp4", 1.2), ("ben/two.mp4", 1.4)):
        path = root / "talks" / name
        path.parent.mkdir(parents=True)
        data = video(seconds)
        path.write_bytes(data + (len(filler) + 8).to_bytes(4, "big") + b"free" + filler)
    return root


def test_videos_elsewhere_are_hashed_in_place_and_never_copied(disk: Path, tmp_path: Path) -> None:
    repository = Repository(tmp_path / "repository", disk)
    before = {path: path.stat() for path in sorted(disk.rglob("*"))}
    assert repository.stages("split") == ["ingest", "split"]
    clips = read_manifest(repository.folder / "data/manifest/clips.parquet")
    assert [(clip.identity, clip.path) for clip in clips] == [
        ("anna", "anna/one.mp4"),
        ("ben", "ben/two.mp4"),
    ]
    assert all((disk / "talks" / clip.path).stat().st_size > RANDOM_BYTES for clip in clips)

    # Neither DVC's cache, nor the work cache, nor the repository holds a video.
    for place in (repository.folder / ".dvc", tmp_path / "cache", repository.folder / "data"):
        assert size_of(place) < RANDOM_BYTES // 4, place
    assert not [path for path in repository.folder.rglob("*.mp4") if path.is_file()]
    after = {path: path.stat() for path in sorted(disk.rglob("*"))}
    assert [(p, s.st_size, s.st_mtime_ns, s.st_nlink, s.st_ino) for p, s in after.items()] == [
        (p, s.st_size, s.st_mtime_ns, s.st_nlink, s.st_ino) for p, s in before.items()
    ]
    lock = yaml.safe_load((repository.folder / "dvc.lock").read_text())
    (dependency,) = [d for d in lock["stages"]["ingest"]["deps"] if d["path"] == str(disk)]
    assert (dependency["nfiles"], dependency["md5"][-4:]) == (2, ".dir")

    # Nothing changed: nothing runs. A file changed: what depends on it does.
    assert repository.stages("split") == []
    (disk / "talks/ben/three.mp4").write_bytes(video(1.6))
    assert repository.stages("split") == ["ingest", "split"]
    assert size_of(repository.folder / ".dvc") < RANDOM_BYTES // 4

    # A list of clips is a dependency as well.
    (repository.folder / "splits/mine/v1/clips.txt").write_text("anna/one.mp4\nben/two.mp4\n")
    repository.values["datasets"]["sets"]["mine"]["clips"] = "splits/mine/v1/clips.txt"
    repository.save()
    repository.run("dvc", "repro", "ingest")
    manifest = repository.folder / "data/manifest/clips.parquet"
    assert [clip.path for clip in read_manifest(manifest)] == ["anna/one.mp4", "ben/two.mp4"]
    (repository.folder / "splits/mine/v1/clips.txt").write_text("anna/one.mp4\n")
    assert repository.stages("ingest") == ["ingest"]
    assert [clip.path for clip in read_manifest(manifest)] == ["anna/one.mp4"]
