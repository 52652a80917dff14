"""Core-seconds, bytes and memory of a clip in every stage, from the job that the stage itself runs.

    python benchmarks/stage_costs.py [--clips 8] [--json stages.json]

Needs the outputs of a finished `dvc repro` in the working folder. Each stage's module is started as
DVC does, in a process of its own, and its `run` is replaced by one that takes the job, loads the
stage's worker, and hands it clips one after another, in this process, without Ray. What it takes is
CPU time, so other work on the machine disturbs little. The first clip warms up and is not counted.
The clips are spread over the corpus; they are the same in every stage that has them.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

from dimitra.clips import Clip, ClipError
from dimitra.shards import Members
from pipelines.runtime.job import Job
from pipelines.runtime.jobs import read_manifest
from pipelines.runtime.units import join
from pipelines.runtime.workers import ENVIRONMENT, load_worker

STAGES = (
    "ingest", "crop", "fit", "transcribe", "speech", "shard", "generate", "render", "evaluate",
)  # fmt: skip


class Taken(Exception):  # noqa: N818 - it carries a job out of a stage, nothing failed
    """The job that a stage was about to run."""

    def __init__(self, job: Job) -> None:
        super().__init__(job.stage)
        self.job = job


def job_of(stage: str) -> Job:
    """The job that a stage would run in this folder."""
    module = importlib.import_module(f"pipelines.{stage}")

    def take(job: Job, *_: object) -> None:
        raise Taken(job)

    with patch.object(module, "run", take):
        try:
            module.main()
        except Taken as taken:
            return taken.job
    raise RuntimeError(f"pipelines.{stage} ran no job")


def _spread(job: Job, number: int) -> Iterator[tuple[Clip, Members]]:
    """About ``number`` clips of a job, evenly spread over it in the order of their ids."""
    ids = sorted(clip.clip_id for unit in job.units for clip in unit.clips)
    chosen = set(ids[:: max(1, len(ids) // number)][:number])
    for unit in job.units:
        if chosen & {clip.clip_id for clip in unit.clips}:
            for clip, parts in join(unit):
                if clip.clip_id in chosen:
                    yield clip, parts


def measure(stage: str, number: int) -> dict[str, float | int | str]:
    """Costs of one stage, in this process."""
    job = job_of(stage)
    before = time.process_time(), time.monotonic()
    worker = load_worker(job.worker, job.params)
    load_cpu_s, load_s = time.process_time() - before[0], time.monotonic() - before[1]
    seconds = {clip.clip_id: clip.duration_s for clip in read_manifest()}
    rates: list[float] = []
    video_s = cpu_s = 0.0
    bytes_in = bytes_out = bytes_raw = 0
    for clip, parts in _spread(job, number + 1):
        began = time.process_time()
        (result,) = worker.many([clip], [worker.load(clip, parts)])
        spent = time.process_time() - began
        if isinstance(result, ClipError):
            raise result
        if not video_s and not rates:
            rates.append(spent)  # the first one warms up
            continue
        rates.append(spent / seconds[clip.clip_id])
        cpu_s += spent
        video_s += seconds[clip.clip_id]
        bytes_in += sum(map(len, parts.values()))
        bytes_out += sum(map(len, result.values()))
        if job.media:
            bytes_raw += (Path(job.media[clip.dataset]) / clip.path).stat().st_size
    return {
        "clips": len(rates) - 1,
        "video_s": video_s,
        "core_s_per_video_s": cpu_s / video_s,
        "spread": statistics.pstdev(rates[1:]) / statistics.mean(rates[1:]),
        "bytes_in_per_video_s": bytes_in / video_s,
        "bytes_out_per_video_s": bytes_out / video_s,
        "bytes_raw_per_video_s": bytes_raw / video_s,
        "load_core_s": load_cpu_s,
        "load_s": load_s,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6,
        "shards_read": max(len(unit.reads) for unit in job.units),
    }


def measure_apart(stages: Sequence[str], clips: int) -> dict[str, Any]:
    """Costs of stages, each in a process of its own with one thread."""
    found = {}
    for stage in stages:
        command = [sys.executable, __file__, "--clips", str(clips), "--one", stage]
        result = subprocess.run(
            command,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
            env={**os.environ, **ENVIRONMENT},
        )
        found[stage] = json.loads(result.stdout.splitlines()[-1])
    return found


def show(found: dict[str, Any]) -> None:
    """Print the table."""
    from rich.console import Console
    from rich.table import Table

    table = Table("stage", title="per second of video")
    for title in ("clips", "core-s", "spread", "kB in", "kB out", "load, core-s", "peak MB"):
        table.add_column(title, justify="right")
    for stage, row in found.items():
        table.add_row(
            stage,
            str(row["clips"]),
            f"{row['core_s_per_video_s']:.4f}",
            f"{row['spread']:.2f}",
            f"{row['bytes_in_per_video_s'] / 1e3:.1f}",
            f"{row['bytes_out_per_video_s'] / 1e3:.1f}",
            f"{row['load_core_s']:.1f}",
            f"{row['peak_mb']:.0f}",
        )
    Console(highlight=False, width=100).print(table)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clips", type=int, default=8, help="clips a stage (default: 8)")
    parser.add_argument("--stage", choices=STAGES, action="append", help="only these")
    parser.add_argument("--json", type=Path, help="write the numbers here too")
    parser.add_argument("--one", choices=STAGES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(options.one, options.clips)))
        return
    if not Path("data/shards/balance.json").exists():
        print("stage_costs: no data/shards here; run `dvc repro` first")
        return
    found = measure_apart(options.stage or STAGES, options.clips)
    show(found)
    if options.json is not None:
        options.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
