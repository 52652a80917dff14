"""What MLflow's own client reads back of a record, from a real database."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from dimitra.lineage.record import record_path, write_record
from pipelines.closure import ROOT
from tests.lineage.records import CROP


def test_datasets_carry_our_digest_and_tags_link_to_code_and_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = f"sqlite:///{tmp_path / 'mlflow.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    write_record(CROP, tmp_path)
    facts = {"began": "2026-01-02T03:04:05+00:00", "host": "here", "commit": "a" * 40}
    command = [sys.executable, "-m", "pipelines.tracking.lineage", record_path("crop").as_posix()]
    subprocess.run(
        [*command, json.dumps(facts)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=True,
        capture_output=True,
    )
    from mlflow import MlflowClient

    client = MlflowClient(address)
    (experiment,) = client.search_experiments(filter_string="name = 'dimitra'")
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.run_name == "crop"
    datasets = {one.dataset.name: one for one in run.inputs.dataset_inputs}
    assert datasets.keys() == {"data/manifest", "data/crops"}
    assert datasets["data/crops"].dataset.digest == "3" * 36
    assert json.loads(datasets["data/crops"].dataset.profile)["sha256"] == "3" * 64
    contexts = {name: one.tags[0].value for name, one in datasets.items()}
    assert contexts == {"data/manifest": "input", "data/crops": "output"}
    assert run.data.tags["lineage.code_commit"] == "c" * 40
    assert run.data.tags["lineage.commit"] == "a" * 40
    assert run.data.tags["lineage.host"] == "here"
    assert run.data.tags["lineage.digest.split"] == "7" * 64
