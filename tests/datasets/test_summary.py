import json
from dataclasses import replace
from pathlib import Path

import pytest

from dimitra.datasets.card import card
from dimitra.datasets.inventory import InventoryError, digest
from dimitra.datasets.summary import Refused, of_json, summarise
from dimitra.shards import json_bytes, list_sidecars, sha256_file
from tests.datasets.inventories import ABOUT, CLIPS, inventory

REFUSED = (Refused("crop", "toy", "no_face", 2), Refused("fit", "toy", "fit_residual", 1))


def test_counts_and_digests_come_back(tmp_path: Path) -> None:
    table = inventory(tmp_path)
    summary = summarise(ABOUT, table, REFUSED, list(list_sidecars(tmp_path).values()))
    train, test = summary.sides["toy"]["train"], summary.sides["toy"]["test"]
    assert (train["clips"], train["identities"], train["seconds"]) == (6, 6, 12.0)
    assert (test["clips"], test["source_videos"], test["median_s"]) == (2, 2, 2.0)
    assert summary.shared == {"toy": {"identities": 0, "source_videos": 0, "files": 0}}
    assert summary.digest == digest(table)
    shards = {path.name: sha256_file(path) for path in tmp_path.glob("*.tar")}
    assert summary.shard_digests == shards
    back = of_json(json_bytes(summary.to_json()), "x")
    assert back == summary
    page = card(summary)
    assert card(back) == page
    for wanted in ("# dimitra-toy 1.0.0", "8 clips, 16.0 s, 2 shards", "CC0-1.0", summary.digest):
        assert wanted in page
    assert "| toy | `toy/v1` | train | 6 | 6 | 6 | 12.0 s | 2 to 2 s, median 2 s |" in page
    assert "| `crop` | toy | `no_face` | 2 |" in page
    assert "share no identity" in page
    assert all(digest in page for digest in shards.values())


def test_what_train_and_test_share_is_told(tmp_path: Path) -> None:
    shared = [*CLIPS[:7], replace(CLIPS[7], source_video="v000", sha256=CLIPS[1].sha256)]
    summary = summarise(ABOUT, inventory(tmp_path, shared), (), [])
    assert summary.shared == {"toy": {"identities": 0, "source_videos": 1, "files": 1}}
    assert "**Train and test share 1 files of toy, 1 source videos of toy.**" in card(summary)


def test_a_summary_of_something_else_is_refused() -> None:
    with pytest.raises(InventoryError, match=r"x\.json is no summary"):
        of_json(b"{", "x.json")
    with pytest.raises(InventoryError, match="has schema 7"):
        of_json(json.dumps({"schema": 7}).encode(), "x.json")
    with pytest.raises(InventoryError, match="is no summary of a dataset: KeyError"):
        of_json(json.dumps({"schema": 1}).encode(), "x.json")
