"""The one runtime of shard jobs: units of work on Ray actors, and nothing lost.

A stage says which shards it makes (``Unit``), of which input shards, with which function from a
clip to its parts (``Job``); ``run`` does the rest: the work cache, quarantine, deadlines, workers
and nodes that die, the storage, the balance, the budget. See docs/runtime.md.
"""

from __future__ import annotations

import math
import shutil
from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from dimitra.assets import asset_sha256, require
from dimitra.clips import MANIFEST_SCHEMA, Clip
from dimitra.shards import list_sidecars, sidecar_path, write_sidecar
from pipelines.closure import code_digest
from pipelines.errors import JobError
from pipelines.params import RayParams, StorageParams
from pipelines.runtime.connection import LOCAL, address_of, connect, sigterm_interrupts
from pipelines.runtime.job import Job, Resources
from pipelines.runtime.live import LiveView
from pipelines.runtime.machine import faults_named
from pipelines.runtime.pool import Pool, State
from pipelines.runtime.progress import console
from pipelines.runtime.quarantine import Balance, describe, printable, read_balance, settle
from pipelines.runtime.staging import Staging
from pipelines.runtime.task import Task
from pipelines.runtime.units import Unit, pinned, units_of
from pipelines.runtime.workers import BatchWorker, Worker
from pipelines.runtime.workspace import Delivery, NodeWorkspace, Parcel, SharedWorkspace, Workspace
from pipelines.stores.checkout import cache_folder
from pipelines.stores.storage import DamagedError
from pipelines.stores.work_cache import (
    Finished,
    WorkCache,
    digest_of,
    digest_path,
    package_version,
    partial,
    publish,
    work_key,
)

__all__ = [
    "Balance",
    "BatchWorker",
    "Job",
    "JobError",
    "Resources",
    "Unit",
    "Worker",
    "read_manifest",
    "run",
    "units_of",
]

_MANIFEST = Path("data/manifest/clips.parquet")


def read_manifest(path: Path = _MANIFEST) -> list[Clip]:
    """Clips of the manifest, sorted by id.

    Raises:
        FileNotFoundError: ``ingest`` has not run.
        JobError: it has not finished, has failed, or its balance tells of other clips.
    """
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist; run `python -m pipelines.ingest` first")
    balance = read_balance(path.parent)
    rows = pq.read_table(path, schema=MANIFEST_SCHEMA).to_pylist()
    if len(rows) != balance.clips_out:
        raise JobError(
            f"{path} holds {len(rows)} clips, {path.parent / 'balance.json'} tells of "
            f"{balance.clips_out}; run `python -m pipelines.ingest` again"
        )
    return sorted((Clip(**row) for row in rows), key=lambda clip: clip.clip_id)


