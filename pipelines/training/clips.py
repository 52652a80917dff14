"""Which clips corpus-wide models are trained on: those of the train split, or a fixed draw."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import pyarrow.parquet as pq

from dimitra.clips import Clip
from pipelines.errors import StageError
from pipelines.runtime.units import Unit

SPLIT = Path("data/split/split.parquet")


def train_ids(path: Path = SPLIT) -> frozenset[str]:
    """Ids of the training clips."""
    rows = pq.read_table(path, columns=["clip_id", "split"]).to_pylist()
    return frozenset(row["clip_id"] for row in rows if row["split"] == "train")


def choose(clips: Sequence[Clip], max_hours: float) -> frozenset[str]:
    """Ids of at most ``max_hours`` of clips, drawn by a hash of the id.

    The choice among the clips that stay does not change when others come or go.
    """
    chosen: set[str] = set()
    seconds = 0.0
    for clip in sorted(clips, key=lambda clip: hashlib.sha256(clip.clip_id.encode()).digest()):
        seconds += clip.duration_s
        if seconds > max_hours * 3600 and chosen:
            break
        chosen.add(clip.clip_id)
    return frozenset(chosen)


def chosen(units: Sequence[Unit], max_hours: float, having: str) -> list[Clip]:
    """The training clips among those of ``units``, at most ``max_hours`` of them.

    Args:
        units: of the stages that a training reads.
        max_hours: of clips.
        having: what these stages give, for the message.

    Raises:
        StageError: there are none.
    """
    training = train_ids()
    clips = [clip for unit in units for clip in unit.clips if clip.clip_id in training]
    if not clips:
        raise StageError(f"{SPLIT} names no training clip that has {having}")
    wanted = choose(clips, max_hours)
    return [clip for clip in clips if clip.clip_id in wanted]
