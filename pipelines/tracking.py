"""MLflow: the database of the main checkout, and the record of a shard job in it.

A shard job is recorded by a process of its own, fed through a pipe. Importing MLflow takes seconds
and 200 MB, and its database or server may be slow or away; none of that can hold up or fail the
stage, and a driver that is killed closes the pipe, so that its run does not stay "running".
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, Self

from pipelines.checkout import main_checkout
from pipelines.progress import Figures

logger = logging.getLogger(__name__)

PREPROCESSING = "preprocessing"
"""The experiment of the shard jobs."""
FLUSH_S = 10.0
"""How long a stage waits at its end for what is not yet written."""
_LAST_S = 60
"""How long the recording process may outlive the stage."""
_TRIES = 3
_FAILURES = 5
"""Points in a row that cannot be written before the recording is given up."""
_GIT_TIMEOUT_S = 20.0
_STATUS = {"finished": "FINISHED", "failed": "FAILED", "interrupted": "KILLED", "lost": "KILLED"}


def tracking_uri() -> str:
    """``MLFLOW_TRACKING_URI``, else ``mlflow.db`` of the main checkout."""
    named = os.environ.get("MLFLOW_TRACKING_URI")
    return named or f"sqlite:///{main_checkout() / 'mlflow.db'}"


@contextmanager
def _alone(uri: str) -> Iterator[None]:
    """One process at a time on a database file: MLflow makes its tables when it is first opened."""
    _, is_file, path = uri.partition("sqlite:///")
    if not is_file:
        yield
        return
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with Path(f"{path}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def open_experiment(name: str) -> ModuleType:
    """MLflow with its database opened and an experiment chosen, made where it was not."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    import mlflow

    uri = tracking_uri()
    mlflow.set_tracking_uri(uri)
    with _alone(uri):
        mlflow.set_experiment(name)
    return mlflow


def git_commit() -> str:
    """Commit of the working folder, with ``-dirty`` where files differ; empty outside git."""
    git = shutil.which("git")
    if git is None:
        return ""
    result = subprocess.run(  # noqa: S603 - an argument list, no shell
        [git, "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty"],
        capture_output=True,
        text=True,
        timeout=_GIT_TIMEOUT_S,
        check=False,
    )
    return result.stdout.strip()


class StageRecord:
    """The MLflow run of one execution of a stage, written by a process of its own.

    Args:
        figures: of the stage as it begins; its sizes become the run's parameters.
        dashboard: address of Ray's dashboard, kept as a tag.
    """

    def __init__(self, figures: Figures, dashboard: str | None = None) -> None:
        self._stage = figures.stage
        self._warned = False
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the record
        root = str(Path(__file__).resolve().parents[1])
        paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "pipelines.tracking"],
            stdin=subprocess.PIPE,
            stdout=self._errors,
            stderr=self._errors,
            env={**_BOUNDED, **os.environ, "PYTHONPATH": os.pathsep.join(paths)},
            start_new_session=True,  # Ctrl-C is for the driver, which then says how it ended
        )
        os.set_blocking(self._pipe, False)
        params = {
            "stage": figures.stage,
            "shards": figures.shards,
            "clips_in": figures.clips_in,
            "workers": figures.workers,
        }
        tags = {"dashboard": dashboard} if dashboard else {}
        self._send({"params": params, "tags": tags})

    @classmethod
    def start(cls, figures: Figures, dashboard: str | None = None) -> Self | None:
        """Begin a record; None, and a warning, where the machine has no room for its process."""
        try:
            return cls(figures, dashboard)
        except OSError as error:
            logger.warning("%s: no MLflow record (the stage goes on): %s", figures.stage, error)
            return None

    @property
    def _pipe(self) -> int:
        if self._process.stdin is None:
            raise RuntimeError("the recording process has no standard input")
        return self._process.stdin.fileno()

    def log(self, figures: Figures) -> None:
        """Add a point to the run's curves; dropped where the process cannot keep up."""
        metrics = {
            "clips_per_second": figures.clips_per_s,
            "clips_done": figures.done,
            "quarantined": figures.quarantined,
            "shards_done": figures.shards_done,
        }
        step = round(figures.elapsed_s)
        self._send({"metrics": metrics, "step": step, "time_ms": time.time_ns() // 1_000_000})

    def close(self, state: str) -> None:
        """End the run, and wait a while for what is not yet written.

        Args:
            state: ``finished``, ``failed`` or ``interrupted``; a tag of the run.
        """
        self._send({"state": state})
        try:
            if self._process.stdin is not None:
                self._process.stdin.close()
            if self._process.wait(timeout=FLUSH_S) != 0:
                self._warn()
        except subprocess.TimeoutExpired:
            logger.warning(
                "%s: MLflow is slow; its record follows within %d s", self._stage, _LAST_S
            )
        finally:
            self._errors.close()

    def _send(self, message: Mapping[str, Any]) -> None:
        """Hand a message over, in one piece and without waiting.

        A pipe takes up to 4,096 bytes whole or not at all (POSIX, ``PIPE_BUF``).
        """
        if self._warned:
            return
        try:
            os.write(self._pipe, json.dumps(message).encode() + b"\n")
        except BlockingIOError:
            logger.debug("%s: MLflow is slow; a point is left out", self._stage)
        except BrokenPipeError:
            self._process.wait()
            self._warn()

    def _warn(self) -> None:
        if self._warned:
            return
        self._warned = True
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").split("\n")
        why = next((line for line in reversed(lines) if line.strip()), "no reason given")
        logger.warning(
            "%s: no MLflow record (the stage goes on): %s; see MLFLOW_TRACKING_URI, or set "
            "DIMITRA_MLFLOW=0",
            self._stage,
            why,
        )


_BOUNDED = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
}
"""A server that does not answer is an error after half a minute; the environment overrides."""


def record(lines: Iterable[str]) -> int:
    """Write one run from the messages of a ``StageRecord``; returns the exit code.

    A driver that died closes the pipe without a state: the run then ends as ``lost``.
    """
    messages = (json.loads(line) for line in lines)
    first = next(messages, None)
    if first is None:
        return 0
    mlflow = open_experiment(PREPROCESSING)
    from mlflow.exceptions import MlflowException

    lost: list[str] = []
    in_a_row = 0
    state = "lost"
    run = mlflow.start_run(run_name=first["params"]["stage"], log_system_metrics=False)
    mlflow.log_params(first["params"])
    mlflow.set_tags({**first["tags"], "git_commit": git_commit(), "state": "running"})
    client = mlflow.MlflowClient()
    for message in messages:
        if "state" in message:
            state = message["state"]
            break
        try:
            mlflow.log_metrics(
                message["metrics"],
                step=message["step"],
                timestamp=message["time_ms"],
                synchronous=True,
            )
            in_a_row = 0
        except MlflowException as error:  # a locked database: the next point comes soon
            lost.append(str(error))
            in_a_row += 1
            if in_a_row == _FAILURES:
                raise
    signal.alarm(_LAST_S)
    for left in reversed(range(_TRIES)):
        try:
            client.set_tag(run.info.run_id, "state", state)
            mlflow.end_run(_STATUS[state])
            break
        except MlflowException:
            if not left:
                raise
    if lost:
        sys.stderr.write(f"{len(lost)} points lost: {lost[-1]}\n")
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(record(sys.stdin))
