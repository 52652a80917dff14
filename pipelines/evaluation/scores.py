"""The scores of motion as a stage leaves them, and which clips have some."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from dimitra.clips import Clip
from dimitra.metrics.records import ClipRecord
from pipelines.runtime.jobs import read_manifest

SPLIT = Path("data/split/split.parquet")
SCORES = Path("data/scores")

OF_THE_SET = "a number of the data set, not of a clip"
"""Why a clip has no number."""


def tested_clips() -> list[Clip]:
    """Clips of the manifest that the split tests on."""
    split = pq.read_table(SPLIT, columns=["clip_id", "split"]).to_pylist()
    chosen = {row["clip_id"] for row in split if row["split"] == "test"}
    return [clip for clip in read_manifest() if clip.clip_id in chosen]


def read_scores(dataset: str, folder: Path = SCORES) -> dict[str, ClipRecord]:
    """Records of a data set by clip id.

    Raises:
        FileNotFoundError: the stage has not run.
    """
    content: dict[str, Any] = json.loads((folder / f"{dataset}.json").read_text())
    records = (ClipRecord.from_json(value) for value in content["clips"])
    return {record.clip_id: record for record in records}
