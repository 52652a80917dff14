"""The dataset card: a page for people, made of the summary alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from dimitra.datasets.members import CLIP_PARTS
from dimitra.datasets.split import SIDES
from dimitra.datasets.summary import Summary

_LIMITS = """Coefficients, features and words were computed by machines and hold their errors; nobody
has corrected them by hand. Who is missing from the data (languages, ages, skins, poses, sound
recorded badly) will be served worse by what is trained on it.

Faces and voices are personal data wherever they are of real people. The licence above is that of
the recordings; whether people agreed to be in them, and to this use, has to be asked of their
source. Nobody is to be identified by this data, and nobody imitated without their consent."""


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def _duration(seconds: float) -> str:
    """``83.2`` -> ``1 min 23 s``."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{seconds / 3600:,.2f} h"


def _sides(summary: Summary) -> str:
    head = ["dataset", "split", "side", "clips", "identities", "recordings", "duration", "a clip"]
    rows = []
    for name, sides in sorted(summary.sides.items()):
        for side in SIDES:
            numbers = sides[side]
            length = (
                f"{numbers['shortest_s']:g} to {numbers['longest_s']:g} s, "
                f"median {numbers['median_s']:g} s"
            )
            rows.append(
                [
                    name,
                    f"`{summary.description.splits[name]}`",
                    side,
                    f"{numbers['clips']:,}",
                    f"{numbers['identities']:,}",
                    f"{numbers['source_videos']:,}",
                    _duration(numbers["seconds"]) if numbers["clips"] else "-",
                    length if numbers["clips"] else "-",
                ]
            )
    return _table(head, rows)


def _both(summary: Summary) -> str:
    """What train and test have in common."""
    told = [
        f"{count} {what.replace('_', ' ')} of {name}"
        for name, counts in sorted(summary.shared.items())
        for what, count in sorted(counts.items())
        if count
    ]
    if not told:
        return "Train and test share no identity, no recording, and no file with the same bytes."
    return f"**Train and test share {', '.join(told)}.**"


def _quarantine(summary: Summary) -> str:
    if not summary.quarantine:
        return "No clip was put aside."
    rows = [[f"`{r.stage}`", r.dataset, f"`{r.reason}`", f"{r.clips:,}"] for r in summary.quarantine]
    return _table(["stage", "dataset", "reason", "clips"], rows)


def _shards(summary: Summary) -> str:
    rows = [
        [f"`{name}`", f"{shard['clips']:,}", f"{shard['size_bytes']:,}", f"`{shard['sha256']}`"]
        for name, shard in sorted(summary.shards.items())
    ]
    return _table(["shard", "clips", "bytes", "sha256"], rows)


def card(summary: Summary) -> str:
    """Markdown."""
    about = summary.description
    clips = sum(numbers["clips"] for sides in summary.sides.values() for numbers in sides.values())
    seconds = sum(n["seconds"] for sides in summary.sides.values() for n in sides.values())
    size = sum(int(shard["size_bytes"]) for shard in summary.shards.values())
    return f"""# {about.name} {about.version}

Talking heads as motion, speech, phonemes and words, 25 frames a second, in WebDataset shards.
{clips:,} clips, {_duration(seconds)}, {len(summary.shards):,} shards of {size:,} bytes together.

* Licence of the recordings: {about.licence}
* Made by: {about.creator}
* Version {about.version}, {about.published}. *Patch*: packed otherwise; *minor*: clips added; *major*: edited, removed, or moved across the split.
* Face model of the coefficients: `{about.face_model}`
* Digest of the content (clips, sides, parts; whatever shards they lie in): `{summary.digest}`
* Digest of the split (the side of each clip): `{about.split_digest}`

## Clips

{_sides(summary)}

{_both(summary)}

## A clip

{_table(["part", "what it holds"], ([f"`{part}`", text] for part, text in CLIP_PARTS.items()))}

`croissant.json` beside the shards describes them for programs (Croissant 1.1); `members.parquet` tells where each part lies.

## Quarantine

Clips that were there and are not in the shards. `not_in_split`: neither list names who speaks.

{_quarantine(summary)}

## Limits

{_LIMITS}

## Shards

{_shards(summary)}
"""
