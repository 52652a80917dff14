"""The committed inventory of the full sample run is whole, and belongs to what is committed with it."""

import hashlib
from pathlib import Path

import pyarrow.parquet as pq

from dimitra.datasets.card import card
from dimitra.datasets.inventory import INVENTORY_SCHEMA, computed, digest
from dimitra.datasets.revisions import load
from dimitra.datasets.split import read_lists
from pipelines.params import load as load_params

ROOT = Path(__file__).parents[2]


def test_its_files_agree_with_each_other_and_with_the_parameters() -> None:
    found = load("inventory", ROOT)
    assert found.summary is not None
    about, datasets = found.summary.description, load_params(ROOT / "params.yaml").datasets
    assert found.summary.digest == digest(found.inventory)
    assert (ROOT / "inventory/README.md").read_text() == card(found.summary)
    assert (about.version, about.licence) == (datasets.version, datasets.licence)
    assert about.splits == {name: entry.split for name, entry in datasets.sets.items()}
    assert pq.read_schema(ROOT / "inventory/clips.parquet").equals(INVENTORY_SCHEMA)


def test_its_clips_lie_as_the_committed_lists_say() -> None:
    found = load("inventory", ROOT)
    assert found.summary is not None
    rows = found.inventory.to_pylist()
    lists = {name: read_lists(ROOT / "splits", v) for name, v in found.summary.description.splits.items()}
    assert all(lists[row["dataset"]].side(row["identity"]) == row["split"] for row in rows)
    lines = "".join(f"{row['clip_id']}\t{row['split']}\n" for row in rows)
    assert hashlib.sha256(lines.encode()).hexdigest() == found.summary.description.split_digest
    assert sum(shard["clips"] for shard in found.summary.shards.values()) == len(rows) == 100
    assert computed(found.inventory)
    assert found.summary.quarantine == ()
