"""What the shard-job runtime costs by itself: clips that need no work, through the real runtime.

    make bench                                    # or: python benchmarks/scheduling.py
    python benchmarks/scheduling.py --clips 2000 --shards 20 --json scheduling.json

Three jobs on a Ray of their own, in a work cache of their own: one whose clips have no input, one
that reads the shards of the first (both write a tar of 16 bytes a clip, keep it in the cache and
publish it), and the second again, all from the cache. The same in batches of 16 clips, which are
noted together. Then 1,000 shards of one clip, and a job of one clip a worker, which is what
starting costs. Then single operations: a clip's note to the record
of what is in flight, a tar entry, a shard's fsync and copies, and what the driver's loop costs with
thousands of workers.

Seconds and milliseconds a clip are wall time. Then CPU seconds by part of the runtime, sampled
twice a second, and the largest resident memory of the driver so far.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402

from benchmarks.cluster import noop, parts  # noqa: E402
from benchmarks.cluster.usage import Usage  # noqa: E402
from pipelines.params import RayParams  # noqa: E402
from pipelines.runtime.job import Job, Resources  # noqa: E402
from pipelines.runtime.jobs import keys_of, run  # noqa: E402

_ALONE = 1000
"""Shards of one clip each, which show what a shard costs."""
_BATCH = 16
console = Console(highlight=False, width=100)


def measured(job: Job, workers: int) -> dict[str, Any]:
    """Run a job; wall and CPU seconds, and peak memory, by part of the runtime."""
    with Usage() as usage:
        run(job, RayParams(workers=workers, mlflow=False))
    return {
        "wall_s": usage.wall_s,
        "clips": sum(len(unit.clips) for unit in job.units),
        "cpu_s": usage.cpu_s,
        "peak_mb": dict(usage.peak_mb),
    }


def single_operations() -> dict[str, float]:
    """Costs of the runtime's parts, each by itself."""
    import ray

    ray.init(
        address="local",
        num_cpus=2,
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
        object_store_memory=300_000_000,
    )
    try:
        return {
            **parts.note_costs(),
            **parts.wait_costs(),
            **parts.start_costs(),
            **parts.loop_costs(),
            **parts.hand_over_costs(),
            **parts.shard_costs(),
        }
    finally:
        ray.shutdown()


def measure(clips: int, shards: int, workers: int, folder: Path) -> dict[str, Any]:
    """Everything, as values for JSON."""
    began = time.perf_counter()
    work = noop.units(clips, shards)
    plan_s = time.perf_counter() - began
    first = noop.job("noop", work, folder / "first")
    reading = tuple(replace(unit, reads=(folder / "first" / f"{unit.name}.tar",)) for unit in work)
    second = noop.job("again", reading, folder / "second")
    tiny = noop.job("tiny", noop.units(workers, workers), folder / "tiny")
    batches = replace(
        noop.job("batches", reading, folder / "batches"), resources=Resources(batch=_BATCH)
    )
    alone = noop.job("alone", noop.units(_ALONE, _ALONE), folder / "alone")
    began = time.perf_counter()
    keys_of(first)
    keys_s = time.perf_counter() - began
    return {
        "clips": clips,
        "shards": shards,
        "workers": workers,
        "units_s": plan_s,
        "keys_s": keys_s,
        "start only": measured(tiny, workers),
        "no input": measured(first, workers),
        "one shard read": measured(second, workers),
        "from the cache": measured(second, workers),
        "batch": _BATCH,
        "batches": measured(batches, workers),
        "one clip a shard": measured(alone, workers),
        "one clip a shard, cached": measured(alone, workers),
        "operations": single_operations(),
    }


def show(found: Mapping[str, Any]) -> None:
    """Print what was measured."""
    clips = found["clips"]
    table = Table(
        title=f"{clips:,} no-op clips in {found['shards']} shards, {found['workers']} workers"
    )
    table.add_column("job", no_wrap=True)
    for title in ("s", "ms a clip"):
        table.add_column(title, justify="right", no_wrap=True)
    for title in ("driver", "workers", "record", "raylet", "gcs", "MB"):
        table.add_column(title, justify="right", no_wrap=True)
    for name, row in found.items():
        if not isinstance(row, dict) or "cpu_s" not in row:
            continue
        cpu = row["cpu_s"]
        table.add_row(
            name,
            f"{row['wall_s']:.1f}",
            f"{1e3 * row['wall_s'] / row['clips']:.2f}",
            f"{cpu['driver']:.1f}",
            f"{cpu.get('workers', 0):.1f}",
            f"{cpu.get('record', 0):.1f}",
            f"{cpu.get('raylet', 0):.1f}",
            f"{cpu.get('gcs', 0):.1f}",
            f"{row['peak_mb']['driver']:.0f}",
        )
    console.print(table)
    console.print(
        f"planning: units {1e6 * found['units_s'] / clips:.1f} us a clip, "
        f"keys {1e6 * found['keys_s'] / clips:.1f} us a clip"
    )
    operations = Table("operation", "cost")
    for name, value in found["operations"].items():
        operations.add_row(name, f"{value:.2f}")
    console.print(operations)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clips", type=int, default=100_000)
    parser.add_argument("--shards", type=int, default=200)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--json", type=Path, help="write the numbers here too")
    options = parser.parse_args()
    os.chdir(ROOT)
    with tempfile.TemporaryDirectory(prefix="dimitra-scheduling-") as folder:
        os.environ["DIMITRA_CACHE_DIR"] = str(Path(folder) / "cache")
        found = measure(options.clips, options.shards, options.workers, Path(folder))
    show(found)
    if options.json is not None:
        options.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
