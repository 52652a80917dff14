"""The record of a stage in MLflow, as the stage sees it: a pipe to a process of its own.

Importing MLflow takes seconds and 200 MB, and its database or server may be slow or away; none of
that can hold up or fail the stage. A stage that is killed closes the pipe, so that its run does
not stay "running". The process is ``pipelines.tracking.recorder``; see docs/mlflow.md.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from pipelines.stores.checkout import cache_folder

logger = logging.getLogger(__name__)

SWITCH = "DIMITRA_MLFLOW"
"""Environment variable; ``0`` turns the record off."""
FLUSH_S = 10.0
"""How long a stage waits at its end for what is not yet written."""
DONE = b"done"
"""First word of the process's answer when all is written."""
_EXIT_S = 1.0
_POINT = b'{"metrics"'
"""How a point begins that is wholly unwritten."""
SETTINGS = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
"""A server that does not answer is an error after half a minute, and nothing is drawn on the
terminal; the environment overrides."""

End = Literal["finished", "failed", "interrupted"]


class StageRecord:
    """The MLflow run of one execution of a stage, written by a process of its own.

    As a context manager it ends the run as its block ends. Where the record is off, or its process
    cannot be started, every method does nothing.

    Args:
        stage: its name, ``crop`` or ``train@lips``; that of the run.
        params: parameters of the run.
        tags: digests of the inputs, for example.
        wanted: ``ray.mlflow`` of the parameters; ``DIMITRA_MLFLOW=0`` turns it off everywhere.
        joins: write to the last run of this stage in this execution of the pipeline, where there
            is one.
        machine: also sample processor, memory and GPU.
    """

    def __init__(
        self,
        stage: str,
        params: Mapping[str, Any] | None = None,
        tags: Mapping[str, str] | None = None,
        *,
        wanted: bool = True,
        joins: bool = False,
        machine: bool = False,
    ) -> None:
        self._stage = stage
        self._process: subprocess.Popen[bytes] | None = None
        self._warned = self._closed = False
        self._due: list[bytes] = []
        if not wanted or os.environ.get(SWITCH, "1") == "0":
            return
        opening = {
            "stage": stage,
            "pid": os.getpid(),
            "command": sys.orig_argv[1:],
            "time_ms": _now_ms(),
            "params": dict(params or {}),
            "tags": dict(tags or {}),
            "joins": joins,
            "machine": machine,
        }
        try:
            folder = cache_folder() / "mlflow"
            folder.mkdir(parents=True, exist_ok=True)
            self._spool = Path(tempfile.mkdtemp(dir=folder))
            self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the record
            self._process = self._start(opening)
        except OSError as error:
            self._warn(str(error))

    @property
    def on(self) -> bool:
        """Whether anything is recorded."""
        return self._process is not None and not self._warned

    def _start(self, opening: Mapping[str, Any]) -> subprocess.Popen[bytes]:
        root = str(Path(__file__).resolve().parents[2])
        paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
        (self._spool / "opening.json").write_text(json.dumps(opening, default=str))
        process = subprocess.Popen(  # noqa: S603 - an argument list, no shell
            [sys.executable, "-m", "pipelines.tracking.recorder", str(self._spool)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env={**SETTINGS, **os.environ, "PYTHONPATH": os.pathsep.join(paths)},
            start_new_session=True,  # Ctrl-C is for the stage, which then says how it ended
        )
        if process.stdin is not None:
            os.set_blocking(process.stdin.fileno(), False)
        return process

    def point(self, metrics: Mapping[str, float], step: int) -> None:
        """Add a point to the run's curves; dropped where the process cannot keep up."""
        point = {"metrics": dict(metrics), "step": step, "time_ms": _now_ms()}
        self._send(point, may_drop=True)

    def tag(self, name: str, value: object) -> None:
        """Set a tag of the run."""
        self._send({"tags": {name: str(value)}})

    def keep(self, path: Path, folder: str) -> None:
        """Log a file, or all files of a folder, among the run's artifacts.

        What is there now is logged, even if DVC or the next run replaces it before that is done.

        Args:
            path: of the file or folder.
            folder: within the artifacts.
        """
        if not self.on:
            return
        place = self._place(path.name)
        try:
            place.parent.mkdir()
            if path.is_dir():
                shutil.copytree(path, place, copy_function=_held)
            else:
                _held(path, place)
        except (OSError, shutil.Error) as error:
            logger.warning("%s: %s is not in MLflow: %s", self._stage, path, error)
            return
        self._send({"keep": str(place), "folder": folder})

    def picture(self, content: bytes, name: str) -> None:
        """Log a file whose bytes are at hand; ``name`` is its path within the artifacts."""
        if not self.on:
            return
        folder, _, file = name.rpartition("/")
        place = self._place(file)
        try:
            place.parent.mkdir()
            place.write_bytes(content)
        except OSError as error:
            logger.warning("%s: %s is not in MLflow: %s", self._stage, name, error)
            return
        self._send({"keep": str(place), "folder": folder})

    def _place(self, name: str) -> Path:
        """Where a file waits for the process, by itself."""
        return self._spool / str(time.monotonic_ns()) / name

    def results(self, files: Sequence[Path], register: bool) -> None:
        """Log tables of metrics, to the run and to the one above it.

        Args:
            files: ``metrics/<dataset>.json``.
            register: also make a version of the trained models in the registry.
        """
        self._send({"results": [str(file.resolve()) for file in files], "register": register})

    def close(self, state: End) -> None:
        """End the run, and wait a while for what is not yet written.

        Args:
            state: how the stage ended; a tag of the run.
        """
        process, self._closed = self._process, True
        if process is None or process.stdin is None or process.stdout is None:
            return
        self._send({"state": state, "time_ms": _now_ms()})
        until_s = time.monotonic() + FLUSH_S
        while self._due and self.on and (left_s := until_s - time.monotonic()) > 0:
            select.select([], [process.stdin], [], left_s)
            self._flush()
        process.stdin.close()
        try:
            left_s = max(until_s - time.monotonic(), 0.0)
            if not select.select([process.stdout], [], [], left_s)[0]:
                logger.warning("%s: MLflow is slow; its record follows", self._stage)
            elif os.read(process.stdout.fileno(), len(DONE)) != DONE:
                self._died(process)
            else:  # under DVC it stays, until the hashes of the outputs are known
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(timeout=0 if "DVC_STAGE" in os.environ else _EXIT_S)
        finally:
            process.stdout.close()
            self._errors.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._closed:
            return
        if error is None:
            self.close("finished")
        else:
            self.close("interrupted" if isinstance(error, KeyboardInterrupt) else "failed")

    def _send(self, message: Mapping[str, Any], may_drop: bool = False) -> None:
        """Hand a message over without waiting; what the pipe has no room for follows later.

        Args:
            message: what JSON can hold.
            may_drop: leave it out where there is no room.
        """
        if not self.on:
            return
        self._flush()
        if self._due and may_drop:
            logger.debug("%s: MLflow is slow; a point is left out", self._stage)
            return
        self._due.append(json.dumps(message).encode() + b"\n")
        self._flush()
        if may_drop:
            self._due = [line for line in self._due if not line.startswith(_POINT)]

    def _flush(self) -> None:
        """Write as much of what is due as the pipe takes."""
        process = self._process
        if process is None or process.stdin is None:
            return
        try:
            while self._due:
                written = os.write(process.stdin.fileno(), self._due[0])
                self._due[0] = self._due[0][written:]
                if not self._due[0]:
                    del self._due[0]
        except BlockingIOError:
            return
        except BrokenPipeError:
            self._due.clear()
            self._died(process)

    def _died(self, process: subprocess.Popen[bytes]) -> None:
        """Say why the process stopped, once; it has closed its pipes, and may still be at its end.

        Its folder is removed here, since it no longer can.
        """
        if self._warned:
            return
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=_EXIT_S)
        shutil.rmtree(self._spool, ignore_errors=True)
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").split("\n")
        self._warn(next((line for line in reversed(lines) if line.strip()), "no reason given"))

    def _warn(self, why: str) -> None:
        self._warned = True
        logger.warning(
            "%s: no MLflow record, or an incomplete one (the stage goes on): %s; see "
            "MLFLOW_TRACKING_URI, or set %s=0",
            self._stage,
            why,
            SWITCH,
        )


def _held(source: str | Path, target: str | Path) -> None:
    """A second name of a file, or a copy where it lies on another disk."""
    try:
        os.link(os.path.realpath(source), target)
    except OSError:
        shutil.copyfile(source, target)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
