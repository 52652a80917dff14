"""What has changed between two inventories of a dataset, clip by clip, and what version it demands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import pyarrow as pa
import pyarrow.compute as pc

from dimitra.datasets.inventory import PARTS, computed
from dimitra.datasets.version import Bump

_SOURCE = {
    "identity": "identity",
    "source_video": "recording",
    "sha256": "bytes",
    "start_s": "interval",
    "end_s": "interval",
    "words": "words",
}
"""Column of the inventory to what a person calls it: the clip that went in."""
_AFTER = "_after"


@dataclass(frozen=True)
class Difference:
    """What has changed from one inventory to another.

    Attributes:
        added: clips that only the other one has, sorted.
        removed: clips that only the first one has, sorted.
        moved: clip to its sides before and after.
        edited: clip to what of it has changed: ``bytes``, ``interval``, ``words``, ``identity``,
            ``recording`` (the original), ``motion``, ``speech``, ``text`` (what was computed).
        repacked: where nothing else has changed, the clips that lie in another shard, or in one
            with other bytes.
        parts: whether the computed parts could be compared.
    """

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    moved: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    edited: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    repacked: tuple[str, ...] = ()
    parts: bool = True

    @property
    def bump(self) -> Bump:
        """What Croissant's rule demands of the version."""
        if self.removed or self.moved or self.edited:
            return Bump.MAJOR
        if self.added:
            return Bump.MINOR
        return Bump.PATCH if self.repacked else Bump.NONE


def _differs(joined: pa.Table, column: str) -> pa.ChunkedArray:
    """Where a column's values before and after are not the same; null is a value of its own."""
    one, other = joined[column], joined[f"{column}{_AFTER}"]
    unequal = pc.not_equal(one, other)
    return pc.if_else(pc.is_null(unequal), pc.xor(pc.is_null(one), pc.is_null(other)), unequal)


def _only_in(table: pa.Table, other: pa.Table) -> tuple[str, ...]:
    missing = pc.invert(pc.is_in(table["clip_id"], other["clip_id"].combine_chunks()))
    return tuple(sorted(table["clip_id"].filter(missing).to_pylist()))


def _moved(joined: pa.Table) -> dict[str, tuple[str, str]]:
    """Clips whose side is known before and after, and is another one."""
    rows = joined.filter(pc.fill_null(pc.not_equal(joined["split"], joined[f"split{_AFTER}"]), False))
    columns = (rows[name].to_pylist() for name in ("clip_id", "split", f"split{_AFTER}"))
    return {clip_id: (one, other) for clip_id, one, other in sorted(zip(*columns, strict=True))}


def compare(
    before: pa.Table,
    after: pa.Table,
    *,
    sources: bool = False,
    shards: tuple[Mapping[str, str], Mapping[str, str]] | None = None,
) -> Difference:
    """Compare two inventories.

    Args:
        before: ``INVENTORY_SCHEMA``.
        after: the same.
        sources: leave out what was computed, and compare the originals alone; it is so anyway
            where one of the two does not know its shards.
        shards: shard to its sha256, of both, where known: tells the same clips packed otherwise.
    """
    parts = not sources and computed(before) and computed(after)
    joined = before.join(after, "clip_id", join_type="inner", right_suffix=_AFTER)
    edited: dict[str, dict[str, None]] = {}
    for column, name in (_SOURCE | ({part: part for part in PARTS} if parts else {})).items():
        for clip_id in joined["clip_id"].filter(_differs(joined, column)).to_pylist():
            edited.setdefault(clip_id, {})[name] = None
    found = Difference(
        added=_only_in(after, before),
        removed=_only_in(before, after),
        moved=_moved(joined),
        edited={clip_id: tuple(edited[clip_id]) for clip_id in sorted(edited)},
        parts=parts,
    )
    if not parts or found.bump is not Bump.NONE:
        return found
    elsewhere = joined["clip_id"].filter(_differs(joined, "shard")).to_pylist()
    if shards is not None:
        one, other = shards
        changed = pa.array([name for name in one if one[name] != other.get(name)], pa.string())
        elsewhere += joined["clip_id"].filter(pc.is_in(joined["shard"], changed)).to_pylist()
    return replace(found, repacked=tuple(sorted(set(elsewhere))))
