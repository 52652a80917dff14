"""What a person sees of a renderer's training: a progress bar, and its run in MLflow."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

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

from dimitra.render.renderer_state import RendererStep
from dimitra.render.renderer_training import StepTime
from pipelines.progress import console
from pipelines.tracking import StageRecord

LOG_EVERY = 10
"""Steps between two points of the curve in MLflow; ``curve.csv`` has every step."""


@dataclass
class RendererRecord:
    """Takes down a training as it goes; made by ``renderer_recorded``.

    Attributes:
        steps: of the whole training.
    """

    steps: int
    _run: StageRecord
    _bar: Progress
    _task: TaskID
    _pace: list[StepTime] = field(default_factory=list)

    def step(self, record: RendererStep, timing: StepTime) -> None:
        """A step was done."""
        self._bar.update(self._task, completed=record.step + 1, loss=record.loss)
        self._pace.append(timing)
        if record.step % LOG_EVERY and record.step != self.steps - 1:
            return
        seconds = max(sum(one.step_s for one in self._pace), 1e-9)
        point = asdict(record) | {
            "steps_per_s": len(self._pace) / seconds,
            "frames_per_s": sum(one.frames for one in self._pace) / seconds,
            "wait_share": sum(one.wait_s for one in self._pace) / seconds,
        }
        self._pace.clear()
        step = point.pop("step")
        self._run.point(point, step)

    def resumed(self, steps: int) -> None:
        """It goes on after so many steps."""
        self._run.tag("resumed_after_steps", steps)
        console.print(f"goes on from the state saved after step {steps}", soft_wrap=True)

    def picture(self, sheet: NDArray[np.uint8], steps: int) -> None:
        """Keep a sheet of photos, drawn pictures and true ones."""
        if not self._run.on:
            return
        content = io.BytesIO()
        Image.fromarray(sheet).save(content, "PNG")
        self._run.picture(content.getvalue(), f"pictures/step-{steps:07d}.png")

    def trained(self, folder: Path) -> None:
        """Keep the trained renderer where ``dimitra animate`` looks for it beside ``models``."""
        self._run.keep(folder, f"models/renderers/{folder.name}")


@contextmanager
def renderer_recorded(
    steps: int, values: Mapping[str, Any], tags: Mapping[str, str], mlflow: bool = True
) -> Iterator[RendererRecord]:
    """A run in MLflow with a progress bar.

    Args:
        steps: of the whole training.
        values: parameters.
        tags: digests of the inputs.
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
    with StageRecord("train_renderer", values, tags, wanted=mlflow, machine=True) as run, bar:
        task = bar.add_task("renderer", total=steps, loss=float("nan"))
        yield RendererRecord(steps, run, bar, task)
