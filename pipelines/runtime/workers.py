"""A stage's function from clip to clip, and what becomes of its exceptions."""

from __future__ import annotations

import gc
import importlib
import sys
import tarfile
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from dimitra.clips import Clip, ClipError, Reason
from dimitra.shards import Members
from pipelines.errors import StageError
from pipelines.runtime.machine import MACHINE_FAULTS
from pipelines.runtime.quarantine import QuarantineRow, quarantine_row

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

Outcome = Members | QuarantineRow
"""What becomes of a clip."""

Trace = Callable[[str, str], None]
"""Takes a clip id and the traceback of an unforeseen error."""


class Worker(Protocol):
    """A stage's function from one clip to the parts of its output shard."""

    def __call__(self, clip: Clip, parts: Members) -> Members: ...


@runtime_checkable
class BatchWorker(Protocol):
    """A worker that prepares clips ahead, and takes several of them at once.

    ``load`` is the part for the CPU (decoding). It runs in a thread of its own, one batch ahead of
    ``many``, where the stage's resources ask for a GPU or for batches. What ``many`` returns for a
    clip must not depend on the clips beside it: after a lack of memory the batch is halved.
    """

    def load(self, clip: Clip, parts: Members) -> Any:
        """Whatever ``many`` needs of a clip; may raise ``ClipError``."""
        ...

    def many(self, clips: Sequence[Clip], loaded: Sequence[Any]) -> Sequence[Members | ClipError]:
        """Output of each clip, or why it has none."""
        ...


