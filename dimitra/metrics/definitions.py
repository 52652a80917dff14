"""Metrics and methods of the tables: names, labels, units, and which direction is better."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Direction = Literal["lower", "higher"]

DECIMALS = 4
"""Decimals to which published values are rounded, so that their JSON is stable."""


@dataclass(frozen=True)
class Metric:
    """One column of a table.

    Attributes:
        key: name in ``metrics/<dataset>.json``.
        label: as printed.
        better: the direction of improvement.
        unit: of the value, empty for none.
        decimals: shown in a table.
        description: what is measured, in one sentence.
    """

    key: str
    label: str
    better: Direction
    unit: str
    decimals: int
    description: str

    @property
    def arrow(self) -> str:
        """The direction of improvement as an arrow."""
        return "↓" if self.better == "lower" else "↑"


@dataclass(frozen=True)
class Method:
    """One row of a table.

    Attributes:
        key: name in ``metrics/<dataset>.json``.
        label: as printed.
        description: what it is, in one sentence.
        video: it has video, and so the paper's metrics.
        coefficients: it has coefficients of its own.
    """

    key: str
    label: str
    description: str
    video: bool = True
    coefficients: bool = True


PAPER_METRICS = (
    Metric(
        "f_lmd", "F-LMD", "lower", "pixels", 2,
        "Mean distance of the 68 face landmarks after aligning each frame (256x256 frames).",
    ),
    Metric(
        "m_lmd", "M-LMD", "lower", "pixels", 2,
        "Mean distance of the 20 mouth landmarks after aligning each frame (256x256 frames).",
    ),
    Metric("sync_dist", "sync dist", "lower", "", 2, "SyncNet distance of sound and lips."),
    Metric("sync_conf", "sync conf", "higher", "", 2, "SyncNet confidence of sound and lips."),
)  # fmt: skip
"""Columns of the paper's Tables I and II, in its order."""

COEFFICIENT_METRICS = (
    Metric(
        "mouth_mae_fit", "mouth MAE (fit)", "lower", "", 3,
        "Mean absolute error of the 13 mouth coefficients against those fitted to the video.",
    ),
    Metric(
        "mouth_mae_truth", "mouth MAE (truth)", "lower", "", 3,
        "Mean absolute error of the 13 mouth coefficients against the corpus truth.",
    ),
)  # fmt: skip
"""Columns that need coefficients, not video; not in the paper."""

METRICS = PAPER_METRICS + COEFFICIENT_METRICS

METHODS = (
    Method("ground_truth", "Ground truth", "The face crops themselves; coefficients as fitted."),
    Method("dimitra_hp", "Dimitra (HP)", "Generated with head pose."),
    Method(
        "dimitra_no_hp",
        "Dimitra (no HP)",
        "The same motion, head pose frozen at the renderer.",
        coefficients=False,
    ),
    Method("frozen_first_frame", "Frozen first frame", "The first ground-truth frame, repeated."),
    Method("train_mean", "Training mean", "The mean over all training frames.", video=False),
)
"""Rows in table order."""
