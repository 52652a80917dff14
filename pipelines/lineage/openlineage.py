"""Events of OpenLineage (https://openlineage.io, specification 2-0-2): a stage starts and ends.

They are appended to ``<cache>/openlineage/<stage>.jsonl``, and posted to ``OPENLINEAGE_URL`` where
that is set (``OPENLINEAGE_ENDPOINT``, by default ``api/v1/lineage``; ``OPENLINEAGE_API_KEY`` as a
bearer token). A server that does not answer costs a warning, not the stage.

The last event carries what differs from run to run, and so is in no output of DVC: time, machine,
commit of the checkout.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import traceback
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

from dimitra.lineage.record import Artefact, LineageRecord, record_path
from pipelines.errors import StageError
from pipelines.lineage.code_version import checkout_version
from pipelines.lineage.stages import Stage, load_yaml
from pipelines.lineage.surroundings import machine
from pipelines.stores.checkout import cache_folder

logger = logging.getLogger(__name__)

NAMESPACE = "dimitra"
"""Of jobs and datasets."""
PRODUCER = "https://arxiv.org/abs/2502.17198"
_SPEC = "https://openlineage.io/spec"
SCHEMA_URL = f"{_SPEC}/2-0-2/OpenLineage.json#/$defs/RunEvent"
_RUN_FACET = f"{_SPEC}/2-0-2/OpenLineage.json#/$defs/RunFacet"
_JOB_FACET = f"{_SPEC}/2-0-2/OpenLineage.json#/$defs/JobFacet"
_TIMEOUT_S = 5.0
_MLFLOW = "pipelines.tracking.lineage"


def _facet(schema: str, **values: Any) -> dict[str, Any]:
    return {"_producer": PRODUCER, "_schemaURL": schema, **values}


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _dataset(artefact: Artefact, *, made: bool) -> dict[str, Any]:
    """A dataset of an event; its version is our digest."""
    facets = {}
    if artefact.sha256 is not None:
        version = f"{_SPEC}/facets/1-0-1/DatasetVersionDatasetFacet.json"
        facets["version"] = _facet(
            f"{version}#/$defs/DatasetVersionDatasetFacet", datasetVersion=artefact.sha256
        )
    found: dict[str, Any] = {"namespace": NAMESPACE, "name": artefact.path, "facets": facets}
    if made and artefact.sha256 is not None:
        statistics = f"{_SPEC}/facets/1-0-2/OutputStatisticsOutputDatasetFacet.json"
        found["outputFacets"] = {
            "outputStatistics": _facet(
                f"{statistics}#/$defs/OutputStatisticsOutputDatasetFacet", size=artefact.size_bytes
            )
        }
    return found


@dataclass
class Told:
    """One run of a stage, as it is told to others.

    Attributes:
        stage: which.
        run_id: UUID of the run.
        began: time in ISO 8601, UTC.
        record: of the stage, once it has finished.
    """

    stage: Stage
    run_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    began: str = field(default_factory=_now)
    record: LineageRecord | None = None
    _warned: bool = False

    def finished(self, record: LineageRecord) -> None:
        """The stage has written its record."""
        self.record = record

    def event(
        self, kind: str, run_facets: Mapping[str, Any], job_facets: Mapping[str, Any]
    ) -> dict[str, Any]:
        """An event of this run.

        Args:
            kind: ``START``, ``COMPLETE``, ``FAIL`` or ``ABORT``.
            run_facets: by name.
            job_facets: by name.
        """
        known = self.record
        inputs = [Artefact(path, None, 0) for path in self.stage.inputs]
        outputs = [Artefact(path, None, 0) for path in self.stage.outputs]
        return {
            "eventType": kind,
            "eventTime": _now(),
            "producer": PRODUCER,
            "schemaURL": SCHEMA_URL,
            "run": {"runId": self.run_id, "facets": dict(run_facets)},
            "job": {"namespace": NAMESPACE, "name": self.stage.name, "facets": dict(job_facets)},
            "inputs": [_dataset(one, made=False) for one in (known.inputs if known else inputs)],
            "outputs": [_dataset(one, made=True) for one in (known.outputs if known else outputs)],
        }

    def send(self, event: Mapping[str, Any]) -> None:
        """Append an event to the file, and post it; where that fails, one warning."""
        line = json.dumps(event, ensure_ascii=False).encode()
        try:
            _append(cache_folder() / "openlineage" / f"{self.stage.name}.jsonl", line + b"\n")
            address = os.environ.get("OPENLINEAGE_URL")
            if address:
                _post(address, line)
        except (OSError, ValueError) as error:
            if not self._warned:
                logger.warning("%s: OpenLineage (the stage goes on): %s", self.stage.name, error)
            self._warned = True


def _append(path: Path, line: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(descriptor, line)
    finally:
        os.close(descriptor)


def _post(address: str, body: bytes) -> None:
    """Post an event.

    Raises:
        OSError: the server cannot be reached, or refuses.
        ValueError: the address is not of http or https.
    """
    if urlsplit(address).scheme not in ("http", "https"):
        raise ValueError(f"OPENLINEAGE_URL is {address!r}; an http or https address is needed")
    endpoint = os.environ.get("OPENLINEAGE_ENDPOINT", "api/v1/lineage")
    request = urllib.request.Request(  # noqa: S310 - the scheme has been checked
        urljoin(f"{address.rstrip('/')}/", endpoint),
        data=body,
        headers={"Content-Type": "application/json"},
        method="POST",
    )
    key = os.environ.get("OPENLINEAGE_API_KEY")
    if key:
        request.add_header("Authorization", f"Bearer {key}")
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT_S):  # noqa: S310
            pass
    except urllib.error.HTTPError as error:
        raise OSError(f"{address} answered {error.code} {error.reason}") from None


def run_record() -> dict[str, Any]:
    """What differs from run to run: machine, commit of the checkout, digest of what is edited."""
    commit, edited = checkout_version()
    return {**machine(), "commit": commit, "uncommitted": edited}


def _facts(told: Told, surroundings: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Facets of the run and of the job, as the stage ends."""
    run = {"dimitra_run": _facet(_RUN_FACET, began=told.began, **surroundings)}
    if told.record is None:
        return run, {}
    record = told.record
    job = {
        "dimitra_code": _facet(
            _JOB_FACET,
            commit=record.code.commit,
            uncommitted=record.code.uncommitted,
            digest=record.code.digest,
        )
    }
    run["dimitra_params"] = _facet(_RUN_FACET, values=dict(record.params))
    return run, job


