"""Core-seconds and memory of one stage's worker over some clips, without Ray."""

from __future__ import annotations

import importlib
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.preprocessing.floors import FrameByFrame, reencode
from benchmarks.preprocessing.footage import clip_of, worker_params
from dimitra.clips import Clip, ClipError
from dimitra.shards import Members
from pipelines.params import load
from pipelines.runtime.workers import BatchWorker, load_worker

STAGES = ("ingest", "crop", "fit", "transcribe", "speech")
_NEEDS = {"fit": ("crop",), "transcribe": ("crop",), "speech": ("crop", "transcribe")}


def peak_mb() -> float:
    """Largest resident memory of this process so far, MB of 10^6 bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


def clips_in(folder: Path) -> list[Clip]:
    """Clips of a folder of mp4 files, in the order of their names."""
    paths = sorted(folder.glob("*.mp4"))
    return [clip_of(folder, path, number) for number, path in enumerate(paths)]


def measure(stage: str, videos: Path, parts: Path, aligner: Path) -> dict[str, Any]:
    """Run a stage over all clips of ``videos``; its parts are kept below ``parts``.

    The first clip is done twice, and the first time is not counted.
    """
    params = worker_params(stage, load(), videos, aligner)
    name = f"pipelines.{stage}"
    importlib.import_module(name)  # not counted as loading
    began = time.process_time()
    worker = load_worker(f"{name}:make_worker", params)
    load_s = time.process_time() - began
    if stage == "crop":
        return _crop(worker, videos, parts) | {"load_core_s": load_s}
    core_s = video_s = 0.0
    done = refused = 0
    clips = clips_in(videos)
    for turn, clip in enumerate((clips[0], *clips)):
        members: Members = {}
        for earlier in _NEEDS.get(stage, ()):
            members |= _read(parts / earlier / clip.clip_id)
        if stage != "ingest" and not members:
            continue
        began = time.process_time()
        try:
            result = _result(worker, clip, members)
        except ClipError:
            refused += turn > 0
            continue
        spent = time.process_time() - began
        _write(parts / stage / clip.clip_id, result)
        if turn:
            core_s, video_s, done = core_s + spent, video_s + clip.duration_s, done + 1
    return _row(done, video_s, core_s, refused) | {"load_core_s": load_s}


def _result(worker: BatchWorker, clip: Clip, members: Members) -> Members:
    """A clip's parts.

    Raises:
        ClipError: it has none.
    """
    (result,) = worker.many([clip], [worker.load(clip, members)])
    if isinstance(result, ClipError):
        raise result
    return result


def _row(done: int, video_s: float, core_s: float, refused: int = 0) -> dict[str, Any]:
    return {
        "clips": done,
        "refused": refused,
        "video_s": video_s,
        "core_s": core_s,
        "video_s_per_core_s": video_s / core_s if core_s else 0.0,
        "clips_per_core_hour": 3600 * done / core_s if core_s else 0.0,
        "peak_mb": peak_mb(),
    }


def _crop(worker: BatchWorker, videos: Path, parts: Path) -> dict[str, Any]:
    clips = clips_in(videos)
    _result(worker, clips[0], {})
    core_s = 0.0
    for clip in clips:
        began = time.process_time()
        result = _result(worker, clip, {})
        core_s += time.process_time() - began
        _write(parts / "crop" / clip.clip_id, result)
    return _row(len(clips), sum(clip.duration_s for clip in clips), core_s)


def race(videos: Path, rounds: int) -> dict[str, dict[str, Any]]:
    """The crop stage against (a) and (b), turn about on each clip, so that all share disturbances.

    Returns:
        A row each for ``crop``, ``reencode`` and ``frame by frame``.
    """
    params = load()
    crop = load_worker("pipelines.crop:make_worker", worker_params("crop", params, videos, Path()))
    usual = FrameByFrame()
    clips = clips_in(videos)
    runners: dict[str, Callable[[Clip], object]] = {
        "crop": lambda clip: _result(crop, clip, {}),
        "reencode": lambda clip: reencode(videos / clip.path, params.crop),
        "frame by frame": lambda clip: usual(videos / clip.path, params.crop),
    }
    spent = dict.fromkeys(runners, 0.0)
    for run in runners.values():
        run(clips[0])
    for _ in range(rounds):
        for clip in clips:
            for name, run in runners.items():
                began = time.process_time()
                run(clip)
                spent[name] += time.process_time() - began
    video_s = rounds * sum(clip.duration_s for clip in clips)
    rows = {name: _row(rounds * len(clips), video_s, core_s) for name, core_s in spent.items()}
    for row in rows.values():
        del row["peak_mb"]  # all three share this process
    return rows


def _write(folder: Path, members: Members) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in members.items():
        (folder / name).write_bytes(data)


def _read(folder: Path) -> Members:
    return {path.name: path.read_bytes() for path in folder.glob("*")}
