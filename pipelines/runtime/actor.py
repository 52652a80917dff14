"""The Ray actor that works through units, with the stage's models loaded once."""

from __future__ import annotations

import contextlib
import importlib.metadata
import itertools
import os
import shutil
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from dimitra.clips import Clip, ClipError
from dimitra.shards import Members, ShardWriter
from pipelines.errors import JobError
from pipelines.runtime.in_flight import record_lost
from pipelines.runtime.machine import faults_named
from pipelines.runtime.quarantine import QuarantineRow
from pipelines.runtime.units import Unit, join
from pipelines.runtime.workers import BatchWorker, load, load_worker, process, row_of
from pipelines.runtime.workspace import Delivery, Parcel, Workspace
from pipelines.stores.work_cache import Finished, WorkCache, publish


@dataclass(frozen=True)
class Order:
    """How a unit is to be done.

    Attributes:
        key: its work key.
        attempt: name of this attempt in the record.
        given_up: rows of clips that are not to be tried again.
        batch: clips handed to the worker at once.
        ahead: whether the next batch is loaded while one is processed.
        delivery: where its inputs are, for nodes that share no path.
        trial: clips to be tried one by one, with nothing kept; empty for the whole unit.
    """

    key: str
    attempt: str
    given_up: tuple[QuarantineRow, ...] = ()
    batch: int = 1
    ahead: bool = False
    delivery: Delivery = field(default_factory=Delivery)
    trial: tuple[str, ...] = ()


@dataclass(frozen=True)
class Report:
    """What became of an order.

    Attributes:
        finished: the unit; None after a trial.
        tracebacks: clip id to text, of unforeseen errors.
    """

    finished: Finished | None
    tracebacks: Mapping[str, str]


@dataclass(frozen=True)
class Home:
    """Where an actor lives.

    Attributes:
        process: its process id.
        node: Ray's id of its node.
        name: of its machine.
    """

    process: int
    node: str
    name: str


_Group = list[tuple[Clip, Members]]


