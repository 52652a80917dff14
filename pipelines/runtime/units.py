"""Units of work: one output shard, the clips expected in it, and the shards it is made from."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from dimitra.clips import Clip
from dimitra.shards import (
    Members,
    Sidecar,
    iterate_shard,
    list_sidecars,
    read_sidecar,
    sha256_file,
)
from pipelines.errors import JobError, ShardError
from pipelines.runtime.quarantine import read_balance


@dataclass(frozen=True)
class Unit:
    """One output shard.

    Attributes:
        name: ``00003`` for ``<output>/00003.tar``.
        clips: the clips expected in it, sorted by id.
        reads: finished input shards, joined by clip id; may be empty.
        digest: of whatever else the unit reads; enters its key.
        files: finished shards that the worker opens by itself, by this path.
        inputs: plain files that the worker opens by itself; ``digest`` covers their content.
        sha256s: of ``reads``, then of ``files``, as the key has them; see ``pinned``.
    """

    name: str
    clips: tuple[Clip, ...]
    reads: tuple[Path, ...]
    digest: str = ""
    files: tuple[Path, ...] = ()
    inputs: tuple[Path, ...] = ()
    sha256s: tuple[str, ...] = ()

    @property
    def duration_s(self) -> float:
        """Seconds of video in it."""
        return sum(clip.duration_s for clip in self.clips)


def sidecars_of(folder: Path) -> dict[Path, Sidecar]:
    """Finished shards of an earlier stage.

    Raises:
        JobError: the stage has not finished, or has failed; or the sidecars tell of other clips
            than its balance.
    """
    balance = read_balance(folder)
    found = list_sidecars(folder)
    clips = sum(sidecar.clips for sidecar in found.values())
    if clips != balance.clips_out:
        raise JobError(
            f"the sidecars in {folder} tell of {clips} clips, its balance.json of "
            f"{balance.clips_out}: one of them is missing or too many. Run `python -m "
            f"pipelines.{balance.stage}` again; what is finished comes from the work cache"
        )
    return found


def units_of(clips: Sequence[Clip], reads: Sequence[Path]) -> tuple[Unit, ...]:
    """One unit per shard number, with the clips that every read folder holds.

    Only sidecars are read, so the shards may lie anywhere.

    Args:
        clips: of the manifest.
        reads: folders of earlier stages (``data/crops``).

    Raises:
        JobError: an earlier stage has not finished, or clips of it are missing.
    """
    shards: dict[str, list[tuple[Path, frozenset[str]]]] = defaultdict(list)
    for folder in reads:
        for path, sidecar in sidecars_of(folder).items():
            shards[path.stem].append((path, frozenset(sidecar.clip_ids)))
    by_name: dict[str, list[Clip]] = defaultdict(list)
    for clip in clips:
        by_name[f"{clip.shard:05d}"].append(clip)
    units = []
    for name in sorted(by_name):
        found = shards[name]
        if len(found) < len(reads):
            continue
        kept = [c for c in by_name[name] if all(c.clip_id in ids for _, ids in found)]
        if kept:
            ordered = tuple(sorted(kept, key=lambda clip: clip.clip_id))
            units.append(Unit(name, ordered, tuple(path for path, _ in found)))
    return tuple(units)


def pinned(unit: Unit) -> Unit:
    """The unit with the digests of its input shards, by their sidecars, where it has none yet.

    Raises:
        FileNotFoundError: an input shard was never finished.
    """
    shards = (*unit.reads, *unit.files)
    if len(unit.sha256s) == len(shards):
        return unit
    return replace(unit, sha256s=tuple(read_sidecar(path).sha256 for path in shards))


def check_inputs(unit: Unit, locate: Callable[[Path], Path] = lambda path: path) -> None:
    """Hold the bytes of a unit's input shards against the digests in its key.

    What is made of other bytes would be kept under this key, and be taken for the right output
    for ever after.

    Raises:
        ShardError: a shard is missing, or holds other bytes.
    """
    unit = pinned(unit)
    for path, wanted in zip((*unit.reads, *unit.files), unit.sha256s, strict=True):
        try:
            found = sha256_file(locate(path))
        except FileNotFoundError:
            raise ShardError(f"{path} is gone; {_make_again(path.parent)}") from None
        if found != wanted:
            raise ShardError(
                f"{path} has the sha256 {found[:16]}..., its sidecar says {wanted[:16]}...: its "
                f"bytes were changed after it was finished; {_make_again(path.parent)}"
            )


def _make_again(folder: Path) -> str:
    try:
        stage = read_balance(folder).stage
    except JobError:  # a node that shares no path has the shard alone
        return f"run the stage that makes {folder} again"
    return f"run `python -m pipelines.{stage}` again"


def join(
    unit: Unit, locate: Callable[[Path], Path] = lambda path: path
) -> Iterator[tuple[Clip, Members]]:
    """Yield each clip of a unit with its merged parts, one clip in memory at a time.

    The input shards' bytes are checked first, also those of ``files``, which it does not read.

    Args:
        unit: the unit.
        locate: where a shard of the unit lies on this machine.

    Raises:
        ShardError: a shard lacks a clip of the unit, or holds other bytes than in the unit's key.
    """
    check_inputs(unit, locate)
    wanted = frozenset(clip.clip_id for clip in unit.clips)
    streams = [(path, iterate_shard(locate(path), wanted)) for path in unit.reads]
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