def _failure(error: BaseException) -> dict[str, Any]:
    schema = f"{_SPEC}/facets/1-0-1/ErrorMessageRunFacet.json#/$defs/ErrorMessageRunFacet"
    text = "".join(traceback.format_exception_only(error)).strip()
    return {"errorMessage": _facet(schema, message=text, programmingLanguage="python")}


def _to_mlflow(told: Told, surroundings: Mapping[str, Any]) -> None:
    """Log the record to MLflow, in a process that the stage does not wait for."""
    wanted = load_yaml(Path("params.yaml")).get("ray", {}).get("mlflow", True)
    if not wanted or os.environ.get("DIMITRA_MLFLOW", "1") == "0":
        return
    facts = {"began": told.began, "ended": _now(), "run_id": told.run_id, **surroundings}
    root = str(Path(__file__).resolve().parents[2])
    paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
    log = cache_folder() / "openlineage" / "mlflow.log"
    command: Sequence[str] = [
        *(sys.executable, "-m", _MLFLOW),
        record_path(told.stage.name).as_posix(),
        json.dumps(facts),
    ]
    with log.open("ab") as output:
        subprocess.Popen(  # noqa: S603 - an argument list, no shell
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
            start_new_session=True,
        )


@contextmanager
def told(stage: Stage) -> Iterator[Told]:
    """Tell of a run of a stage: ``START``, then ``COMPLETE``, ``FAIL`` or ``ABORT``."""
    run = Told(stage)
    run.send(run.event("START", {}, {}))
    try:
        yield run
    except BaseException as error:
        facets, job = _facts(run, run_record())
        kind = "ABORT" if isinstance(error, KeyboardInterrupt) else "FAIL"
        run.send(run.event(kind, facets | _failure(error), job))
        raise
    surroundings = run_record()
    run.send(run.event("COMPLETE", *_facts(run, surroundings)))
    try:
        _to_mlflow(run, surroundings)
    except (OSError, StageError) as error:
        logger.warning("%s: lineage is not in MLflow (the stage goes on): %s", stage.name, error)