class ShardActor:
    """Ray actor that works through units, one at a time.

    Args:
        stage: stage name.
        worker: ``module:function`` of the worker's factory.
        params: the stage's parameters.
        output: the stage's output folder; None where the driver writes it.
        cache: the work cache.
        workspace: where the actor finds its files.
        record: handle of the ``Record`` actor.
    """

    def __init__(
        self,
        stage: str,
        worker: str,
        params: dict[str, Any],
        output: Path | None,
        cache: WorkCache,
        workspace: Workspace,
        record: Any,
    ) -> None:
        self._stage = stage
        self._worker_name = worker
        self._params = params
        self._worker: BatchWorker | None = None
        self._output = output
        self._cache = cache
        self._workspace = workspace
        self._record = record
        self._counting = threading.Lock()
        self._ended: list[str] = []
        self._done = 0
        self._bad = 0

    def arrive(self, packages: Mapping[str, str]) -> Home:
        """Tell where the actor has found a place; loads nothing.

        Args:
            packages: versions that the driver has.

        Raises:
            JobError: this node has another version of a package that the bytes depend on.
        """
        import ray

        node = ray.get_runtime_context().get_node_id()
        here = {name: importlib.metadata.version(name) for name in packages}
        if here != dict(packages):
            wrong = ", ".join(
                f"{name} {here[name]} (driver: {version})"
                for name, version in packages.items()
                if here[name] != version
            )
            raise JobError(
                f"{self._stage}: node {os.uname().nodename} has {wrong}; install the same versions "
                "on every node (constraints.txt), since the bytes depend on them"
            )
        return Home(os.getpid(), node, os.uname().nodename)

    def prepare(self, parcel: Parcel) -> None:
        """Load the models.

        Args:
            parcel: what nodes that share no path fetch first.

        Raises:
            Exception: whatever the stage's factory raises, for example ``MissingAssetError``.
        """
        with faults_named(self._stage, Path.cwd()):
            scratch = self._workspace.scratch
        with faults_named(self._stage, scratch):
            self._workspace.settle(parcel)
            self._worker = load_worker(self._worker_name, self._params)
        if "torch" in sys.modules:
            sys.modules["torch"].set_num_threads(1)

    def leave(self) -> None:
        """Remove what was fetched: there is no more work."""
        self._workspace.leave()

    def _note(self, attempt: str, begun: Sequence[str]) -> None:
        """Tell the record which clips begin, and which have ended since the last time."""
        import ray
        from ray.exceptions import RayError

        with self._counting:
            ended, self._ended = self._ended, []
            if not begun and not ended:
                return
            reference = self._record.at.remote(attempt, begun, ended, self._done, self._bad)
        try:
            ray.get(reference)
        except RayError as error:
            raise record_lost(self._stage, error) from None

    def _end(self, clips: Sequence[str], bad: int) -> None:
        with self._counting:
            self._ended += clips
            self._done += len(clips)
            self._bad += bad

    def run(self, unit: Unit, order: Order) -> Report:
        """Make one shard and keep it; or only try some of its clips.

        Raises:
            RuntimeError: ``prepare`` has not been called.
            OSError: the machine is at fault, for example its disk is full.
            StageError: the storage or an input shard is at fault.
        """
        worker = self._worker
        if worker is None:
            raise RuntimeError("prepare() has not been called")
        tracebacks: dict[str, str] = {}
        self._ended, self._done, self._bad = [], 0, 0
        named = faults_named(self._stage, self._workspace.scratch)
        with named, self._workspace.unit(unit, order.delivery):
            if order.trial:
                for _ in self._outcomes(worker, unit, order, tracebacks):
                    pass
                return Report(None, tracebacks)
            return Report(self._make(worker, unit, order, tracebacks), tracebacks)

    def _make(
        self, worker: BatchWorker, unit: Unit, order: Order, tracebacks: dict[str, str]
    ) -> Finished:
        rows = list(order.given_up)
        folder = self._workspace.scratch / order.attempt
        shutil.rmtree(folder, ignore_errors=True)
        try:
            with ShardWriter(folder / f"{unit.name}.tar") as writer:
                for clip, outcome in self._outcomes(worker, unit, order, tracebacks):
                    if isinstance(outcome, QuarantineRow):
                        rows.append(outcome)
                    else:
                        writer.add(clip.clip_id, outcome)
                finished = Finished(writer.finish(), tuple(sorted(rows)))
            self._cache.keep(folder / f"{unit.name}.tar", finished, order.key, self._stage)
            if self._output is not None:
                with faults_named(self._stage, self._output):
                    publish(self._cache, finished, unit.name, self._output)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        return finished

    def _groups(self, unit: Unit, order: Order) -> Iterator[_Group]:
        """The unit's clips in groups of one batch; the record knows of each before it is read."""
        skipped = {row.clip_id for row in order.given_up}
        wanted = set(order.trial) or {clip.clip_id for clip in unit.clips}
        clips = tuple(clip for clip in unit.clips if clip.clip_id in wanted - skipped)
        items = join(replace(unit, clips=clips))
        for start in range(0, len(clips), order.batch):
            begun = [clip.clip_id for clip in clips[start : start + order.batch]]
            self._note(order.attempt, begun)
            yield list(itertools.islice(items, len(begun)))

    def _outcomes(
        self, worker: BatchWorker, unit: Unit, order: Order, tracebacks: dict[str, str]
    ) -> Iterator[tuple[Clip, Members | QuarantineRow]]:
        """Each clip with what became of it, in order."""
        groups = self._groups(unit, order)
        trace = tracebacks.__setitem__

        def prepare() -> tuple[list[tuple[Clip, Any]], contextlib.ExitStack] | None:
            group = next(groups, None)
            if group is None:
                self._note(order.attempt, [])
                return None
            held = contextlib.ExitStack()
            try:
                batch: list[tuple[Clip, Any]] = []
                for clip, parts in group:
                    try:
                        held.enter_context(self._workspace.media(clip, order.delivery))
                    except ClipError as error:
                        batch.append((clip, row_of(error, clip, self._stage, trace)))
                    else:
                        alone = order.batch == 1 and not order.ahead
                        item = load(worker, clip, parts, self._stage, trace, alone=alone)
                        batch.append((clip, item))
            except BaseException:
                held.close()
                raise
            return batch, held

        with contextlib.ExitStack() as stack:
            thread: ThreadPoolExecutor | None = None
            coming: Future[Any] | None = None
            if order.ahead:
                thread = stack.enter_context(ThreadPoolExecutor(1, "load"))
                coming = thread.submit(prepare)
            while True:
                loaded = prepare() if coming is None else coming.result()
                if loaded is None:
                    self._note(order.attempt, [])
                    return
                if thread is not None:
                    coming = thread.submit(prepare)
                batch, held = loaded
                clips = [clip for clip, _ in batch]
                with held:
                    results = process(worker, batch, self._stage, trace)
                bad = sum(isinstance(result, QuarantineRow) for result in results)
                yield from zip(clips, results, strict=True)
                self._end([clip.clip_id for clip in clips], bad)
