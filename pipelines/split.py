"""Put every clip into train or test by the committed lists: `python -m pipelines.split`."""

from __future__ import annotations

import hashlib
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dimitra.clips import Clip, Reason
from dimitra.datasets.split import SIDES, SPLIT_SCHEMA, Side, SplitError, absent, assign, read_lists
from dimitra.shards import json_bytes, write_atomic
from pipelines.errors import StageError
from pipelines.lineage.record import with_lineage
from pipelines.params import DatasetsParams, load
from pipelines.runtime.jobs import read_manifest
from pipelines.runtime.mainguard import guarded
from pipelines.runtime.progress import console
from pipelines.runtime.quarantine import describe, quarantine_row, settle, write_table
from pipelines.tracking.stage_record import StageRecord

OUTPUT = Path("data/split")
LISTS = Path("splits")


def _summary(clips: Sequence[Clip], sides: dict[str, Side]) -> dict[str, dict[str, int]]:
    """Clips, identities, source videos and seconds on each side."""
    summary: dict[str, dict[str, int]] = {}
    for side in SIDES:
        chosen = [clip for clip in clips if sides.get(clip.clip_id) == side]
        summary[side] = {
            "clips": len(chosen),
            "identities": len({clip.identity for clip in chosen}),
            "source_videos": len({clip.source_video for clip in chosen}),
            "seconds": round(sum(clip.duration_s for clip in chosen)),
        }
    return summary


def split(
    clips: Sequence[Clip], datasets: DatasetsParams, lists: Path = LISTS, output: Path = OUTPUT
) -> None:
    """Write ``split.parquet``, ``split.json``, and rows for clips that no list names.

    Args:
        clips: the manifest.
        datasets: which split each dataset uses.
        lists: folder of the split versions.
        output: folder to write.

    Raises:
        SplitError: train and test share an identity, a source video or a file.
        StageError: a dataset has clips, and its lists name none of them.
    """
    for stale in ("balance.json", "split.parquet", "split.json"):  # none of it outlives a failure
        (output / stale).unlink(missing_ok=True)
    rows: list[dict[str, Any]] = []
    outside = []
    report: dict[str, Any] = {}
    for name, entry in sorted(datasets.sets.items()):
        mine = [clip for clip in clips if clip.dataset == name]
        chosen = read_lists(lists, entry.split)
        sides = dict(assign(mine, chosen))
        if mine and not sides:
            raise StageError(
                f"split {entry.split} names none of the {len({c.identity for c in mine})} "
                f"identities of dataset {name}; is it the right split for this data?"
            )
        message = f"neither list of split {entry.split} names its identity"
        outside += [
            quarantine_row(clip, "split", Reason.NOT_IN_SPLIT, f"{message} {clip.identity}")
            for clip in mine
            if clip.clip_id not in sides
        ]
        rows += [
            {
                "clip_id": clip.clip_id,
                "dataset": clip.dataset,
                "identity": clip.identity,
                "source_video": clip.source_video,
                "split": sides[clip.clip_id],
            }
            for clip in mine
            if clip.clip_id in sides
        ]
        report[name] = {
            "version": entry.split,
            "sides": _summary(mine, sides),
            "listed_but_absent": absent(mine, chosen),
        }
    rows.sort(key=lambda row: str(row["clip_id"]))
    lines = "".join(f"{row['clip_id']}\t{row['split']}\n" for row in rows)
    digest = hashlib.sha256(lines.encode()).hexdigest()
    write_table(output / "split.parquet", rows, SPLIT_SCHEMA)
    write_atomic(output / "split.json", json_bytes({"digest": digest, "datasets": report}))
    balance = settle(output, "split", len(clips), len(rows), outside, budget=1.0)
    counts = Counter(f"{row['dataset']} {row['split']}" for row in rows)
    detail = ", ".join(f"{side} {count}" for side, count in sorted(counts.items()))
    console.print(f"{describe(balance)}; {detail}", soft_wrap=True)


def main() -> None:
    """Split the manifest as ``params.yaml`` says."""
    params = load()
    with StageRecord("split", wanted=params.ray.mlflow):
        split(read_manifest(), params.datasets)


if __name__ == "__main__":
    sys.exit(guarded(with_lineage(main), SplitError))
