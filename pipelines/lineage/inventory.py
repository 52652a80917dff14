"""The committed inventory of the shards, which ``shard`` writes beside them: `inventory/`.

``clips.parquet`` (a row a clip), ``dataset.json`` (everything else) and ``README.md`` (the card).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from dimitra.datasets.card import card
from dimitra.datasets.inventory import encode, of_shards
from dimitra.datasets.revisions import CLIPS, FOLDER, SUMMARY
from dimitra.datasets.summary import Description, Refused, summarise
from dimitra.shards import json_bytes, list_sidecars, write_atomic
from pipelines.runtime.jobs import read_manifest
from pipelines.runtime.quarantine import read_quarantine

CARD = FOLDER / "README.md"
STAGES = ("manifest", "split", "crops", "motion", "transcripts", "speech", "shards")
"""Folders below ``data/`` whose stages put clips aside, in their order."""


def refused(data: Path) -> Iterator[Refused]:
    """How many clips each stage has put aside, by dataset and reason.

    A clip that two stages of one input (``fit`` and ``speech`` of ``crop``) refuse counts in both.

    Args:
        data: the folder ``data``.
    """
    for folder in STAGES:
        if not (data / folder / "quarantine.parquet").is_file():
            continue
        rows = read_quarantine(data / folder)
        counts = Counter((row.stage, row.dataset, row.reason) for row in rows)
        for (stage, dataset, reason), clips in sorted(counts.items()):
            yield Refused(stage, dataset, reason, clips)


def write_inventory(
    description: Description,
    shards: Path,
    index: Sequence[Mapping[str, Any]],
    members: pa.Table,
    fps: float,
) -> None:
    """Write the three files.

    Args:
        description: what no table tells.
        shards: folder of the finished shards.
        index: rows of their ``index.parquet``.
        members: ``dimitra.datasets.members.MEMBERS_SCHEMA`` of them.
        fps: frames a second of what they hold.
    """
    table = of_shards(read_manifest(), index, members, fps)
    sidecars = list(list_sidecars(shards).values())
    summary = summarise(description, table, refused(shards.parent), sidecars)
    write_atomic(CLIPS, encode(table))
    write_atomic(SUMMARY, json_bytes(summary.to_json()))
    write_atomic(CARD, card(summary).encode())
