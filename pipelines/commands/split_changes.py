"""Who has changed sides, for a person to read: the lines of ``dimitra split diff``."""

from __future__ import annotations

from rich.console import Console

from dimitra.datasets.split_difference import Extent, SplitDifference


def print_difference(
    console: Console, found: SplitDifference, known: dict[tuple[str, str], Extent], limit: int
) -> None:
    """Print one line an identity, with its clips and their length.

    Args:
        console: where.
        found: what has changed.
        known: of the manifest, by dataset and identity.
        limit: lines of each kind.
    """
    if found.same:
        console.print(f"{found.version}: no change, digest {str(found.after)[:16]}")
        return
    digests = [digest[:16] if digest else "not there" for digest in (found.before, found.after)]
    console.print(f"{found.version}: digest {digests[0]} to {digests[1]}")
    dataset = found.version.split("/", maxsplit=1)[0]
    for kind in ("moved", "removed", "added"):
        changes = [change for change in found.changes if change.kind == kind]
        extent = [known.get((dataset, change.identity), Extent(0, 0.0)) for change in changes]
        if changes:
            clips, seconds = sum(e.clips for e in extent), sum(e.seconds for e in extent)
            console.print(f"  {kind}: {len(changes)} identities, {clips} clips, {seconds:.1f} s")
        for change, one in list(zip(changes, extent, strict=True))[:limit]:
            way = f"{change.before or 'neither'} to {change.after or 'neither'}"
            line = f"    {change.identity}: {way}, {one.clips} clips, {one.seconds:.1f} s"
            console.print(line, markup=False, soft_wrap=True)
        if len(changes) > limit:
            console.print(f"    and {len(changes) - limit} more (--limit)")
    for kind, paths in (("added", found.clips_added), ("removed", found.clips_removed)):
        if paths:
            console.print(f"  clips.txt, {kind}: {len(paths)} clips")
        for path in paths[:limit]:
            console.print(f"    {path}", markup=False, soft_wrap=True)
