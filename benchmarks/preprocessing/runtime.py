"""Stages through the real runtime: two workers against one, memory over many clips, a GPU."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.cluster.usage import Usage
from benchmarks.preprocessing.footage import DATASET, clip_of, worker_params
from dimitra.clips import Clip
from pipelines.params import RayParams, load
from pipelines.runtime.job import Job, Resources
from pipelines.runtime.jobs import run
from pipelines.runtime.units import units_of

SHARDS = 8
_ASSETS = {
    "crop": ("dlib_68",),
    "fit": ("anny_head",),
    "transcribe": ("whisper_tiny_en",),
    "speech": ("moonshine_encoder", "minilm_l6"),
}
_READS = {"crop": (), "fit": ("crop",), "transcribe": ("crop",), "speech": ("crop", "transcribe")}


def copies(videos: Path, count: int, shards: int = SHARDS) -> list[Clip]:
    """``count`` clips of the files of a folder, each file as often as needed."""
    rows = [clip_of(videos, path, 0) for path in sorted(videos.glob("*.mp4"))]
    return [
        replace(
            rows[number % len(rows)],
            clip_id=f"{DATASET}-someone-{number:05d}",
            source_video=f"{number:05d}",
            shard=number % shards,
        )
        for number in range(count)
    ]


def job(stage: str, clips: Sequence[Clip], videos: Path, folder: Path, aligner: Path) -> Job:
    """A stage over ``clips``, its input and output below ``folder``."""
    params = load()
    return Job(
        stage=stage,
        worker=f"pipelines.{stage}:make_worker",
        params=worker_params(stage, params, videos, aligner),
        units=units_of(clips, [folder / name for name in _READS[stage]]),
        output=folder / stage,
        budget=1.0,
        deadline_s=600.0,
        seed=params.seed,
        assets=_ASSETS[stage],
        corpus_inputs=(aligner,) if stage == "speech" else (),
    )


def timed(work: Job, workers: int, folder: Path) -> dict[str, Any]:
    """Run a job in a work cache of its own.

    Raises:
        RuntimeError: clips were quarantined.
    """
    cache = folder / "cache"
    shutil.rmtree(cache, ignore_errors=True)
    os.environ["DIMITRA_CACHE_DIR"] = str(cache)
    with Usage() as usage:
        balance = run(work, RayParams(workers=workers, mlflow=False))
    if balance.quarantined:
        raise RuntimeError(f"{work.stage}: of the clips were quarantined {dict(balance.reasons)}")
    return {"wall_s": usage.wall_s, "cpu_s": usage.cpu_s, "peak_mb": dict(usage.peak_mb)}


def workers_row(videos: Path, count: int, rounds: int, folder: Path) -> dict[str, Any]:
    """One worker and two on the same clips; what starting takes (a clip a worker) is taken off.

    By core time: what two would reach on two free cores, from the core-seconds that the workers
    took, loading models included; for a machine that does other work too.
    """
    found: dict[str, list[dict[str, Any]]] = {}
    for _ in range(rounds):
        for workers in (1, 2):
            for name, clips in (
                (f"start {workers}", copies(videos, workers)),
                (f"work {workers}", copies(videos, count)),
            ):
                row = timed(job("crop", clips, videos, folder, Path()), workers, folder)
                found.setdefault(name, []).append(row)
    wall = {name: min(row["wall_s"] for row in rows) for name, rows in found.items()}
    core = {name: min(row["cpu_s"]["workers"] for row in rows) for name, rows in found.items()}
    net = {n: (wall[f"work {n}"] - wall[f"start {n}"]) / (count - n) for n in (1, 2)}
    return {
        "clips": count,
        "wall_s": wall,
        "worker_core_s": core,
        "clip_wall_s": net,
        "speedup": net[1] / net[2],
        "speedup_with_start": wall["work 1"] / wall["work 2"],
        "speedup_by_core_time": 2 * core["work 1"] / core["work 2"],
    }


def memory_rows(videos: Path, counts: Sequence[int], folder: Path) -> list[dict[str, Any]]:
    """Peak memory of the runtime's parts for several numbers of clips, two workers."""
    rows = []
    for count in counts:
        found = timed(job("crop", copies(videos, count), videos, folder, Path()), 2, folder)
        rows.append({"clips": count, "wall_s": found["wall_s"], "peak_mb": found["peak_mb"]})
    return rows


def gpu_row(
    videos: Path, count: int, device: str, fitters: int, aligner: Path, folder: Path
) -> dict[str, Any]:
    """Clips an hour of one GPU and this machine's cores through crop, fit and speech.

    The stages run one after the other, as `dvc repro` runs them; each has the whole machine.
    ``transcribe`` runs between them and is reported, but not counted.
    """
    cores = os.cpu_count() or 1
    clips = copies(videos, count, shards=4 * cores)
    walls: dict[str, float] = {}
    core_s: dict[str, float] = {}
    for stage in ("crop", "fit", "transcribe", "speech"):
        work = job(stage, clips, videos, folder, aligner)
        workers = cores
        if stage == "fit":
            workers = fitters
            gpus = 1.0 / fitters if device == "cuda" else 0.0
            work = replace(
                work,
                params={**work.params, "device": device},
                resources=Resources(gpus=gpus, batch=4, workers=fitters),
            )
        found = timed(work, workers, folder)
        walls[stage], core_s[stage] = found["wall_s"], found["cpu_s"].get("workers", 0.0)
    counted = {stage: walls[stage] for stage in ("crop", "fit", "speech")}
    slowest = max(counted, key=lambda stage: counted[stage])
    return {
        "clips": count,
        "cores": cores,
        "device": device,
        "fitters": fitters,
        "wall_s": walls,
        "worker_core_s": core_s,
        "clips_per_gpu_hour": 3600 * count / sum(counted.values()),
        "bottleneck": slowest,
        "bottleneck_share": counted[slowest] / sum(counted.values()),
        "bottleneck_busy_cores": core_s[slowest] / walls[slowest],
    }