def keys_of(job: Job) -> dict[str, str]:
    """Work key of every unit, by name.

    Two runs share a key only where they would make the same bytes: it covers the input shards,
    the manifest rows, the parameters, the code, weights, corpus-wide inputs, package versions
    and the seed. Workers, resources, deadline and budget are left out: they decide whether bytes
    come out, not which.
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
    common = work_key(shared)
    keys = {}
    for unit in map(pinned, job.units):
        reads, files = unit.sha256s[: len(unit.reads)], unit.sha256s[len(unit.reads) :]
        keys[unit.name] = work_key(
            {
                "job": common,
                "unit": unit.name,
                "digest": unit.digest,
                "clips": [vars(clip) for clip in unit.clips],  # as asdict(), 20 times faster
                "reads": [
                    [path.parent.as_posix(), sha256]
                    for path, sha256 in zip(unit.reads, reads, strict=True)
                ],
                "files": [
                    [path.as_posix(), sha256]
                    for path, sha256 in zip(unit.files, files, strict=True)
                ],
            }
        )
    return keys


def _clear(output: Path) -> None:
    """Remove what an earlier run of the stage left in its folder.

    The balance goes first and each sidecar before its shard. A kill in between leaves a folder that
    is unfinished, and no sidecar without its bytes.
    """
    output.mkdir(parents=True, exist_ok=True)
    (output / "balance.json").unlink(missing_ok=True)
    for path in list_sidecars(output):
        sidecar_path(path).unlink(missing_ok=True)
    for path in (*output.glob("*.tar"), output / "quarantine.parquet"):
        path.unlink(missing_ok=True)
    _sweep(output)


def _sweep(output: Path) -> None:
    """Remove what writers that were killed left under temporary names."""
    for path in output.glob(".*"):
        if not path.is_dir():
            path.unlink(missing_ok=True)


class _Run:
    """One execution of a job."""

    def __init__(self, job: Job, ray_params: RayParams, storage: StorageParams) -> None:
        self._job = job
        self._ray = ray_params
        self._cache = WorkCache.of(storage.root)
        self._shared = self._cache.storage.is_local
        self._media = storage.media
        self.finished: dict[str, Finished] = {}

    def _publish(self, name: str, finished: Finished) -> None:
        """Put a finished unit into the stage's folder: the shard too where paths are shared."""
        if self._shared:
            publish(self._cache, finished, name, self._job.output)
        else:
            write_sidecar(self._job.output / f"{name}.tar", finished.sidecar)

    def restore(self, keys: Mapping[str, str]) -> None:
        """Take from the work cache what it holds; damaged shards are made again."""
        units = {unit.name: unit for unit in self._job.units}

        def one(name: str) -> Finished | None:
            found = self._cache.find(keys[name])
            if found is None:
                return None
            if mismatch(units[name], found):
                self._cache.drop(keys[name])
                return None
            try:
                self._publish(name, found)
            except (DamagedError, FileNotFoundError):
                self._cache.drop(keys[name])
                return None
            return found

        threads = min(8, self._ray.workers) if self._shared else 16
        with ThreadPoolExecutor(threads) as pool:
            for name, found in zip(keys, pool.map(one, keys), strict=True):
                if found is not None:
                    self.finished[name] = found

    def _collected(self, unit: Unit, finished: Finished, tracebacks: Mapping[str, str]) -> None:
        if not self._shared:
            self._publish(unit.name, finished)
        folder = cache_folder() / "tracebacks" / self._job.stage
        for clip_id, text in tracebacks.items():
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{clip_id}.txt").write_text(printable(text))
        self.finished[unit.name] = finished

    def _connect(self, stack: ExitStack, resources: Resources, workers: int) -> str | None:
        """Start or join Ray; returns the address of its dashboard."""
        cpus = math.ceil(workers * resources.cpus)
        module = self._job.worker.partition(":")[0]
        stage = self._job.stage
        dashboard = connect(stack, stage, self._ray, cpus, module, shared=self._shared)
        if address_of(self._ray) == LOCAL:
            import ray

            offered: Any = ray.cluster_resources
            _check_room(stage, resources, offered())
        return dashboard

    def _setting(self, stack: ExitStack, staging: Staging) -> tuple[Workspace, Parcel, Path | None]:
        """Where workers find their files, what they fetch first, where they write."""
        job = self._job
        if self._shared:
            scratch = partial(Path(self._cache.storage.root))
            stack.callback(shutil.rmtree, scratch, ignore_errors=True)
            return SharedWorkspace(Path.cwd(), scratch), Parcel(), job.output.resolve()
        parcel = staging.parcel((*job.corpus_inputs, *job.carried), job.assets)
        workspace = NodeWorkspace(self._cache.storage, staging.media_storage, job.media)
        return workspace, parcel, None

    def compute(self, keys: Mapping[str, str], todo: Sequence[Unit], view: LiveView) -> None:
        """Make the shards that the cache does not hold."""
        job = self._job
        resources = job.resources.overridden(self._ray.stages.get(job.stage))  # type: ignore[call-overload]
        workers = min(resources.workers or self._ray.workers, len(todo))
        self._cache.probe()
        staging = Staging(self._cache.storage, job.media, self._media)
        longest_first = sorted(todo, key=lambda unit: (-unit.duration_s, unit.name))
        with ExitStack() as stack:
            workspace, parcel, output = self._setting(stack, staging)
            view.link(self._connect(stack, resources, workers))
            pool = Pool(
                job=job,
                resources=resources,
                keys=keys,
                cache=self._cache,
                workspace=workspace,
                output=output,
                parcel=parcel,
                packages={name: package_version(name) for name in job.packages},
                deliver=(lambda _: Delivery()) if self._shared else staging.deliver,
                collected=self._collected,
                waiting=deque(Task(unit, resources.batch) for unit in longest_first),
            )
            before = State(
                done=sum(len(unit.clips) for unit in job.units if unit.name in self.finished),
                quarantined=sum(len(done.rows) for done in self.finished.values()),
                shards_done=len(self.finished),
            )
            pool.work(workers, lambda state: _show(view, before, state))


