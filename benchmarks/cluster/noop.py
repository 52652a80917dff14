"""A stage that does nothing, to see what the runtime itself costs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dimitra.clips import Clip
from dimitra.shards import Members
from pipelines.runtime.job import Job
from pipelines.runtime.units import Unit
from pipelines.runtime.workers import Worker

WORKER = "benchmarks.cluster.noop:make_worker"
_DURATION_S = 10.0


def make_worker(params: dict[str, Any]) -> Worker:
    """A worker that returns the same few bytes for every clip."""
    data = bytes(params["bytes"])

    def work(clip: Clip, parts: Members) -> Members:  # noqa: ARG001 - by Worker's signature
        return {f"{params['part']}.bin": data}

    return work


def clip(number: int, shard: int) -> Clip:
    """A clip with values of the usual length in every field."""
    return Clip(
        clip_id=f"noop-id{number // 20:05d}-{number:011d}-00001",
        dataset="noop",
        identity=f"id{number // 20:05d}",
        source_video=f"{number:011d}",
        path=f"noop/id{number // 20:05d}/{number:011d}/00001.mp4",
        audio_path=None,
        sha256=f"{number:064x}",
        start_s=0.0,
        end_s=None,
        duration_s=_DURATION_S,
        fps=25.0,
        width=224,
        height=224,
        transcript=None,
        shard=shard,
    )


def units(clips: int, shards: int) -> tuple[Unit, ...]:
    """``clips`` clips in ``shards`` units of the same size, give or take one."""
    return tuple(
        Unit(
            f"{shard:05d}", tuple(clip(number, shard) for number in range(shard, clips, shards)), ()
        )
        for shard in range(shards)
    )


def job(stage: str, work: tuple[Unit, ...], output: Path, size_bytes: int = 16) -> Job:
    """The stage over these units."""
    return Job(
        stage=stage,
        worker=WORKER,
        params={"part": stage, "bytes": size_bytes},
        units=work,
        output=output,
        budget=0.0,
        deadline_s=60.0,
    )
