"""Metrics and methods of the tables: names, labels, units, and which direction is better."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Direction = Literal["lower", "higher", "truth"]
"""``truth``: the closer to the row of the truth, the better."""

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
        """The direction of improvement as an arrow; an equals sign where the truth is the aim."""
        return {"lower": "↓", "higher": "↑", "truth": "="}[self.better]

    @property
    def aim(self) -> str:
        """The direction of improvement as a sentence."""
        return {
            "lower": "Lower is better.",
            "higher": "Higher is better.",
            "truth": "Closest to the truth is best.",
        }[self.better]


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

MOUTH_METRICS = (
    Metric(
        "mouth_mae_fit", "mouth MAE (fit)", "lower", "", 3,
        "Mean absolute error of the 13 mouth coefficients against those fitted to the video.",
    ),
    Metric(
        "mouth_mae_truth", "mouth MAE (truth)", "lower", "", 3,
        "Mean absolute error of the 13 mouth coefficients against the corpus truth.",
    ),
    Metric(
        "opening_corr_fit", "opening corr. (fit)", "higher", "", 3,
        "Pearson's correlation over frames of the mouth's opening with that of the fit.",
    ),
    Metric(
        "opening_corr_truth", "opening corr. (truth)", "higher", "", 3,
        "Pearson's correlation over frames of the mouth's opening with that of the truth.",
    ),
    Metric(
        "mouth_diversity", "mouth diversity", "higher", "", 4,
        "Mean absolute difference of the mouth coefficients between two samples of one input.",
    ),
)  # fmt: skip
"""Of the lips; not in the paper."""

EXPRESSION_METRICS = (
    Metric(
        "expression_mae_fit", "expression MAE (fit)", "lower", "", 3,
        "Mean absolute error of the other 51 expression coefficients against the fitted ones.",
    ),
    Metric(
        "expression_mae_truth", "expression MAE (truth)", "lower", "", 3,
        "Mean absolute error of the other 51 expression coefficients against the truth.",
    ),
)  # fmt: skip
"""Of the face without the lips; not in the paper."""

HEAD_METRICS = (
    Metric(
        "head_speed", "head speed", "truth", "degrees a second", 2,
        "Mean angle by which the head turns from frame to frame, times the frame rate.",
    ),
    Metric(
        "head_range", "head range", "truth", "degrees", 2,
        "From the 5th to the 95th percentile of pitch, yaw and roll, the mean of the three.",
    ),
    Metric(
        "head_speed_gap", "head speed gap", "lower", "", 3,
        "Wasserstein distance of the clips' head speeds to those of the truth, over their mean.",
    ),
    Metric(
        "head_range_gap", "head range gap", "lower", "", 3,
        "Wasserstein distance of the clips' head ranges to those of the truth, over their mean.",
    ),
    Metric(
        "head_diversity", "head diversity", "higher", "degrees", 3,
        "Mean absolute difference of the head's angles between two samples of one input.",
    ),
)  # fmt: skip
"""Of the head's pose; not in the paper."""

OF_ALL_CLIPS = {"head_speed_gap": "head_speed", "head_range_gap": "head_range"}
"""Metrics of a data set as a whole, each with the metric of a clip whose distribution it judges."""

COEFFICIENT_METRICS = MOUTH_METRICS + EXPRESSION_METRICS + HEAD_METRICS
"""Columns that need coefficients, not video; not in the paper."""

METRICS = PAPER_METRICS + COEFFICIENT_METRICS

METHODS = (
    Method("ground_truth", "Ground truth", "The face crops themselves; coefficients as fitted."),
    Method("truth", "Corpus truth", "The motion that the corpus was drawn from.", video=False),
    Method("dimitra_hp", "Dimitra (HP)", "Generated with head pose."),
    Method(
        "dimitra_no_hp",
        "Dimitra (no HP)",
        "The same motion, head pose frozen at the renderer.",
        coefficients=False,
    ),
    Method(
        "dimitra_mean",
        "Dimitra, mean of samples",
        "The mean over several samples of one input.",
        video=False,
    ),
    Method("frozen_first_frame", "Frozen first frame", "The first ground-truth frame, repeated."),
    Method(
        "shuffled_audio",
        "Shuffled audio",
        "The ground-truth video with the sound of another test clip.",
        coefficients=False,
    ),
    Method("train_mean", "Training mean", "The mean over all training frames.", video=False),
    Method(
        "other_clip",
        "Another clip",
        "The motion of another test clip, of another identity, cut to this length.",
        video=False,
    ),
)
"""Rows in table order."""
