"""The one runtime of shard jobs: units of work on Ray actors, and nothing lost.

A stage says which shards it makes (``Unit``), of which input shards, with which function from a
clip to its parts (``Job``); ``run`` does the rest: the work cache, quarantine, deadlines, workers
that die, the balance, the budget. See docs/runtime.md.
"""

from __future__ import annotations

import logging
import os
import shutil
import tarfile
import time
from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from dimitra.assets import asset_path, asset_sha256
from dimitra.clips import MANIFEST_SCHEMA, Clip
from dimitra.shards import list_shards, read_sidecar, sha256_file
from pipelines.checkout import cache_folder
from pipelines.closure import code_digest
from pipelines.errors import JobError
from pipelines.params import RayParams
from pipelines.pool import Job, Pool
from pipelines.progress import console, progress_bar
from pipelines.quarantine import Balance, describe, settle
from pipelines.work_cache import Finished, WorkCache, digest_path, package_version, work_key
from pipelines.workers import Record, Unit, Worker

__all__ = ["Balance", "Job", "JobError", "Unit", "Worker", "read_manifest", "run", "units_of"]

_MANIFEST = Path("data/manifest/clips.parquet")


def read_manifest(path: Path = _MANIFEST) -> list[Clip]:
    """Clips of the manifest, sorted by id.

    Raises:
        FileNotFoundError: ``ingest`` has not run.
    """
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist; run `python -m pipelines.ingest` first")
    rows = pq.read_table(path, schema=MANIFEST_SCHEMA).to_pylist()
    return sorted((Clip(**row) for row in rows), key=lambda clip: clip.clip_id)


def clips_in_shard(path: Path) -> set[str]:
    """Ids of the clips in a finished shard; reads its headers only."""
    with tarfile.open(path, mode="r:") as archive:
        return {info.name.partition(".")[0] for info in archive}


def units_of(clips: Sequence[Clip], reads: Sequence[Path]) -> tuple[Unit, ...]:
    """One unit per shard number, with the clips that every read folder holds.

    Args:
        clips: of the manifest.
        reads: folders of earlier stages (``data/crops``).

    Raises:
        JobError: an earlier stage has not finished.
    """
    for folder in reads:
        if not (folder / "balance.json").exists():
            raise JobError(
                f"{folder} has no balance.json: the stage that makes it has not finished"
            )
    shards: dict[str, list[Path]] = defaultdict(list)
    for folder in reads:
        for path in list_shards(folder):
            shards[path.stem].append(path)
    by_name: dict[str, list[Clip]] = defaultdict(list)
    for clip in clips:
        by_name[f"{clip.shard:05d}"].append(clip)
    units = []
    for name in sorted(by_name):
        paths = tuple(shards[name])
        if len(paths) < len(reads):
            continue
        present = [clips_in_shard(path) for path in paths]
        kept = [c for c in by_name[name] if all(c.clip_id in ids for ids in present)]
        if kept:
            units.append(Unit(name, tuple(sorted(kept, key=lambda clip: clip.clip_id)), paths))
    return tuple(units)


def keys_of(job: Job) -> dict[str, str]:
    """Work key of every unit, by name.

    Two runs share a key only where they would make the same bytes: it covers the input shards,
    the manifest rows, the parameters, the code, weights, corpus-wide inputs, package versions
    and the seed. Workers, deadline and budget are left out: they decide whether bytes come out,
    not which.
    """
    shared = {
        "stage": job.stage,
        "worker": job.worker,
        "code": code_digest(job.worker.partition(":")[0]),
        "params": dict(job.params),
        "seed": job.seed,
        "assets": {name: asset_sha256(name) for name in job.assets},
        "corpus_inputs": [[path.as_posix(), digest_path(path)] for path in job.corpus_inputs],
        "packages": {name: package_version(name) for name in job.packages},
    }
    return {
        unit.name: work_key(
            {
                **shared,
                "unit": unit.name,
                "digest": unit.digest,
                "clips": [asdict(clip) for clip in unit.clips],
                "reads": [[p.parent.as_posix(), read_sidecar(p).sha256] for p in unit.reads],
            }
        )
        for unit in job.units
    }


