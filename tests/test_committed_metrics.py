"""What the committed metrics of the full sample run must show."""

import json
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parent.parent
METHODS = ("dimitra_hp", "dimitra_no_hp", "frozen_first_frame")


@pytest.mark.parametrize(("dataset", "clips"), [("chorus", 24), ("lecture", 4)])
def test_tables_are_complete(dataset: str, clips: int) -> None:
    table = json.loads((ROOT / "metrics" / f"{dataset}.json").read_text())
    for method in METHODS:
        for metric in ("f_lmd", "m_lmd"):
            cell = table[method][metric]
            assert cell["value"] > 0
            assert cell["n"] + cell["dropped"] == clips
    for method in (*METHODS, "ground_truth", "shuffled_audio"):
        for metric in ("sync_dist", "sync_conf"):
            cell = table[method][metric]
            assert cell["value"] is not None
            assert cell["n"] == clips


@pytest.mark.parametrize("dataset", ["chorus", "lecture"])
def test_sync_tells_frozen_from_generated_from_true_and_wrong_sound_from_right(
    dataset: str,
) -> None:
    table = json.loads((ROOT / "metrics" / f"{dataset}.json").read_text())
    sure = {method: row["sync_conf"]["value"] for method, row in table.items()}
    for generated in ("dimitra_hp", "dimitra_no_hp"):
        assert sure["frozen_first_frame"] < sure[generated] < sure["ground_truth"]
    assert sure["shuffled_audio"] < 0.5 * sure["ground_truth"]
    far = {method: row["sync_dist"]["value"] for method, row in table.items()}
    assert far["ground_truth"] < far["dimitra_hp"] < far["shuffled_audio"]


def test_generated_mouths_beat_a_frozen_face_on_unseen_people() -> None:
    table = json.loads((ROOT / "metrics" / "chorus.json").read_text())
    frozen = table["frozen_first_frame"]["m_lmd"]["value"]
    assert table["dimitra_hp"]["m_lmd"]["value"] < frozen
    assert table["dimitra_no_hp"]["m_lmd"]["value"] < frozen


@pytest.mark.parametrize("method", ["dimitra_hp", "dimitra_mean"])
@pytest.mark.parametrize("metric", ["mouth_mae_fit", "mouth_mae_truth"])
@pytest.mark.parametrize("baseline", ["frozen_first_frame", "train_mean", "other_clip"])
def test_mouths_of_unseen_people_are_30_percent_nearer_than_baselines(
    method: str, metric: str, baseline: str
) -> None:
    table = json.loads((ROOT / "metrics" / "chorus.json").read_text())
    assert table[method][metric]["value"] <= 0.7 * table[baseline][metric]["value"]


def test_mouths_open_with_the_truth_heads_move_as_truth_and_samples_differ() -> None:
    table = json.loads((ROOT / "metrics" / "chorus.json").read_text())
    assert table["dimitra_hp"]["opening_corr_truth"]["value"] > 0.6
    for metric in ("head_speed_gap", "head_range_gap"):
        assert table["dimitra_hp"][metric]["value"] <= 0.25
    assert table["dimitra_hp"]["mouth_diversity"]["value"] > 0.01
    assert table["dimitra_hp"]["head_diversity"]["value"] > 0.1


def test_lock_belongs_to_the_committed_parameters_and_metrics() -> None:
    import hashlib

    lock = yaml.safe_load((ROOT / "dvc.lock").read_text())
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    for name, stage in lock["stages"].items():
        for key, value in stage.get("params", {}).get("params.yaml", {}).items():
            current = params
            for part in key.split("."):
                current = current[part]
            assert current == value, f"{name}: {key}"
    outs = {out["path"]: out["md5"] for out in lock["stages"]["evaluate"]["outs"]}
    for dataset in ("chorus", "lecture"):
        data = (ROOT / "metrics" / f"{dataset}.json").read_bytes()
        assert (
            hashlib.md5(data, usedforsecurity=False).hexdigest() == outs[f"metrics/{dataset}.json"]
        )
