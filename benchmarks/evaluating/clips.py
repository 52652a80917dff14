"""True and generated videos to measure: of a finished run, or of the committed sample corpus."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import yaml

from dimitra.evaluation.tasks import Task
from dimitra.media.audio import encode_flac, read_audio
from dimitra.media.mp4 import encode_mp4
from dimitra.media.video import iterate_frames, to_rgb
from dimitra.shards import iterate_shard, list_shards

ROOT = Path(__file__).resolve().parents[2]
METHODS = ("hp", "no_hp")
"""As a run's videos are called; the corpus's are encoded again, more and less coarsely."""
_CRF = {"hp": 28, "no_hp": 33}


def has_run(root: Path) -> bool:
    """Whether a folder holds the videos of a finished run."""
    return bool(list_shards(root / "data" / "videos"))


def of_run(root: Path, count: int, folder: Path) -> list[Task]:
    """Clips of a run: face crop, sound, and the two videos that it has made.

    Args:
        root: folder of the run.
        count: at most so many clips, in the order of the shards.
        folder: gets the files.
    """
    tasks: list[Task] = []
    for shard in list_shards(root / "data" / "videos"):
        made = dict(islice(iterate_shard(shard), count - len(tasks)))
        for clip, parts in iterate_shard(root / "data" / "crops" / shard.name, set(made)):
            videos = {name: made[clip][f"{name}.mp4"] for name in METHODS}
            tasks.append(_task(clip, parts["mp4"], parts["flac"], videos, folder))
        if len(tasks) == count:
            break
    return tasks


def of_corpus(count: int, folder: Path, root: Path = ROOT) -> list[Task]:
    """Clips of the committed corpus, and what a coarser encoder makes of them.

    Args:
        count: at most so many clips.
        folder: gets the files.
        root: of the checkout.
    """
    tasks = []
    for path in islice(_committed(root, "chorus/"), count):
        videos = {
            name: encode_mp4((to_rgb(frame) for frame in iterate_frames(path)), crf=crf)
            for name, crf in _CRF.items()
        }
        sound = encode_flac(read_audio(path))
        tasks.append(_task(path.name[:12], path.read_bytes(), sound, videos, folder))
    return tasks


def _committed(root: Path, prefix: str) -> Iterator[Path]:
    """Videos of the corpus where DVC keeps them inside the repository (`remote/`)."""
    store = root / "remote" / "files" / "md5"

    def place(md5: str) -> Path:
        return store / md5[:2] / md5[2:]

    outs = yaml.safe_load((root / "datasets.dvc").read_text())["outs"]
    [listing] = [out["md5"] for out in outs if out["path"] == "datasets"]
    for entry in json.loads(place(listing).read_text()):
        if entry["relpath"].startswith(prefix) and entry["relpath"].endswith(".mp4"):
            yield place(entry["md5"])


def _task(clip: str, true: bytes, sound: bytes, videos: dict[str, bytes], folder: Path) -> Task:
    paths = {name: folder / name / f"{clip}.mp4" for name in videos}
    reference = folder / "true" / f"{clip}.mp4"
    files = {reference: true, reference.with_suffix(".flac"): sound}
    files |= {paths[name]: data for name, data in videos.items()}
    for path, data in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return Task(clip, None, reference, reference.with_suffix(".flac"), paths)