def _clear(output: Path) -> None:
    """Remove what an earlier run of the stage left in its folder."""
    output.mkdir(parents=True, exist_ok=True)
    for path in output.iterdir():
        stale = path.suffix == ".tar" or path.with_suffix(".tar").exists()
        if stale or path.name in {"quarantine.parquet", "balance.json"} or path.name[0] == ".":
            path.unlink()


def _compute(
    job: Job,
    keys: Mapping[str, str],
    todo: Sequence[Unit],
    finished: dict[str, Finished],
    cache: WorkCache,
    ray_params: RayParams,
) -> None:
    """Make the shards that the cache does not hold, and add them to ``finished``."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    import ray

    workers = min(ray_params.workers, len(todo))
    address = ray_params.address or os.environ.get("RAY_ADDRESS") or "local"
    local: dict[str, Any] = {
        "num_cpus": ray_params.workers,
        "include_dashboard": False,
        "object_store_memory": ray_params.object_store_mb * 1_000_000,
    }
    partial = cache.partial()
    ray.init(
        address=address,
        log_to_driver=False,
        logging_level=logging.ERROR,
        **(local if address == "local" else {}),
    )
    try:
        with progress_bar(job.stage, sum(len(unit.clips) for unit in job.units)) as bar:
            record = ray.remote(Record).options(num_cpus=0).remote()
            longest_first = sorted(
                todo, key=lambda u: (-sum(c.duration_s for c in u.clips), u.name)
            )
            pool = Pool(job, keys, cache, partial, bar, record, finished, deque(longest_first))
            pool.slots = [pool.start() for _ in range(workers)]
            while any(unit.name not in finished for unit in todo):
                pool.step()
    finally:
        ray.shutdown()
        shutil.rmtree(partial, ignore_errors=True)


def run(job: Job, ray_params: RayParams) -> Balance:
    """Make a stage's shards, its quarantine table and its balance.

    Finished shards are taken from the work cache where it has them; Ray starts only for the rest.

    Args:
        job: the stage's work.
        ray_params: where and with how many workers.

    Returns:
        The balance, which has been checked and written.

    Raises:
        MissingAssetError: weights are missing.
        JobError: workers keep dying without a clip to blame, or a stage before has not finished.
        BudgetError: more clips were quarantined than allowed.
        OSError: the disk is full; finished shards are kept and the next run goes on from them.
    """
    began = time.monotonic()
    for name in job.assets:
        asset_path(name)
    names = [unit.name for unit in job.units]
    if len(set(names)) != len(names):
        raise JobError(f"{job.stage}: two units share a name")
    keys = keys_of(job)
    cache = WorkCache(cache_folder())
    _clear(job.output)
    with ThreadPoolExecutor(max_workers=min(8, ray_params.workers)) as threads:
        restored = threads.map(lambda n: cache.restore(keys[n], n, job.output), names)
        finished = {name: done for name, done in zip(names, restored, strict=True) if done}
    todo = [unit for unit in job.units if unit.name not in finished]
    if todo:
        _compute(job, keys, todo, finished, cache, ray_params)
    balance = settle(
        job.output,
        job.stage,
        clips_in=sum(len(unit.clips) for unit in job.units) + len(job.refused),
        clips_out=sum(read_sidecar(path).clips for path in list_shards(job.output)),
        rows=[*job.refused, *(row for done in finished.values() for row in done.rows)],
        budget=job.budget,
    )
    elapsed = time.monotonic() - began
    console.print(
        f"{describe(balance)}; {elapsed:.1f} s, {balance.clips_in / elapsed:.1f} clips/s, "
        f"{len(names) - len(todo)} of {len(names)} shards from the cache",
        soft_wrap=True,
    )
    return balance


def input_digest(paths: Sequence[Path]) -> str:
    """Sha256 over the names and digests of files, for ``Unit.digest``."""
    return work_key({path.as_posix(): sha256_file(path) for path in paths})
