"""The models of a run in MLflow's registry: all that ``dimitra animate`` needs as one version.

A version is made of the trained parts, the aligner and renderer that go with them, and the
parameters that an animation reads. The same models are one version, however often they are
registered; newer metrics of theirs are added to it.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dimitra.animation.models import file_digests, load_models
from dimitra.animation.settings import PARAMS, parameter_file, read_settings
from dimitra.shards import sha256_file
from pipelines.stores.checkout import cache_folder
from pipelines.tracking.execution import ExecutionRuns, find_execution
from pipelines.tracking.facts import dvc_tags, git_tags
from pipelines.tracking.results import read_results
from pipelines.tracking.stage_record import SETTINGS
from pipelines.tracking.store import (
    BATCH,
    alone,
    experiment_name,
    one_writer,
    open_experiment,
    tracking_uri,
)

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from dimitra.animation.settings import Settings


class RegistryError(RuntimeError):
    """MLflow's registry cannot be used; the message says why, and what to do."""


DIGEST = "models_sha256"
"""Tag by which the same models are known again."""
SPLIT = Path("data/split/split.json")
DATASET = Path("inventory/dataset.json")


@dataclass(frozen=True)
class ModelVersion:
    """A version in the registry.

    Attributes:
        name: of the registered model.
        number: of the version.
        made: unix time in seconds.
        tags: of the version.
        metrics: ``<dataset>/<method>/<metric>`` to the value.
        is_new: it was made just now.
    """

    name: str
    number: int
    made: float
    tags: Mapping[str, str]
    metrics: Mapping[str, float]
    is_new: bool = False

    @property
    def address(self) -> str:
        """As MLflow's commands take it."""
        return f"models:/{self.name}/{self.number}"


