"""What a person sees of a training: a progress bar, and its run in MLflow."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

from dimitra.cmdt.resume import StepRecord
from dimitra.cmdt.training import StepTiming
from pipelines.motion_plot import MotionPlot
from pipelines.progress import console
from pipelines.tracking import StageRecord

LOG_EVERY = 10
"""Steps between two points of the curve in MLflow; ``curve.csv`` has every step."""


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

    def step(self, record: StepRecord, timing: StepTiming) -> None:
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

    def plot(self, plot: MotionPlot) -> None:
        """Keep a picture of motion that the model makes, beside the truth."""
        if not self._run.on:
            return
        content = io.BytesIO()
        plot.figure.savefig(content)
        self._run.picture(content.getvalue(), f"motion/step-{plot.steps:07d}.png")

    def trained(self, folder: Path) -> None:
        """Keep the trained model, so that the artifacts are a folder for ``dimitra animate``."""
        self._run.keep(folder, f"models/{folder.name}")
        self._run.keep(Path("params.yaml"), "models")


@contextmanager
def recorded(
    part: str, steps: int, values: Mapping[str, Any], tags: Mapping[str, str], mlflow: bool = True
) -> Iterator[TrainingRecord]:
    """A run in MLflow with a progress bar.

    Args:
        part: which; the run is called as the stage, ``train@<part>``.
        steps: of the whole training.
        values: parameters.
        tags: digests of the inputs, for example.
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
    with StageRecord(f"train@{part}", values, tags, wanted=mlflow, machine=True) as run, bar:
        task = bar.add_task(part, total=steps, loss=float("nan"))
        yield TrainingRecord(steps, run, bar, task)
