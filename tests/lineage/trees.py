"""A checkout with a cut of the sample corpus, in which real stages are run."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
TRAIN, TEST = "id00001", "id00013"
"""One identity of each side of splits/chorus/v1."""


def git(folder: Path, *arguments: str) -> str:
    """Run git in a folder, apart from the settings of whoever runs the tests."""
    identity = ("-c", "user.name=t", "-c", "user.email=t@localhost")
    return subprocess.run(
        ["git", *identity, *arguments],
        cwd=folder,
        env={**os.environ, "GIT_CONFIG_GLOBAL": os.devnull},
        check=True,
        capture_output=True,
        text=True,
    ).stdout


def checkout(folder: Path) -> Path:
    """A committed copy of this repository's code, with six chorus clips of two identities."""
    listed = git(ROOT, "ls-files", "-co", "--exclude-standard").splitlines()
    left = ("remote/", "docs/", "tests/", "benchmarks/", "lineage/", "metrics/")
    for name in listed:
        if (ROOT / name).is_file() and not name.startswith(left):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, folder / name)
    chorus = folder / "datasets" / "chorus"
    source = ROOT / "datasets" / "chorus"
    for identity in (TRAIN, TEST):
        clips = sorted((source / "mp4" / identity).rglob("*.mp4"))
        for clip in clips[:3]:
            target = chorus / clip.relative_to(source)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(clip, target)
    shutil.copyfile(source / "vox2_meta.csv", chorus / "vox2_meta.csv")
    edit_params(folder, datasets={"sets": {"lecture": None}}, ray={"workers": 2})
    git(folder, "init", "-q")
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "cut")
    return folder


def edit_params(folder: Path, **changes: object) -> None:
    """Set values of ``params.yaml``; None removes a key."""

    def merge(values: dict[str, object], new: dict[str, object]) -> None:
        for key, value in new.items():
            if value is None:
                values.pop(key, None)
            elif isinstance(value, dict):
                inner = values.setdefault(key, {})
                assert isinstance(inner, dict)
                merge(inner, value)
            else:
                values[key] = value

    path = folder / "params.yaml"
    values = yaml.safe_load(path.read_text())
    merge(values, dict(changes))
    path.write_text(yaml.safe_dump(values, sort_keys=False))


def run_stage(folder: Path, module: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run ``python -m pipelines.<module>`` with the copy's own code."""
    return subprocess.run(
        [sys.executable, "-m", f"pipelines.{module}"],
        cwd=folder,
        env={
            **os.environ,
            "PYTHONPATH": str(folder),
            "DIMITRA_CACHE_DIR": str(folder.parent / "cache"),
            "DIMITRA_MLFLOW": "0",
            **environment,
        },
        capture_output=True,
        text=True,
        check=False,
    )
