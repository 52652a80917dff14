"""What runs inside Ray: the actor that works through units, and the record of clips in flight."""

from __future__ import annotations

import errno
import importlib
import os
import shutil
import sys
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from dimitra.clips import Clip, ClipError, Reason
from dimitra.shards import Members, iterate_shard, write_shard
from pipelines.errors import ShardError
from pipelines.quarantine import QuarantineRow, quarantine_row
from pipelines.work_cache import Finished, WorkCache, publish, read_finished, write_rows

_THREADS = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)
ENVIRONMENT = {
    **dict.fromkeys(_THREADS, "1"),
    "TOKENIZERS_PARALLELISM": "false",
    "PYTHONHASHSEED": "0",
}
"""Environment of every actor: one thread each, so that bytes do not depend on the machine."""

_MACHINE_FAULTS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EMFILE})
"""Errors of the machine: they stop the stage rather than blame a clip."""


class Worker(Protocol):
    """A stage's function from one clip to the parts of its output shard."""

    def __call__(self, clip: Clip, parts: Members) -> Members: ...


@dataclass(frozen=True)
class Unit:
    """One output shard.

    Attributes:
        name: ``00003`` for ``<output>/00003.tar``.
        clips: the clips expected in it, sorted by id.
        reads: finished input shards, joined by clip id; may be empty.
        digest: of whatever else the unit reads; enters its key.
    """

    name: str
    clips: tuple[Clip, ...]
    reads: tuple[Path, ...]
    digest: str = ""


@dataclass(frozen=True)
class InFlight:
    """Where a unit stands.

    Attributes:
        clip_id: the clip being processed; None before the first and after the last.
        age_s: seconds since it began.
        done: clips of the unit that are finished.
        quarantined: of those, how many went to quarantine.
    """

    clip_id: str | None
    age_s: float
    done: int
    quarantined: int


class Record:
    """Ray actor that knows which clip each unit is at; it outlives a worker that dies."""

    def __init__(self) -> None:
        self._entries: dict[str, tuple[str | None, float, int, int]] = {}

    def at(self, attempt: str, clip_id: str | None, done: int, quarantined: int) -> None:
        """An attempt at a unit begins a clip, or (None) has finished its last."""
        self._entries[attempt] = (clip_id, time.monotonic(), done, quarantined)

    def forget(self, attempt: str) -> InFlight:
        """Take the entry of an attempt that is over."""
        entry = self._entries.pop(attempt, None)
        return _in_flight(entry) if entry else InFlight(None, 0.0, 0, 0)

    def all(self) -> dict[str, InFlight]:
        """Every attempt that is under way."""
        return {attempt: _in_flight(entry) for attempt, entry in self._entries.items()}


def _in_flight(entry: tuple[str | None, float, int, int]) -> InFlight:
    clip_id, began, done, quarantined = entry
    return InFlight(clip_id, time.monotonic() - began, done, quarantined)


def join(unit: Unit) -> Iterator[tuple[Clip, Members]]:
    """Yield each clip of a unit with its merged parts, one clip in memory at a time.

    Raises:
        ShardError: a shard lacks a clip of the unit.
    """
    streams = [(path, iterate_shard(path)) for path in unit.reads]
    for clip in unit.clips:
        parts: Members = {}
        for path, stream in streams:
            members = next((m for clip_id, m in stream if clip_id == clip.clip_id), None)
            if members is None:
                raise ShardError(
                    f"{path} holds no clip {clip.clip_id} (or is not sorted); "
                    "remove the folder and run the stage that makes it again"
                )
            parts.update(members)
        yield clip, parts


def load_worker(name: str, params: Mapping[str, Any]) -> Worker:
    """Call the factory ``module:function`` with a stage's parameters."""
    module, _, function = name.partition(":")
    worker: Worker = getattr(importlib.import_module(module), function)(dict(params))
    return worker


