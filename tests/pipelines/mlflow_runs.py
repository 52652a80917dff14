"""What stages have written to MLflow."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import mlflow

from pipelines.tracking.store import alone, database_file, experiment_name

WAIT_S = 180.0


def client() -> mlflow.MlflowClient:
    """Of the database or server that the stages write to.

    A database that is opened first makes its tables: alone, as the stages do.
    """
    uri = os.environ["MLFLOW_TRACKING_URI"]
    made = mlflow.MlflowClient(uri)
    file = database_file(uri)
    if file is not None:
        with alone(Path(f"{file}.lock")):
            made.search_experiments(max_results=1)
    return made


def runs(condition: str) -> list[Any]:
    """Runs of the experiment, the newest first, once none of them is under way any more."""
    until = time.monotonic() + WAIT_S
    while True:
        experiment = client().get_experiment_by_name(experiment_name())
        found = []
        if experiment is not None:
            found = list(client().search_runs([experiment.experiment_id], condition))
        if found and all(run.info.status != "RUNNING" for run in found):
            return found
        assert time.monotonic() < until, found
        time.sleep(0.2)


def stage_runs(stage: str) -> list[Any]:
    """Runs of a stage, the newest first."""
    return runs(f"tags.level = 'stage' AND tags.stage = '{stage}'")


def artifacts(run: Any, folder: str) -> list[str]:
    """Paths of what a run keeps in a folder."""
    return [one.path for one in client().list_artifacts(run.info.run_id, folder)]
