"""What a person sees of a training: a progress bar, and its run in MLflow."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from types import ModuleType
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

from dimitra.learning.pace import StepTiming
from pipelines.connection import sigterm_interrupts
from pipelines.progress import console
from pipelines.tracking import open_experiment

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LOG_EVERY = 10
"""Steps between two points of the curve in MLflow; ``curve.csv`` has every step."""
_SYSTEM_EVERY_S = 5.0
"""Seconds between two samples of processor, memory and GPU."""


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

    MLflow's current run belongs to a thread, so the run is named everywhere.

    Attributes:
        steps: of the whole training.
    """

    steps: int
    _mlflow: ModuleType
    _run_id: str
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
            self._mlflow.log_metrics(point, step=step, synchronous=True, run_id=self._run_id)

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
        self._mlflow.MlflowClient().set_tag(self._run_id, "resumed_after_steps", steps)
        console.print(f"goes on from the state saved after step {steps}", soft_wrap=True)

    def figure(self, figure: Figure, name: str) -> None:
        """Keep a plot as ``name``."""
        self._mlflow.MlflowClient().log_figure(self._run_id, figure, name)

    def image(self, pixels: NDArray[np.uint8], name: str) -> None:
        """Keep a picture [H, W, 3] as ``name``."""
        self._mlflow.MlflowClient().log_image(self._run_id, pixels, name)


@contextmanager
def recorded(
    experiment: str,
    name: str,
    steps: int,
    values: Mapping[str, Any],
    tags: Mapping[str, str],
    *,
    work_key: str,
    code_digest: str,
) -> Iterator[TrainingRecord]:
    """A run in MLflow with a progress bar; Ctrl-C and SIGTERM end it as ``KILLED``.

    Args:
        experiment: of MLflow.
        name: of the run.
        steps: of the whole training.
        values: parameters.
        tags: digests of the inputs, for example.
        work_key: names the training: the digest of all that its bytes depend on.
        code_digest: of the code among that.
    """
    mlflow = open_experiment(experiment)
    logging.getLogger("mlflow.system_metrics").setLevel(logging.WARNING)
    mlflow.set_system_metrics_sampling_interval(_SYSTEM_EVERY_S)
    bar = Progress(
        TextColumn("{task.description:<12}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("loss {task.fields[loss]:.4f}"),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    )
    status = "FAILED"
    with sigterm_interrupts():
        run = mlflow.start_run(run_name=name, log_system_metrics=True)
        try:
            mlflow.log_params(dict(values))
            mlflow.set_tags(dict(tags) | {"work_key": work_key, "code_digest": code_digest})
            with bar:
                task = bar.add_task(name, total=steps, loss=float("nan"))
                yield TrainingRecord(steps, mlflow, run.info.run_id, bar, task)
            status = "FINISHED"
        except KeyboardInterrupt:
            status = "KILLED"
            raise
        finally:
            mlflow.end_run(status)
