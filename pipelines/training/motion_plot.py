"""A picture of motion that a model in training makes, beside the truth of the same clip."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from dimitra.cmdt.checkpoint import TrainedPart
from dimitra.cmdt.dataset import MotionClip
from dimitra.cmdt.recursion import SamplingConfig, generate_part

if TYPE_CHECKING:
    from matplotlib.figure import Figure

VALUES = 4
"""Values drawn: those that vary most in the clip."""
_STEPS = 25
_FPS = 25


@dataclass(frozen=True, eq=False)
class MotionPlot:
    """A figure, and how long the model had been trained.

    Attributes:
        figure: one panel a value, truth and generated over time.
        steps: training steps done.
        correlation: mean over the drawn values of that between truth and generated.
    """

    figure: Figure
    steps: int
    correlation: float


def draw(trained: TrainedPart, clip: MotionClip, steps: int, seed: int) -> MotionPlot:
    """Generate a clip's motion from its first pose and its speech, and draw it.

    Args:
        trained: the model, in evaluation mode.
        clip: a train clip: the picture shows whether the model learns, not how well it generalises.
        steps: training steps done, for the title.
        seed: of the noise.
    """
    from matplotlib.figure import Figure

    sampling = SamplingConfig("ddim", min(_STEPS, trained.diffusion_steps), seed)
    made = generate_part(trained, clip.drive, clip.motion[0], sampling, clip.clip_id)
    truth = clip.motion[:, list(trained.columns)]
    order = np.argsort(-truth.std(axis=0), kind="stable")[:VALUES]
    figure = Figure(figsize=(8, 1.6 * len(order) + 0.6), layout="constrained")
    time_s = np.arange(len(truth)) / _FPS
    panels = figure.subplots(len(order), 1, sharex=True, squeeze=False)[:, 0]
    for panel, value in zip(panels, order, strict=True):
        panel.plot(time_s, truth[:, value], label="truth", color="0.4", linewidth=1.0)
        panel.plot(time_s, made[:, value], label="generated", color="tab:blue", linewidth=1.2)
        panel.set_ylabel(f"value {trained.columns[value]}")
    panels[0].legend(loc="upper right", fontsize="small")
    panels[-1].set_xlabel("seconds")
    correlation = float(np.mean([_correlation(truth[:, v], made[:, v]) for v in order]))
    figure.suptitle(
        f"{trained.part}, {clip.clip_id}, after {steps} steps: correlation {correlation:.2f}"
    )
    return MotionPlot(figure, steps, correlation)


def _correlation(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """Pearson's; 0 where either is constant."""
    a, b = one - one.mean(), other - other.mean()
    scale = float(np.sqrt((a**2).sum() * (b**2).sum()))
    return float((a * b).sum()) / scale if scale > 0 else 0.0