def _show(view: LiveView, before: State, now: State) -> None:
    view.update(
        done=before.done + now.done,
        quarantined=before.quarantined + now.quarantined,
        shards_done=before.shards_done + now.shards_done,
        workers=now.workers,
        nodes=now.nodes,
        deaths=now.deaths,
    )


def _check_room(stage: str, resources: Resources, offered: Mapping[str, float]) -> None:
    """Refuse a demand that this machine can never meet.

    Raises:
        JobError: naming what is asked and what there is.
    """
    for name, amount in resources.demands().items():
        if offered.get(name, 0.0) < amount:
            raise JobError(
                f"{stage}: a worker asks for {name} {amount:g}, this machine offers "
                f"{offered.get(name, 0.0):g}; change ray.stages.{stage} in params.yaml, or give "
                "the address of a cluster"
            )


def mismatch(unit: Unit, done: Finished) -> list[str]:
    """Clips of a unit that are neither in its shard nor quarantined, or are there uncalled for."""
    out = [*done.sidecar.clip_ids, *(row.clip_id for row in done.rows)]
    expected = [clip.clip_id for clip in unit.clips]
    if sorted(out) == expected and done.sidecar.clips == len(done.sidecar.clip_ids):
        return []
    return sorted(set(out) ^ set(expected))[:5] or expected[:1]


def _check_ids(job: Job, finished: Mapping[str, Finished]) -> None:
    """Every clip that went in came out, or has a row.

    Raises:
        JobError: naming clips that were lost, or that nobody asked for.
    """
    for unit in job.units:
        wrong = mismatch(unit, finished[unit.name])
        if wrong:
            raise JobError(
                f"{job.stage}: unit {unit.name} of {len(unit.clips)} clips came back with others, "
                f"for example {', '.join(wrong)}. This is a fault of the stage"
            )


def run(job: Job, ray_params: RayParams, storage: StorageParams | None = None) -> Balance:
    """Make a stage's shards, its quarantine table and its balance.

    Finished shards are taken from the work cache where it has them; Ray starts only for the rest.

    Args:
        job: the stage's work.
        ray_params: where and with how many workers.
        storage: where shards are kept; by default the main checkout's work cache.

    Returns:
        The balance, which has been checked and written.

    Raises:
        MissingAssetError: weights are missing.
        AssetError: weights hold other bytes than recorded, or a user's own are not pinned.
        JobError: workers keep dying without a clip to blame, or a stage before has not finished.
        BudgetError: more clips were quarantined than allowed.
        StorageError: the storage cannot be reached.
        MachineError: the disk is full, read-only or broken; finished shards are kept and the next
            run goes on from them.
    """
    require(job.assets)
    job = replace(job, units=tuple(map(pinned, job.units)))  # what is hashed into the keys is read
    names = [unit.name for unit in job.units]
    if len(set(names)) != len(names):
        raise JobError(f"{job.stage}: two units share a name")
    execution = _Run(job, ray_params, storage or StorageParams())
    finished = execution.finished
    clips_in = sum(len(unit.clips) for unit in job.units)
    with faults_named(job.stage, job.output):
        _clear(job.output)
    live = cache_folder() / "live"
    with (
        sigterm_interrupts(),
        LiveView(job.stage, clips_in, len(names), live, mlflow=ray_params.mlflow) as view,
        faults_named(job.stage, job.output),
    ):
        keys = keys_of(job)
        view.keyed(digest_of(keys))
        execution.restore(keys)
        cached = [unit for unit in job.units if unit.name in finished]
        view.restored(sum(len(unit.clips) for unit in cached), len(cached))
        todo = [unit for unit in job.units if unit.name not in finished]
        if todo:
            execution.compute(keys, todo, view)
        _check_ids(job, finished)
        _sweep(job.output)
        rows = [row for done in finished.values() for row in done.rows]
        balance = settle(
            job.output,
            job.stage,
            clips_in=clips_in + len(job.refused),
            clips_out=sum(sidecar.clips for sidecar in list_sidecars(job.output).values()),
            rows=[*job.refused, *rows],
            budget=job.budget,
        )
    elapsed = max(view.figures.elapsed_s, 1e-3)
    console.print(
        f"{describe(balance)}; {elapsed:.1f} s, {balance.clips_in / elapsed:.1f} clips/s, "
        f"{len(cached)} of {len(names)} shards from the cache",
        soft_wrap=True,
    )
    return balance
