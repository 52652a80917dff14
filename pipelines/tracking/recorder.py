"""The process that writes a stage's run to MLflow: `python -m pipelines.tracking.recorder SPOOL`.

``pipelines.tracking.stage_record`` starts it, with what is known at the beginning in
``SPOOL/opening.json``, and sends one JSON object a line. A pipe that closes without a last state is
that of a stage that was killed: its run ends as ``lost``. It answers ``done`` on its standard
output when all is written.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.tracking.execution import STAGE_VARIABLE, ExecutionRuns, find_execution
from pipelines.tracking.facts import dvc_tags, git_tags, lock_tags, read_lock, written_since
from pipelines.tracking.stage_record import DONE
from pipelines.tracking.store import BATCH, one_writer, open_experiment

if TYPE_CHECKING:
    from mlflow import MlflowClient

LAST_S = 900
"""How long this process may outlive the stage: a server may take the files slowly."""
HASHES_S = 60.0
"""How long it waits for DVC to write the hashes of what the stage has made."""
SYSTEM_EVERY_S = 5.0
"""Seconds between two samples of processor, memory and GPU."""
_TRIES = 3
_FAILURES = 5
"""Points in a row that cannot be written before the recording is given up."""
_VALUE_LENGTH = 500
_TAG_LENGTH = 5000
_STATUS = {"finished": "FINISHED", "failed": "FAILED", "interrupted": "KILLED", "lost": "KILLED"}
_WEIGHTS = "model.safetensors"
_HASHES_TAG = "dvc_hashes"


class RunWriter:
    """Writes one run; whatever cannot be written is counted, and raised only if it goes on.

    Args:
        client: of MLflow.
        run_id: the run.
        parent: the run of the execution above it.
    """

    def __init__(self, client: MlflowClient, run_id: str, parent: str) -> None:
        self._client = client
        self.run_id = run_id
        self.parent = parent
        self.lost: list[str] = []
        self._in_a_row = 0

    def begin(self, params: Mapping[str, Any], tags: Mapping[str, Any]) -> None:
        """Write parameters and tags, in as many pieces as MLflow wants."""
        from mlflow.entities import Param

        items = [Param(key, str(value)[:_VALUE_LENGTH]) for key, value in params.items()]
        for start in range(0, len(items), BATCH):
            self._client.log_batch(self.run_id, params=items[start : start + BATCH])
        self.tags(tags)

    def tags(self, tags: Mapping[str, Any], run_id: str | None = None) -> None:
        """Set tags of the run, or of another."""
        from mlflow.entities import RunTag

        items = [RunTag(key, str(value)[:_TAG_LENGTH]) for key, value in tags.items()]
        for start in range(0, len(items), BATCH):
            self._client.log_batch(run_id or self.run_id, tags=items[start : start + BATCH])

    def take(self, message: Mapping[str, Any]) -> None:
        """Write what a message says.

        Raises:
            MlflowException: the fifth in a row cannot be written.
        """
        from mlflow.exceptions import MlflowException

        try:
            self._write(message)
            self._in_a_row = 0
        except (MlflowException, OSError) as error:  # a locked database: the next comes soon
            self.lost.append(" ".join(str(error).split()))
            self._in_a_row += 1
            if self._in_a_row == _FAILURES:
                raise

    def _write(self, message: Mapping[str, Any]) -> None:
        if "metrics" in message:
            self._metrics(message["metrics"], message["step"], message["time_ms"])
        elif "tags" in message:
            self.tags(message["tags"])
        elif "keep" in message:
            self._keep(Path(message["keep"]), message["folder"] or None)
        elif "results" in message:
            self._results([Path(one) for one in message["results"]], message["register"])

    def _metrics(self, values: Mapping[str, float], step: int, time_ms: int) -> None:
        from mlflow.entities import Metric

        points = [Metric(key, value, time_ms, step) for key, value in values.items()]
        self._client.log_batch(self.run_id, metrics=points)

    def _keep(self, path: Path, folder: str | None) -> None:
        if path.is_dir():
            self._client.log_artifacts(self.run_id, str(path), folder)
        else:
            self._client.log_artifact(self.run_id, str(path), folder)
        if (path / _WEIGHTS).is_file():
            with (path / _WEIGHTS).open("rb") as file:
                self.tags({"model_sha256": hashlib.file_digest(file, "sha256").hexdigest()})

    def _results(self, files: Sequence[Path], register: bool) -> None:
        from pipelines.tracking.results import read_results

        values = read_results(files)
        now_ms = time.time_ns() // 1_000_000
        for run_id in (self.run_id, self.parent):
            self._points(run_id, values, now_ms)
        for file in files:
            self._client.log_artifact(self.run_id, str(file), "metrics")
        if register:
            self._register(values)

    def _points(self, run_id: str, values: Mapping[str, float], now_ms: int) -> None:
        from mlflow.entities import Metric

        points = [Metric(key, value, now_ms, 0) for key, value in values.items()]
        for start in range(0, len(points), BATCH):
            self._client.log_batch(run_id, metrics=points[start : start + BATCH])

    def _register(self, values: Mapping[str, float]) -> None:
        """Put the models of ``models/`` into the registry; what stands against it becomes a tag."""
        from pipelines.tracking.registry import register

        try:
            version = register(Path("models"), None, values, run_id=self.parent)
        except Exception as error:  # noqa: BLE001 - the run stands, whatever is wrong with the models
            self.tags({"not_registered": f"{type(error).__name__}: {error}"})
            return
        for run_id in (self.run_id, self.parent):
            self.tags({"model_version": f"{version.name} {version.number}"}, run_id)


def tag_hashes(writer: RunWriter, runs: ExecutionRuns) -> None:
    """Give the finished stages of an execution the hashes that DVC has written for them."""
    lock = read_lock()
    for run in runs.stages(writer.parent):
        tags = run.data.tags
        if run.info.status == "FINISHED" and _HASHES_TAG not in tags and "dvc_stage" in tags:
            hashes = lock_tags(lock, tags["dvc_stage"])
            if hashes:
                writer.tags({**hashes, _HASHES_TAG: "dvc.lock"}, run.info.run_id)


def _again(write: Callable[[], object]) -> None:
    """Try a last word a few times.

    Raises:
        MlflowException: it could not be written.
    """
    from mlflow.exceptions import MlflowException

    for left in reversed(range(_TRIES)):
        try:
            write()
            return
        except MlflowException:
            if not left:
                raise


def begin(
    client: MlflowClient, runs: ExecutionRuns, opening: Mapping[str, Any], command: str
) -> RunWriter:
    """Make the run of a stage and, if it is the first of its execution, the one above it.

    Args:
        client: of MLflow.
        runs: of the execution.
        opening: what the stage has told of itself.
        command: that started the execution.
    """
    name, begun_ms = opening["stage"], opening["time_ms"]
    git = git_tags() | {"mlflow.source.type": "JOB"}
    with one_writer():
        runs.sweep()
        parent = runs.above(git | {"mlflow.source.name": command}, begun_ms)
        run_id = runs.joined(name, parent) if opening["joins"] else None
        if run_id is None:
            own = " ".join(["python", *opening["command"]])
            tags = git | dvc_tags() | {"mlflow.source.name": own}
            run_id = runs.stage(name, parent, tags, begun_ms)
        writer = RunWriter(client, run_id, parent)
        tag_hashes(writer, runs)
    writer.begin(opening["params"], opening["tags"])
    return writer


def end(client: MlflowClient, runs: ExecutionRuns, writer: RunWriter, state: str, ms: int) -> None:
    """End a stage's run, and let the one above it follow.

    Args:
        client: of MLflow.
        runs: of the execution.
        writer: of the run.
        state: how the stage ended.
        ms: when, in milliseconds since the epoch.
    """
    with one_writer():
        _again(lambda: client.set_tag(writer.run_id, "state", state))
        _again(lambda: client.set_terminated(writer.run_id, _STATUS[state], ms))
        _again(lambda: runs.settle(writer.parent))


def record(opening: Mapping[str, Any], lines: Iterable[str], answer: Callable[[], None]) -> int:
    """Write one run from the messages of a ``StageRecord``.

    Args:
        opening: its beginning.
        lines: its messages.
        answer: called when all is written.

    Returns:
        The exit code.
    """
    execution = find_execution(opening["pid"], os.environ.get(STAGE_VARIABLE))
    mlflow, experiment = open_experiment()
    client: MlflowClient = mlflow.MlflowClient()
    runs = ExecutionRuns(client, experiment, execution)
    writer = begin(client, runs, opening, execution.command)
    monitor = _monitor(writer.run_id) if opening["machine"] else None
    last: dict[str, Any] = {"state": "lost"}
    try:
        for message in map(json.loads, lines):
            if "state" in message:
                last = message
                break
            writer.take(message)
    finally:
        signal.alarm(LAST_S)
        if monitor is not None:
            monitor.finish()
        ended_ms = last.get("time_ms") or time.time_ns() // 1_000_000
        end(client, runs, writer, last["state"], ended_ms)
    if writer.lost:
        sys.stderr.write(f"{len(writer.lost)} messages lost: {writer.lost[-1]}\n")
        return 1
    answer()
    by_dvc = last["state"] == "finished" and STAGE_VARIABLE in os.environ
    if by_dvc and written_since(ended_ms / 1000, HASHES_S):
        with one_writer():
            tag_hashes(writer, runs)
    return 0


def _monitor(run_id: str) -> Any:
    """Sampling of the machine, under way."""
    import logging

    from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

    logging.getLogger("mlflow.system_metrics").setLevel(logging.WARNING)
    monitor: Any = SystemMetricsMonitor
    monitor = monitor(run_id, sampling_interval=SYSTEM_EVERY_S)
    monitor.start()
    return monitor


def main() -> int:
    """Record the stage that started this process."""
    answers = os.dup(1)
    os.dup2(2, 1)  # whatever a library prints is no answer
    spool = Path(sys.argv[1])

    def answer() -> None:
        with contextlib.suppress(BrokenPipeError):  # the stage does not wait any more
            os.write(answers, DONE)
        os.close(answers)

    try:
        opening = json.loads((spool / "opening.json").read_text())
        return record(opening, sys.stdin, answer)
    finally:
        shutil.rmtree(spool, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
