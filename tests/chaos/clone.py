"""A clone with a cut of the sample corpus, and the facts that runs of its stages leave behind."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import yaml

from tests.test_end_to_end import write_video

ROOT = Path(__file__).parents[2]
WORKERS = 2
CLIPS = 24
SHARDS = 33
"""So many that clips of few videos share a shard; some numbers stay without a clip."""
BROKEN = "mp4/id00001/brokenclips/00001.mp4"
CODE = ("conf", "dimitra", "pipelines", "splits", "params.yaml")

ATTEMPTS_HOOK = """
import os, sys

def _hook(event, arguments):
    if event == "os.mkdir":
        cache, found, attempt = os.fsdecode(arguments[0]).partition("/partial/")
        if found and "#" in attempt:
            log = os.open(cache + ".attempts", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
            os.write(log, (attempt + "\\n").encode())
            os.close(log)

sys.addaudithook(_hook)
"""
"""A ``sitecustomize`` that every process of a run imports.

A worker makes the folder ``<cache>/partial/<host>-<driver>/<unit>#<try>`` when it begins a shard.
The hook writes that name down, so that no attempt goes unseen, however short it is.
"""


def write_hook(folder: Path) -> Path:
    """Write the hook into a new folder, for ``PYTHONPATH``."""
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(ATTEMPTS_HOOK)
    return folder


@dataclass(frozen=True)
class Attempt:
    """One time that a worker began a shard.

    Attributes:
        driver: process id of the stage.
        unit: name of the shard.
    """

    driver: int
    unit: str


@dataclass(frozen=True)
class Clone:
    """Where stages are run.

    Attributes:
        folder: the clone.
        cache: its work cache.
        hook: folder of ``write_hook``.
    """

    folder: Path
    cache: Path
    hook: Path

    def environment(self, address: str | None) -> dict[str, str]:
        """Of a stage; ``address`` is that of a cluster, None for a Ray of its own."""
        names = ("RAY_ADDRESS", "MLFLOW_TRACKING_URI")
        environment = {name: value for name, value in os.environ.items() if name not in names}
        environment |= {
            "DIMITRA_CACHE_DIR": str(self.cache),
            "DIMITRA_MLFLOW": "0",
            "PYTHONPATH": os.pathsep.join([str(self.folder), str(self.hook)]),
        }
        if address is not None:
            environment["RAY_ADDRESS"] = address
        return environment

    def run(self, module: str, *arguments: str, address: str | None = None) -> str:
        """Run a module to its end and return what it printed."""
        result = subprocess.run(
            [sys.executable, "-m", module, *arguments],
            cwd=self.folder,
            env=self.environment(address),
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        output = result.stdout + result.stderr
        assert result.returncode == 0, f"{module} exited {result.returncode}:\n{output[-6000:]}"
        return output

    def copy(self, place: Path, without: str) -> Clone:
        """A second clone in ``place`` with an empty work cache and without one of the outputs."""
        shutil.copytree(self.folder, place / "clone")
        shutil.rmtree(place / "clone" / without)
        return Clone(place / "clone", place / "cache", self.hook)

    def attempts(self) -> list[Attempt]:
        """Every time that a worker began a shard, in order."""
        log = self.cache.with_name(f"{self.cache.name}.attempts")
        lines = log.read_text().splitlines() if log.exists() else []
        found = []
        for line in dict.fromkeys(lines):
            driver, _, attempt = line.partition("/")
            found.append(Attempt(int(driver.rpartition("-")[2]), attempt.partition("#")[0]))
        return found

    def record_paths(self) -> list[Path]:
        """Records of finished shards in the work cache."""
        return [
            path for path in (self.cache / "work").glob("*/*.json") if not path.name.startswith(".")
        ]

    def records(self) -> dict[str, int]:
        """Names of the finished shards, each with the inode of its record.

        Whoever makes a shard again writes its record again, which gives it another inode.
        """
        return {
            Path(json.loads(path.read_text())["sidecar"]["shard"]).stem: path.stat().st_ino
            for path in self.record_paths()
        }


def from_cache(output: str) -> tuple[int, int]:
    """Shards that a stage took from the cache, and its shards, from its last line."""
    found = re.search(r"(\d+) of (\d+) shards from the cache", output)
    assert found, output[-3000:]
    return int(found[1]), int(found[2])


def digests(folder: Path) -> dict[str, str]:
    """Sha256 of every file of a folder, hidden ones among them."""
    return {
        path.relative_to(folder).as_posix(): sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def copy_code(name: str, folder: Path) -> None:
    """Copy a file or folder of the checkout into a clone."""
    source, target = ROOT / name, folder / name
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        shutil.copy2(source, target)


def cut(folder: Path) -> None:
    """Copy the code and the smallest clips of the sample; one clip has no face."""
    folder.mkdir()
    for name in CODE:
        copy_code(name, folder)
    source = ROOT / "datasets" / "chorus"
    chorus = folder / "datasets" / "chorus"
    chorus.mkdir(parents=True)
    shutil.copy2(source / "vox2_meta.csv", chorus)
    clips = [  # one of each video: clips of a video share a shard
        min(video.glob("*.mp4"), key=lambda clip: (clip.stat().st_size, clip.name))
        for video in sorted((source / "mp4").glob("*/*"))
    ]
    for clip in sorted(clips, key=lambda clip: (clip.stat().st_size, clip))[:CLIPS]:
        target = chorus / clip.relative_to(source)
        target.parent.mkdir(parents=True)
        shutil.copy2(clip, target)
    write_video(chorus / BROKEN, 50, sound=True)

    params = yaml.safe_load((folder / "params.yaml").read_text())
    params["ray"]["workers"] = WORKERS
    params["datasets"]["sets"].pop("lecture")
    params["shards"]["count"] = SHARDS
    params["align_train"]["iterations"] = 3
    (folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
