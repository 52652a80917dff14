"""Summary of a dataset: counts, splits, quarantine and digests, in one small JSON file."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from dimitra.datasets.inventory import InventoryError, digest
from dimitra.datasets.split import SIDES
from dimitra.shards import Sidecar

SCHEMA = 1
_SHARED = {"identities": "identity", "source_videos": "source_video", "files": "sha256"}


@dataclass(frozen=True)
class Description:
    """What no table tells of a dataset.

    Attributes:
        name: of the whole.
        version: semantic version, as stated.
        licence: of the originals, SPDX identifier or URL.
        creator: who made the dataset.
        published: ISO date of the version.
        face_model: whose coefficients the motion holds.
        splits: dataset to the version of its split, ``chorus/v1``.
        split_digest: of the sides of all clips.
    """

    name: str
    version: str
    licence: str
    creator: str
    published: str
    face_model: str
    splits: Mapping[str, str]
    split_digest: str


@dataclass(frozen=True)
class Refused:
    """How many clips of a dataset a stage has put aside for one reason."""

    stage: str
    dataset: str
    reason: str
    clips: int


@dataclass(frozen=True)
class Summary:
    """Everything of a dataset but its clips.

    Attributes:
        description: what no table tells.
        digest: of the inventory's content.
        sides: dataset to side to ``clips``, ``identities``, ``source_videos``, ``seconds`` and the
            shortest, median and longest clip (``shortest_s``, ``median_s``, ``longest_s``).
        shared: dataset to how many ``identities``, ``source_videos`` and ``files`` (same bytes) are
            on both sides.
        quarantine: by stage, dataset and reason, in the order of the stages.
        shards: file name to ``sha256``, ``clips`` and ``size_bytes``.
    """

    description: Description
    digest: str
    sides: Mapping[str, Mapping[str, Mapping[str, float]]]
    shared: Mapping[str, Mapping[str, int]]
    quarantine: tuple[Refused, ...]
    shards: Mapping[str, Mapping[str, Any]]

    def to_json(self) -> dict[str, Any]:
        """For ``dimitra.shards.json_bytes``."""
        return {
            "schema": SCHEMA,
            **asdict(self.description),
            "digest": self.digest,
            "sides": {name: dict(sides) for name, sides in self.sides.items()},
            "shared": {name: dict(counts) for name, counts in self.shared.items()},
            "quarantine": [asdict(row) for row in self.quarantine],
            "shards": {name: dict(shard) for name, shard in self.shards.items()},
        }

    @property
    def shard_digests(self) -> dict[str, str]:
        """Shard to its sha256."""
        return {name: str(shard["sha256"]) for name, shard in self.shards.items()}


def of_json(data: bytes, name: str) -> Summary:
    """Read what ``Summary.to_json`` makes.

    Args:
        data: JSON.
        name: of the file, for messages.

    Raises:
        InventoryError: it is no summary of this schema.
    """
    try:
        values = json.loads(data)
        if values["schema"] != SCHEMA:
            raise InventoryError(f"{name} has schema {values['schema']}, but {SCHEMA} is read here")
        fields = Description.__dataclass_fields__
        return Summary(
            Description(**{key: values[key] for key in fields}),
            values["digest"],
            values["sides"],
            values["shared"],
            tuple(Refused(**row) for row in values["quarantine"]),
            values["shards"],
        )
    except (ValueError, KeyError, TypeError) as error:
        if isinstance(error, InventoryError):
            raise
        raise InventoryError(f"{name} is no summary of a dataset: {error!r}") from None


def _numbers(table: pa.Table) -> dict[str, float]:
    """Counts and durations of the rows, which are those of one side of one dataset."""
    seconds = table["duration_s"]
    extremes = pc.min_max(seconds).as_py()
    return {
        "clips": table.num_rows,
        "identities": len(pc.unique(table["identity"])),
        "source_videos": len(pc.unique(table["source_video"])),
        "seconds": round(pc.sum(seconds).as_py() or 0.0, 2),
        "shortest_s": round(extremes["min"] or 0.0, 2),
        "median_s": round(pc.quantile(seconds, 0.5)[0].as_py() or 0.0, 2),
        "longest_s": round(extremes["max"] or 0.0, 2),
    }


def _shared(train: pa.ChunkedArray, test: pa.ChunkedArray) -> int:
    """Values of a column that both sides have."""
    both = pc.is_in(pc.unique(test), pc.unique(train))
    return int(pc.sum(both).as_py() or 0)


def summarise(
    description: Description,
    inventory: pa.Table,
    quarantine: Iterable[Refused],
    shards: Sequence[Sidecar],
) -> Summary:
    """Count an inventory.

    Args:
        description: what no table tells.
        inventory: ``INVENTORY_SCHEMA``.
        quarantine: by stage, dataset and reason.
        shards: sidecars, in any order.
    """
    sides: dict[str, dict[str, dict[str, float]]] = {}
    shared: dict[str, dict[str, int]] = {}
    for name in sorted(description.splits):
        mine = inventory.filter(pc.equal(inventory["dataset"], name))
        rows: dict[str, pa.Table] = {
            side: mine.filter(pc.fill_null(pc.equal(mine["split"], side), False)) for side in SIDES
        }
        sides[name] = {side: _numbers(table) for side, table in rows.items()}
        shared[name] = {
            label: _shared(*(table[column] for table in rows.values()))
            for label, column in _SHARED.items()
        }
    files = {
        one.shard: {"sha256": one.sha256, "clips": one.clips, "size_bytes": one.size_bytes}
        for one in sorted(shards, key=lambda one: one.shard)
    }
    return Summary(
        description, digest(inventory), sides, shared, tuple(quarantine), files
    )