def content_digest(files: Mapping[str, str], settings: Settings) -> str:
    """Digest of models and settings, the same wherever and however often they are registered.

    Args:
        files: file of a model to its sha256.
        settings: that an animation reads.
    """
    values = asdict(settings)
    del values["file"]
    content = {"files": dict(files), "settings": values}
    text = json.dumps(content, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def _training_tags(
    client: MlflowClient, experiment: str, files: Mapping[str, str]
) -> Iterator[tuple[str, str]]:
    """Yield the tags that lead to the training run of each part that MLflow knows."""
    for name, sha256 in files.items():
        part, _, file = name.rpartition("/")
        yield f"sha256.{name}", sha256
        if file != "model.safetensors":
            continue
        found = client.search_runs([experiment], f"tags.model_sha256 = '{sha256}'", max_results=1)
        for run in found:
            yield f"training_run.{part}", run.info.run_id
            for tag in ("git_commit", "work_key"):
                if tag in run.data.tags:
                    yield f"training_{tag}.{part}", run.data.tags[tag]


def _data_tags() -> dict[str, str]:
    """Split and data set that the models were trained on, where this is the folder of the run."""
    tags = {}
    if SPLIT.is_file():
        split = json.loads(SPLIT.read_text())
        tags["split_digest"] = split["digest"]
        tags |= {f"split.{name}": one["version"] for name, one in split["datasets"].items()}
    if DATASET.is_file():
        dataset = json.loads(DATASET.read_text())
        tags |= {f"dataset_{key}": str(dataset[key]) for key in ("name", "version", "digest")}
    return tags


def _model_id(version: Any) -> str:
    """Of the logged model that a version is of; a database names it in the source alone."""
    return str(version.model_id or version.source.removeprefix("models:/"))


def _read(client: MlflowClient, version: Any) -> ModelVersion:
    model = client.get_logged_model(_model_id(version))
    newest = sorted(model.metrics or (), key=lambda metric: metric.timestamp)
    metrics = {metric.key: metric.value for metric in newest}
    made_s = version.creation_timestamp / 1000
    return ModelVersion(version.name, int(version.version), made_s, dict(version.tags), metrics)


def _make(models: Path, params: Path | None, name: str, run_id: str, tags: dict[str, str]) -> str:
    """Log the models as those of a run, and make a version of them; returns its number."""
    import mlflow.pyfunc
    from mlflow.models import Model

    from pipelines.tracking.pyfunc import assembled

    with assembled(models, params) as content:
        info = Model.log(
            artifact_path=None,
            name=name,
            flavor=mlflow.pyfunc,
            flavor_name="python_function",
            registered_model_name=name,
            run_id=run_id,
            tags=tags,
            **content,
        )
    return str(info.registered_model_version)


def _evaluate(
    client: MlflowClient, model_id: str, run_id: str, values: Mapping[str, float]
) -> None:
    """Add the metrics to a model; the first part of a name is the data set."""
    from mlflow.entities import Metric

    now_ms = time.time_ns() // 1_000_000
    points = [Metric(key, value, now_ms, 0, model_id=model_id) for key, value in values.items()]
    for start in range(0, len(points), BATCH):
        client.log_batch(run_id, metrics=points[start : start + BATCH])


def list_versions() -> list[ModelVersion]:
    """All versions, the newest first.

    Raises:
        RegistryError: MLflow cannot be reached.
    """
    with _reached():
        mlflow, _ = open_experiment()
        client = mlflow.MlflowClient()
        found = client.search_model_versions(f"name = '{experiment_name()}'")
        return [_read(client, one) for one in sorted(found, key=lambda one: -int(one.version))]


def register(
    models: Path, params: Path | None, values: Mapping[str, float], run_id: str
) -> ModelVersion:
    """Make a version of the models, or find the one that there is.

    Args:
        models: folder of the trained parts.
        params: parameters under which they were trained; None looks in and beside the folder.
        values: metrics, as of ``read_results``.
        run_id: run of the execution that registers them.

    Raises:
        AnimationError: the models will not do.
    """
    settings = read_settings(parameter_file(models, params))
    files = {k: v for k, v in file_digests(models, settings).items() if k != PARAMS}
    digest = content_digest(files, settings)
    mlflow, experiment = open_experiment()
    client = mlflow.MlflowClient()
    name = experiment_name()
    with alone(cache_folder() / "mlflow-registry.lock"):
        found = client.search_model_versions(f"name = '{name}' AND tags.{DIGEST} = '{digest}'")
        if found:
            number = found[0].version
        else:
            tags = {
                DIGEST: digest,
                "renderer": settings.render.renderer,
                "face_model": settings.fit.face_model,
                "params_sha256": sha256_file(settings.file),
                **git_tags(),
                **dvc_tags(),
                **dict(_training_tags(client, experiment, files)),
                **_data_tags(),
            }
            number = _make(models, params, name, run_id, tags)
        version = client.get_model_version(name, number)
        _evaluate(client, _model_id(version), run_id, values)
    return replace(_read(client, version), is_new=not found)


def register_by_hand(models: Path, params: Path | None, tables: Sequence[Path]) -> ModelVersion:
    """As ``register``, below a run of its own.

    Args:
        models: folder of the trained parts.
        params: parameters under which they were trained; None looks in and beside the folder.
        tables: ``metrics/<dataset>.json`` of these models.

    Raises:
        AnimationError: the models will not do.
        RegistryError: a table holds no metrics, or MLflow cannot be reached.
    """
    values = _tables(tables)
    load_models(models, read_settings(parameter_file(models, params)))
    with _reached():
        mlflow, experiment = open_experiment()
        client = mlflow.MlflowClient()
        execution = find_execution(os.getpid(), None)
        with one_writer():
            tags = git_tags() | {"mlflow.source.name": execution.command}
            run_id = ExecutionRuns(client, experiment, execution).above(tags)
        state = "FAILED"
        try:
            version = register(models, params, values, run_id)
            state = "FINISHED"
        finally:
            client.set_terminated(run_id, state)
    return version


def _tables(files: Sequence[Path]) -> dict[str, float]:
    try:
        return read_results(files)
    except (ValueError, AttributeError, KeyError, TypeError) as error:
        raise RegistryError(
            f"{', '.join(map(str, files))}: not a table of metrics as `evaluate` writes it "
            f"({type(error).__name__}: {error})"
        ) from error


@contextmanager
def _reached() -> Iterator[None]:
    """Name the place that does not answer."""
    from mlflow.exceptions import MlflowException

    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    logging.getLogger("mlflow").setLevel(logging.ERROR)
    try:
        yield
    except MlflowException as error:
        raise RegistryError(
            f"MLflow at {tracking_uri()}: {' '.join(str(error).split())}; see MLFLOW_TRACKING_URI"
        ) from error
