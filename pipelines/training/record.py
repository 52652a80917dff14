"""What a person sees of a training: a progress bar, and its run in MLflow."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

from dimitra.learning.pace import StepTiming
from pipelines.runtime.connection import sigterm_interrupts
from pipelines.runtime.progress import console
from pipelines.tracking.stage_record import StageRecord

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LOG_EVERY = 10
"""Steps between two points of the curve in MLflow; ``curve.csv`` has every step."""


class Step(Protocol):
    """A row of a training curve: a dataclass of numbers."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def step(self) -> int:
        """From 0."""
        ...

    @property
    def loss(self) -> float:
        """The weighted sum."""
        ...


@dataclass
class TrainingRecord:
    """Takes down a training as it goes; made by ``recorded``, used from any thread.

    Attributes:
        steps: of the whole training.
    """

    steps: int
    _run: StageRecord
    _bar: Progress
    _task: TaskID
    _pace: list[StepTiming] = field(default_factory=list)

    def step(self, record: Step, timing: StepTiming) -> None:
        """A step was done."""
        self._bar.update(self._task, completed=record.step + 1, loss=record.loss)
        self._pace.append(timing)
        if record.step % LOG_EVERY == 0 or record.step == self.steps - 1:
            point = asdict(record) | self._throughput()
            step = point.pop("step")
            self._run.point(point, step)

    def _throughput(self) -> dict[str, float]:
        """Of the steps since the last point."""
        seconds = max(sum(one.step_s for one in self._pace), 1e-9)
        figures = {
            "steps_per_s": len(self._pace) / seconds,
            "frames_per_s": sum(one.frames for one in self._pace) / seconds,
            "wait_share": sum(one.wait_s for one in self._pace) / seconds,
        }
        self._pace.clear()
        return figures

    def resumed(self, steps: int) -> None:
        """It goes on after so many steps."""
        self._run.tag("resumed_after_steps", steps)
        console.print(f"goes on from the state saved after step {steps}", soft_wrap=True)

    def figure(self, figure: Figure, name: str) -> None:
        """Keep a plot as ``name``."""
        if self._run.on:
            content = io.BytesIO()
            figure.savefig(content)
            self._run.picture(content.getvalue(), name)

    def image(self, pixels: NDArray[np.uint8], name: str) -> None:
        """Keep a picture [H, W, 3] as ``name``."""
        if self._run.on:
            content = io.BytesIO()
            Image.fromarray(pixels).save(content, "PNG")
            self._run.picture(content.getvalue(), name)

    def keep(self, path: Path, folder: str) -> None:
        """Keep a file, or all files of a folder, below ``folder`` of the run's artifacts."""
        self._run.keep(path, folder)


@contextmanager
def recorded(
    stage: str,
    steps: int,
    values: Mapping[str, Any],
    tags: Mapping[str, str],
    *,
    work_key: str,
    code_digest: str,
    mlflow: bool = True,
) -> Iterator[TrainingRecord]:
    """A run in MLflow with a progress bar; Ctrl-C and SIGTERM end it as ``KILLED``.

    Args:
        stage: as DVC names it, ``train@lips``; so the run is called.
        steps: of the whole training.
        values: parameters.
        tags: digests of the inputs, for example.
        work_key: names the training: the digest of all that its bytes depend on.
        code_digest: of the code among that.
        mlflow: ``ray.mlflow`` of the parameters.
    """
    bar = Progress(
        TextColumn("{task.description:<12}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("loss {task.fields[loss]:.4f}"),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    )
    told = dict(tags) | {"work_key": work_key, "code_digest": code_digest}
    with (
        sigterm_interrupts(),
        StageRecord(stage, values, told, wanted=mlflow, machine=True) as run,
        bar,
    ):
        task = bar.add_task(stage.partition("@")[2] or stage, total=steps, loss=float("nan"))
        yield TrainingRecord(steps, run, bar, task)