def process(
    worker: Worker, clip: Clip, parts: Members, stage: str, kept: Path
) -> Members | QuarantineRow:
    """Process one clip; the one place where an exception becomes a quarantine row.

    Args:
        worker: the stage's worker.
        clip: the clip.
        parts: its input.
        stage: stage name.
        kept: folder for tracebacks of unforeseen errors.

    Raises:
        OSError: the machine is at fault (no space, read-only, too many files).
    """
    try:
        return worker(clip, parts)
    except ClipError as error:
        return quarantine_row(clip, stage, error.reason, error.message)
    except MemoryError as error:
        return quarantine_row(clip, stage, Reason.OUT_OF_MEMORY, str(error) or "out of memory")
    except Exception as error:  # by design: an unforeseen error costs one clip
        if isinstance(error, OSError) and error.errno in _MACHINE_FAULTS:
            raise
        kept.mkdir(parents=True, exist_ok=True)
        (kept / f"{clip.clip_id}.txt").write_text(traceback.format_exc())
        message = f"{type(error).__name__}: {error}"
        return quarantine_row(clip, stage, Reason.INTERNAL_ERROR, message)


class ShardActor:
    """Ray actor that works through units, one at a time, with the stage's models loaded once.

    Args:
        stage: stage name.
        worker: ``module:function`` of the worker's factory.
        params: the stage's parameters.
        output: the stage's output folder.
        cache: the work cache.
        partial: folder for unfinished shards.
        record: handle of the ``Record`` actor.
        folder: working folder of the driver.
    """

    def __init__(
        self,
        stage: str,
        worker: str,
        params: dict[str, Any],
        output: Path,
        cache: WorkCache,
        partial: Path,
        record: Any,
        folder: Path,
    ) -> None:
        os.chdir(folder)
        self._stage = stage
        self._worker_name = worker
        self._params = params
        self._worker: Worker | None = None
        self._output = output
        self._cache = cache
        self._partial = partial
        self._record = record

    def prepare(self) -> int:
        """Load the models; returns the process id.

        Raises:
            Exception: whatever the stage's factory raises, for example ``MissingAssetError``.
        """
        self._worker = load_worker(self._worker_name, self._params)
        if "torch" in sys.modules:
            sys.modules["torch"].set_num_threads(1)
        return os.getpid()

    def _note(self, attempt: str, clip_id: str | None, done: int, quarantined: int) -> None:
        import ray

        ray.get(self._record.at.remote(attempt, clip_id, done, quarantined))

    def run(
        self, unit: Unit, key: str, attempt: str, given_up: Sequence[QuarantineRow]
    ) -> Finished:
        """Make one shard, publish it, and keep it in the cache.

        Args:
            unit: the unit.
            key: its work key.
            attempt: name of this attempt in the record.
            given_up: rows of clips that are not to be tried again.

        Returns:
            Its sidecar and quarantine rows.
        """
        worker = self._worker
        if worker is None:
            raise RuntimeError("prepare() has not been called")
        rows = list(given_up)
        skipped = {row.clip_id for row in rows}
        samples: dict[str, Members] = {}
        kept = self._cache.root / "tracebacks" / self._stage
        for done, (clip, parts) in enumerate(join(unit)):
            if clip.clip_id in skipped:
                continue
            self._note(attempt, clip.clip_id, done, len(rows))
            result = process(worker, clip, parts, self._stage, kept)
            if isinstance(result, QuarantineRow):
                rows.append(result)
            else:
                samples[clip.clip_id] = result
        self._note(attempt, None, len(unit.clips), len(rows))
        folder = self._partial / attempt
        shutil.rmtree(folder, ignore_errors=True)
        write_shard(folder / f"{unit.name}.tar", samples)
        write_rows(folder, rows)
        finished = read_finished(folder, unit.name)
        publish(folder, unit.name, self._output)
        if finished.lasting:
            self._cache.keep(folder, key)
        return finished
