"""The live view of a shard job: one set of figures, shown in three places.

On the terminal (``pipelines.runtime.progress``), in a file of JSON lines under ``<cache>/live``
that ``python -m pipelines.watch`` reads, and in MLflow (``pipelines.tracking.stage_record``). None
of the three can stop a stage: where one fails, it says so in one line and the stage goes on. See
docs/live.md.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import socket
import time
from collections import deque
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from pipelines.runtime.progress import Figures, StageBar
from pipelines.tracking.stage_record import End, StageRecord

__all__ = ["Figures", "LiveView", "Rate", "State"]

logger = logging.getLogger(__name__)

State = Literal["running", "finished", "failed", "interrupted"]

LINE_EVERY_S = 2.0
"""Least time between two lines of the file, and between two points in MLflow."""
WINDOW_S = 30.0
"""The rate looks back this far,"""
WINDOW_CLIPS = 10
"""or to where this many clips ago were finished, whichever is longer."""
SAMPLE_S = 0.5
"""Least time between two samples of the rate."""
ROTATE_BYTES = 10_000_000
"""A file this large becomes ``<stage>.jsonl.1``; what that was before is gone."""
_ERROR_LENGTH = 300


class Rate:
    """Clips per second over a sliding window.

    The window is at least ``WINDOW_S`` long and holds at least ``WINDOW_CLIPS`` clips, so that the
    rate of clips that take a minute each does not jump between nought and twice the truth.
    """

    def __init__(self) -> None:
        self._samples: deque[tuple[float, int]] = deque()

    def add(self, now_s: float, done: int) -> None:
        """Note that ``done`` clips were finished at ``now_s`` seconds."""
        samples = self._samples
        if len(samples) >= 2 and (
            samples[-2][1] == samples[-1][1] == done or samples[-1][0] - samples[-2][0] < SAMPLE_S
        ):
            samples.pop()
        samples.append((now_s, done))
        while (
            len(samples) > 2
            and now_s - samples[1][0] >= WINDOW_S
            and done - samples[1][1] >= WINDOW_CLIPS
        ):
            samples.popleft()

    @property
    def clips_per_s(self) -> float:
        """The rate; nought before anything is known."""
        if len(self._samples) < 2:
            return 0.0
        (then_s, before), (now_s, done) = self._samples[0], self._samples[-1]
        return max(0.0, (done - before) / (now_s - then_s)) if now_s > then_s else 0.0


class LiveFile:
    """The lines of one run in ``<folder>/<stage>.jsonl``, behind those of earlier runs.

    A line is appended with one write, so lines of two runs of a stage at once do not mix.
    """

    def __init__(self, folder: Path, stage: str) -> None:
        self._path = folder / f"{stage}.jsonl"
        self._run = secrets.token_hex(6)
        self._whole = True
        self._warned = False

    def write(self, figures: Figures, state: State, **more: str | None) -> None:
        """Append one line; a folder that cannot be written costs one warning."""
        line = {
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "run": self._run,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "state": state,
            **{name: value for name, value in more.items() if value is not None},
            **_rounded(asdict(figures)),
        }
        try:
            self._append(json.dumps(line, ensure_ascii=False).encode() + b"\n")
        except OSError as error:
            if not self._warned:
                logger.warning("no live figures in %s: %s", self._path, error)
            self._warned = True

    def _append(self, line: bytes) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        if self._path.exists() and self._path.stat().st_size >= ROTATE_BYTES:
            self._path.replace(self._path.with_name(f"{self._path.name}.1"))
        descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            data = line if self._whole else b"\n" + line
            self._whole = os.write(descriptor, data) == len(data)
        finally:
            os.close(descriptor)


def _rounded(values: dict[str, Any]) -> dict[str, Any]:
    return {k: round(v, 3) if isinstance(v, float) else v for k, v in values.items()}


class LiveView:
    """Shows where a stage stands while its ``with`` block runs.

    Args:
        stage: ``crop``.
        clips_in: clips of the stage.
        shards: shards of the stage.
        folder: of the JSON lines, ``<cache>/live``.
        dashboard: address of Ray's dashboard, where there is one.
        mlflow: record the run in MLflow too. ``DIMITRA_MLFLOW=0`` turns it off everywhere.
    """

    def __init__(
        self,
        stage: str,
        clips_in: int,
        shards: int,
        folder: Path,
        dashboard: str | None = None,
        mlflow: bool = True,
    ) -> None:
        self._figures = Figures(stage, clips_in, 0, 0, shards, 0, 0, 0, 0, 0, 0.0, 0.0, None)
        self._dashboard = dashboard
        self._clips_cached = 0
        self._mlflow = mlflow
        self._work_key = ""
        self._record: StageRecord | None = None
        self._file = LiveFile(folder, stage)
        self._bar = StageBar()
        self._rate = Rate()
        self._began_s = time.monotonic()
        self._next_line_s = 0.0

    @property
    def figures(self) -> Figures:
        """The figures as last shown."""
        return self._figures

    def link(self, dashboard: str | None) -> None:
        """Tell the address of Ray's dashboard once it is known; None where there is none."""
        if dashboard is not None and dashboard != self._dashboard:
            self._bar.announce(self._figures.stage, dashboard)
        self._dashboard = dashboard

    def __enter__(self) -> Self:
        self._began_s = time.monotonic()
        self._file.write(self._figures, "running", dashboard=self._dashboard)
        self._next_line_s = self._began_s + LINE_EVERY_S
        if self._dashboard is not None:
            self._bar.announce(self._figures.stage, self._dashboard)
        self._bar.begin(self._figures.stage, self._figures.clips_in)
        return self

    def keyed(self, work_key: str) -> None:
        """Tell the digest of all that the stage's bytes depend on."""
        self._work_key = work_key

    def restored(self, clips: int, shards: int) -> None:
        """Tell how much came from the work cache: it counts as done, not towards the rate.

        Args:
            clips: clips of those shards, their quarantined ones among them.
            shards: shards.
        """
        self._clips_cached = clips
        self._figures = replace(self._figures, done=clips, shards_done=shards, shards_cached=shards)

    def update(
        self, done: int, quarantined: int, shards_done: int, workers: int, nodes: int, deaths: int
    ) -> None:
        """Show new figures; cheap enough to be called four times a second.

        Args:
            done: finished clips of the whole stage, those from the cache among them.
            quarantined: of those, how many went to quarantine.
            shards_done: finished shards of the whole stage, those from the cache among them.
            workers: actors at work.
            nodes: machines that they are on.
            deaths: workers that died so far.
        """
        now_s = time.monotonic()
        self._rate.add(now_s, done - self._clips_cached)
        rate = self._rate.clips_per_s
        self._figures = replace(
            self._figures,
            done=done,
            quarantined=quarantined,
            shards_done=shards_done,
            workers=workers,
            nodes=nodes,
            deaths=deaths,
            elapsed_s=now_s - self._began_s,
            clips_per_s=rate,
            left_s=(self._figures.clips_in - done) / rate if rate > 0 else None,
        )
        if self._record is None:
            self._record = self._recorded()
        self._bar.show(self._figures)
        if now_s >= self._next_line_s:
            self._next_line_s = now_s + LINE_EVERY_S
            self._file.write(self._figures, "running", dashboard=self._dashboard)
            if self._record is not None:
                self._log(self._record)

    def _recorded(self) -> StageRecord:
        """The run in MLflow, begun."""
        figures = self._figures
        tags = {"work_key": self._work_key, "dashboard": self._dashboard}
        return StageRecord(
            figures.stage,
            {
                "shards": figures.shards,
                "clips_in": figures.clips_in,
                "shards_cached": figures.shards_cached,
                "workers": figures.workers,
            },
            {name: value for name, value in tags.items() if value},
            wanted=self._mlflow,
        )

    def _log(self, record: StageRecord) -> None:
        """Add a point to the run in MLflow."""
        figures = self._figures
        record.point(
            {
                "clips_per_second": figures.clips_per_s,
                "clips_done": figures.done,
                "quarantined": figures.quarantined,
                "shards_done": figures.shards_done,
            },
            round(figures.elapsed_s),
        )

    def close(self, state: End, error: str | None = None) -> None:
        """Write the last line and end the MLflow run.

        Args:
            state: how the stage ended.
            error: what stopped it.
        """
        self._bar.end()
        left_s = 0.0 if state == "finished" else None
        self._figures = replace(
            self._figures, elapsed_s=time.monotonic() - self._began_s, left_s=left_s
        )
        self._file.write(self._figures, state, dashboard=self._dashboard, error=error)
        if self._record is not None:
            self._log(self._record)
            self._record.close(state)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            self.close("finished")
        elif isinstance(error, KeyboardInterrupt):
            self.close("interrupted")
        else:
            text = " ".join(f"{type(error).__name__}: {error}".split())
            self.close("failed", text[:_ERROR_LENGTH])
