"""The database or server of MLflow, and the project's one experiment in it."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from pipelines.stores.checkout import cache_folder, main_checkout

NAME_VARIABLE = "MLFLOW_EXPERIMENT_NAME"
"""Environment variable with the name of the experiment; MLflow's own."""
DEFAULT_NAME = "dimitra"
BATCH = 100
"""Parameters, tags or points that are sent to MLflow at once; it takes no more of some."""
_FILE = "sqlite:///"
_KIND = {"mlflow.experimentKind": "custom_model_development"}
"""Opens the experiment in that half of MLflow's pages which is about models."""


def tracking_uri() -> str:
    """``MLFLOW_TRACKING_URI``, else ``mlflow.db`` of the main checkout."""
    named = os.environ.get("MLFLOW_TRACKING_URI")
    return named or f"{_FILE}{main_checkout() / 'mlflow.db'}"


def experiment_name() -> str:
    """Name of the experiment, and of the model in the registry."""
    return os.environ.get(NAME_VARIABLE) or DEFAULT_NAME


@contextmanager
def alone(lock: Path) -> Iterator[None]:
    """One process of this machine at a time.

    Args:
        lock: file that is locked; it is made, and stays.
    """
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def one_writer() -> Iterator[None]:
    """One process at a time among an execution's runs: see ``pipelines.tracking.execution``."""
    with alone(cache_folder() / "mlflow.lock"):
        yield


def database_file(uri: str) -> Path | None:
    """The file of a database; None for a server."""
    return Path(uri.removeprefix(_FILE)) if uri.startswith(_FILE) else None


def open_experiment() -> tuple[ModuleType, str]:
    """MLflow with its database opened, and the id of the experiment, made where it was not.

    MLflow makes its tables when a database is first opened: one process at a time may do so. The
    artifacts of a database file lie beside it, wherever the stage runs; a server knows its own.
    """
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    import mlflow

    uri = tracking_uri()
    mlflow.set_tracking_uri(uri)
    file = database_file(uri)
    name = experiment_name()
    if file is None:
        return mlflow, str(mlflow.set_experiment(name).experiment_id)
    with alone(Path(f"{file}.lock")):
        if mlflow.get_experiment_by_name(name) is None:
            place = file.resolve().parent / "mlartifacts" / name
            mlflow.create_experiment(name, artifact_location=place.as_uri(), tags=_KIND)
        return mlflow, str(mlflow.set_experiment(name).experiment_id)
