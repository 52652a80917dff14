"""Units of work: one output shard, the clips expected in it, and the shards it is made from."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from dimitra.clips import Clip
from dimitra.shards import Members, Sidecar, iterate_shard, list_sidecars
from pipelines.errors import JobError, ShardError


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
    """

    name: str
    clips: tuple[Clip, ...]
    reads: tuple[Path, ...]
    digest: str = ""
    files: tuple[Path, ...] = ()
    inputs: tuple[Path, ...] = ()

    @property
    def duration_s(self) -> float:
        """Seconds of video in it."""
        return sum(clip.duration_s for clip in self.clips)


def sidecars_of(folder: Path) -> dict[Path, Sidecar]:
    """Finished shards of an earlier stage.

    Raises:
        JobError: the stage has not finished.
    """
    if not (folder / "balance.json").exists():
        raise JobError(f"{folder} has no balance.json: the stage that makes it has not finished")
    return list_sidecars(folder)


def units_of(clips: Sequence[Clip], reads: Sequence[Path]) -> tuple[Unit, ...]:
    """One unit per shard number, with the clips that every read folder holds.

    Only sidecars are read, so the shards may lie anywhere.

    Args:
        clips: of the manifest.
        reads: folders of earlier stages (``data/crops``).

    Raises:
        JobError: an earlier stage has not finished.
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


def join(
    unit: Unit, locate: Callable[[Path], Path] = lambda path: path
) -> Iterator[tuple[Clip, Members]]:
    """Yield each clip of a unit with its merged parts, one clip in memory at a time.

    Args:
        unit: the unit.
        locate: where a shard of the unit lies on this machine.

    Raises:
        ShardError: a shard lacks a clip of the unit.
    """
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
