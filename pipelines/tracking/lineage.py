"""Lineage in MLflow: a stage's inputs and outputs under our digests, and where it was run.

MLflow's own digest of a dataset covers its first rows only. Ours covers every byte; its column
takes 36 characters, so the sha256 stands whole in the dataset's profile.

A stage ends `python -m pipelines.tracking.lineage lineage/crop.json FACTS`, a process of its own
that it does not wait for.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

from dimitra.lineage.record import Artefact, LineageRecord, parse_record
from pipelines.tracking.store import one_writer, open_experiment

DIGEST_LENGTH = 36
"""Characters that MLflow's database keeps of a digest."""
CONTEXT = "mlflow.data.context"
_NICENESS = 10


def _dataset(artefact: Artefact, record: LineageRecord, context: str) -> Any:
    from mlflow.entities import Dataset, DatasetInput, InputTag

    profile = asdict(artefact)
    profile.pop("files")
    shards = [one.path for one in record.shards if one.path.startswith(f"{artefact.path}/")]
    dataset = Dataset(
        name=artefact.path,
        digest=(artefact.sha256 or "absent")[:DIGEST_LENGTH],
        source_type="local",
        source=json.dumps({"uri": artefact.path}),
        profile=json.dumps({**profile, "shards": len(shards)}),
    )
    return DatasetInput(dataset, [InputTag(CONTEXT, context)])


def log_lineage(record: LineageRecord, run_id: str, facts: Mapping[str, Any] | None = None) -> None:
    """Log a record to a run of MLflow: its datasets, and tags that link to code and machine.

    Args:
        record: of the stage.
        run_id: of the run; whether it is still open does not matter.
        facts: what differs from run to run: ``host``, ``commit``, ``began``.
    """
    from mlflow import MlflowClient

    client = MlflowClient()
    read = [_dataset(one, record, "input") for one in record.inputs]
    written = [_dataset(one, record, "output") for one in record.outputs]
    client.log_inputs(run_id, datasets=[*read, *written])
    tags = {
        "lineage.code_digest": record.code.digest,
        "lineage.code_commit": record.code.commit,
        "lineage.code_uncommitted": record.code.uncommitted,
        **{f"lineage.digest.{name}": value for name, value in record.digests.items()},
        **{f"lineage.{name}": value for name, value in (facts or {}).items()},
    }
    for key, value in tags.items():
        if value is not None:
            client.set_tag(run_id, key, str(value))


def _run_of(stage: str, began: str | None) -> str:
    """The run that the stage itself has made since it began, else a run of our own."""
    mlflow, experiment = open_experiment()
    since = int(datetime.fromisoformat(began).timestamp() * 1000) if began else 0
    for run in mlflow.MlflowClient().search_runs([experiment], f"tags.stage = '{stage}'"):
        if run.info.start_time >= since:
            return str(run.info.run_id)
    with mlflow.start_run(run_name=stage, log_system_metrics=False) as run:
        mlflow.set_tags({"stage": stage, "level": "stage"})
        return str(run.info.run_id)


def main() -> int:
    """Log the record of a stage that has ended."""
    path, facts = sys.argv[1], json.loads(sys.argv[2])
    os.nice(_NICENESS)
    record = parse_record(Path(path).read_bytes(), path)
    with one_writer():
        log_lineage(record, _run_of(record.stage, facts.get("began")), facts)
    return 0


if __name__ == "__main__":
    sys.exit(main())
