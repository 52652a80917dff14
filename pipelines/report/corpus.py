"""What the corpus is made of: counts, lengths, who speaks, and on which side of the split."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from dimitra.clips import MANIFEST_SCHEMA
from pipelines.report.charts import ColumnChart, column_chart

_MOST_IDENTITIES = 60
SIDES = ("train", "test", "not in the split")


@dataclass(frozen=True)
class CorpusRow:
    """Counts of one dataset.

    Attributes:
        dataset: name.
        clips: of it.
        identities: who speaks.
        videos: recordings that the clips are cut from.
        minutes: of all clips.
        shortest_s: shortest clip.
        longest_s: longest clip.
        train: clips.
        test: clips.
        train_identities: identities that are trained on.
        test_identities: identities that are tested on.
        shared: identities on both sides; the split refuses any.
        durations: histogram of the clips' lengths.
        speakers: identity, side and clips, by name; at most ``_MOST_IDENTITIES``.
    """

    dataset: str
    clips: int
    identities: int
    videos: int
    minutes: float
    shortest_s: float
    longest_s: float
    train: int
    test: int
    train_identities: int
    test_identities: int
    shared: int
    durations: ColumnChart
    speakers: tuple[tuple[str, str, int], ...]


def read_manifest(path: Path) -> list[dict[str, Any]]:
    """Rows of the manifest."""
    rows: list[dict[str, Any]] = pq.read_table(path, schema=MANIFEST_SCHEMA).to_pylist()
    return rows


def read_sides(path: Path) -> dict[str, str]:
    """Clip id to ``train`` or ``test``."""
    rows = pq.read_table(path, columns=["clip_id", "split"]).to_pylist()
    return {row["clip_id"]: row["split"] for row in rows}


def _row(dataset: str, clips: list[dict[str, Any]], sides: Mapping[str, str]) -> CorpusRow:
    side_of = {clip["clip_id"]: sides.get(clip["clip_id"], SIDES[2]) for clip in clips}
    counts = Counter(side_of.values())
    speakers = Counter((clip["identity"], side_of[clip["clip_id"]]) for clip in clips)
    on = {side: {who for who, where in speakers if where == side} for side in SIDES}
    lengths = {
        side: [clip["duration_s"] for clip in clips if side_of[clip["clip_id"]] == side]
        for side in SIDES
    }
    durations = [clip["duration_s"] for clip in clips]
    return CorpusRow(
        dataset=dataset,
        clips=len(clips),
        identities=len({clip["identity"] for clip in clips}),
        videos=len({clip["source_video"] for clip in clips}),
        minutes=sum(durations) / 60.0,
        shortest_s=min(durations),
        longest_s=max(durations),
        train=counts["train"],
        test=counts["test"],
        train_identities=len(on["train"]),
        test_identities=len(on["test"]),
        shared=len(on["train"] & on["test"]),
        durations=column_chart(
            f"Clips of {dataset} by length",
            "seconds",
            {side: values for side, values in lengths.items() if values},
        ),
        speakers=tuple((who, side, count) for (who, side), count in sorted(speakers.items()))[
            :_MOST_IDENTITIES
        ],
    )


def corpus_rows(clips: list[dict[str, Any]], sides: Mapping[str, str]) -> list[CorpusRow]:
    """Statistics of each dataset, by name.

    Args:
        clips: rows of the manifest.
        sides: clip id to its side of the split.
    """
    grouped: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for clip in clips:
        grouped[clip["dataset"]].append(clip)
    return [_row(dataset, members, sides) for dataset, members in sorted(grouped.items())]