class OneByOne:
    """A ``Worker`` as a ``BatchWorker``."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    def load(self, clip: Clip, parts: Members) -> Members:  # noqa: ARG002 - by BatchWorker
        """The parts as they are."""
        return parts

    def many(
        self, clips: Sequence[Clip], loaded: Sequence[Members]
    ) -> Sequence[Members | ClipError]:
        """Call the worker on each clip."""
        return [self._worker(clip, parts) for clip, parts in zip(clips, loaded, strict=True)]


def load_worker(name: str, params: Mapping[str, Any]) -> BatchWorker:
    """Call the factory ``module:function`` with a stage's parameters."""
    module, _, function = name.partition(":")
    worker = getattr(importlib.import_module(module), function)(dict(params))
    return worker if isinstance(worker, BatchWorker) else OneByOne(worker)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that memory, of the machine or of its GPU, ran out."""
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or (isinstance(error, RuntimeError) and "can't allocate memory" in str(error))
    )


def row_of(error: Exception, clip: Clip, stage: str, trace: Trace) -> QuarantineRow:
    """The one place where an exception becomes a quarantine row; called while it is handled.

    Raises:
        OSError: the machine is at fault (no space, read-only, too many files).
        StageError: the storage or the plan is at fault.
    """
    if isinstance(error, ClipError):
        return quarantine_row(clip, stage, error.reason, error.message)
    if isinstance(error, StageError) or (
        isinstance(error, OSError) and error.errno in MACHINE_FAULTS
    ):
        raise error
    trace(clip.clip_id, "".join(traceback.format_exception(error)))
    if is_out_of_memory(error):
        why = f"not enough memory for this clip alone: {error or type(error).__name__}"
        return quarantine_row(clip, stage, Reason.OUT_OF_MEMORY, why)
    return quarantine_row(clip, stage, Reason.INTERNAL_ERROR, f"{type(error).__name__}: {error}")


@dataclass(frozen=True)
class Unloaded:
    """A clip that memory did not suffice for beside others; it is tried alone after them."""

    parts: Members


def load(
    worker: BatchWorker, clip: Clip, parts: Members, stage: str, trace: Trace, *, alone: bool
) -> Any:
    """What ``many`` needs of a clip, or its quarantine row, or ``Unloaded``.

    Args:
        worker: the stage's worker.
        clip: the clip.
        parts: its input.
        stage: stage name.
        trace: takes the tracebacks of unforeseen errors.
        alone: no other clip is held.
    """
    try:
        return worker.load(clip, parts)
    except Exception as error:  # noqa: BLE001 - by design: an unforeseen error costs one clip
        if is_out_of_memory(error) and not alone:
            return Unloaded(parts)
        return row_of(error, clip, stage, trace)


def _release() -> None:
    """Give memory back before the next try."""
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()


def process(
    worker: BatchWorker, batch: list[tuple[Clip, Any]], stage: str, trace: Trace
) -> list[Outcome]:
    """Process a batch; where it fails as a whole it is halved until the fault is alone.

    Args:
        worker: the stage's worker.
        batch: clips with what ``load`` made of them; a quarantine row passes through. What has
            been processed is let go of.
        stage: stage name.
        trace: takes the tracebacks of unforeseen errors.

    Returns:
        one outcome a clip, in order.

    Raises:
        OSError: the machine is at fault.
    """
    outcomes: dict[str, Outcome] = {
        clip.clip_id: loaded for clip, loaded in batch if isinstance(loaded, QuarantineRow)
    }
    later = [(clip, loaded.parts) for clip, loaded in batch if isinstance(loaded, Unloaded)]
    sound = [item for item in batch if not isinstance(item[1], QuarantineRow | Unloaded)]
    order = [clip.clip_id for clip, _ in batch]
    batch.clear()
    results = _process(worker, sound, stage, trace)
    outcomes |= {clip.clip_id: result for (clip, _), result in zip(sound, results, strict=True)}
    sound.clear()
    for clip, parts in later:
        _release()
        loaded = load(worker, clip, parts, stage, trace, alone=True)
        if not isinstance(loaded, QuarantineRow):
            (loaded,) = _process(worker, [(clip, loaded)], stage, trace)
        outcomes[clip.clip_id] = loaded
    return [outcomes[clip_id] for clip_id in order]


def _no_room_for(parts: Members, clip: Clip) -> str:
    """Why a shard cannot hold these parts; empty where it can."""
    for part, data in parts.items():
        name = f"{clip.clip_id}.{part}"
        header = tarfile.TarInfo(name)
        header.size = len(data)
        try:
            header.tobuf(tarfile.USTAR_FORMAT)
        except ValueError as error:
            return f"the stage gave a part {name!r} of {len(data)} bytes for this clip: {error}"
        if not part or "/" in part or "\0" in part:
            return f"the stage gave a part {name!r} for this clip: need a name without / and NUL"
    return ""


def _outcome(result: object, clip: Clip, stage: str) -> Outcome:
    """What ``many`` gave for a clip, checked: a clip without parts would vanish from its shard."""
    if isinstance(result, ClipError):
        return quarantine_row(clip, stage, result.reason, result.message)
    if (
        isinstance(result, dict)
        and result
        and all(isinstance(k, str) and isinstance(v, bytes) for k, v in result.items())
    ):
        why = _no_room_for(result, clip)
        return quarantine_row(clip, stage, Reason.INTERNAL_ERROR, why) if why else result
    why = f"the stage gave {str(result)[:80]!r} for this clip: need one part of bytes at least"
    return quarantine_row(clip, stage, Reason.INTERNAL_ERROR, why)


def _process(
    worker: BatchWorker, batch: Sequence[tuple[Clip, Any]], stage: str, trace: Trace
) -> list[Outcome]:
    if not batch:
        return []
    clips = [clip for clip, _ in batch]
    try:
        results = worker.many(clips, [loaded for _, loaded in batch])
        if len(results) != len(clips):
            raise RuntimeError(f"{len(results)} results for a batch of {len(clips)} clips")
    except Exception as error:  # by design: an unforeseen error costs one clip
        if len(batch) == 1:
            return [row_of(error, clips[0], stage, trace)]
        if isinstance(error, OSError) and error.errno in MACHINE_FAULTS:
            raise
    else:
        pairs = zip(clips, results, strict=True)
        return [_outcome(result, clip, stage) for clip, result in pairs]
    _release()
    half = len(batch) // 2
    return [
        *_process(worker, batch[:half], stage, trace),
        *_process(worker, batch[half:], stage, trace),
    ]
