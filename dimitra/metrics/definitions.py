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
        baseline: it is there to be beaten.
    """

    key: str
    label: str
    description: str
    video: bool = True
    coefficients: bool = True
    baseline: bool = False


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

LANDMARK_METRICS = (
    Metric(
        "m_lmd_face", "M-LMD (68)", "lower", "pixels", 2,
        "Mean distance of the 20 mouth landmarks, each frame aligned on all 68.",
    ),
    Metric(
        "m_lmd_mouth", "M-LMD (20)", "lower", "pixels", 2,
        "Mean distance of the 20 mouth landmarks, each frame aligned on these 20.",
    ),
    Metric(
        "f_lmd_back", "F-LMD, truth moved", "lower", "pixels", 2,
        "Mean distance of the 68 landmarks, each true frame aligned to the generated one.",
    ),
    Metric(
        "m_lmd_back", "M-LMD, truth moved", "lower", "pixels", 2,
        "Mean distance of the 20 mouth landmarks, each true frame aligned on all 68.",
    ),
    Metric(
        "f_lmd_raw", "F-LMD, not aligned", "lower", "pixels", 2,
        "Mean distance of the 68 landmarks where they are: head pose counts.",
    ),
    Metric(
        "m_lmd_raw", "M-LMD, not aligned", "lower", "pixels", 2,
        "Mean distance of the 20 mouth landmarks where they are.",
    ),
)  # fmt: skip
"""F-LMD and M-LMD as they may be read too: the paper leaves fit and direction open."""

VIDEO_METRICS = (
    Metric(
        "psnr", "PSNR", "higher", "dB", 2,
        "Peak signal-to-noise ratio to the ground-truth video, of the mean squared error of all "
        "frames that are compared.",
    ),
    Metric(
        "ssim", "SSIM", "higher", "", 3,
        "Structural similarity to the ground-truth video (Wang et al. 2004), mean over frames.",
    ),
    Metric(
        "identity_sim", "identity sim.", "higher", "", 3,
        "Cosine of the face descriptors of a generated frame and of the same ground-truth frame, "
        "mean over frames.",
    ),
    Metric(
        "face_fd", "face FD", "lower", "", 4,
        "Frechet distance of the frames' face descriptors to those of the ground truth: FID with "
        "a face network's features.",
    ),
    Metric(
        "lips_fd", "lips FD", "lower", "", 4,
        "Frechet distance of SyncNet's embeddings of 5 frames of lips to those of the ground "
        "truth: FVD with SyncNet's features.",
    ),
    Metric(
        "fid", "FID", "lower", "", 2,
        "Frechet distance of the frames' features to those of the ground truth, by the network "
        "that evaluate.frame_weights names.",
    ),
    Metric(
        "fvd", "FVD", "lower", "", 2,
        "Frechet distance of the features of 16 frames to those of the ground truth, by the "
        "network that evaluate.clip_weights names.",
    ),
)  # fmt: skip
"""Of the pictures; not in the paper."""

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
        "opening_lag_fit", "opening lag (fit)", "lower", "frames", 2,
        "Frames by which the mouth's opening is early or late against that of the fit: where "
        "their cross-correlation is largest.",
    ),
    Metric(
        "opening_lag_truth", "opening lag (truth)", "lower", "frames", 2,
        "Frames by which the mouth's opening is early or late against that of the truth.",
    ),
    Metric(
        "bilabial_closure", "bilabial closure", "truth", "", 3,
        "Share of the sounds p, b and m at which the lips meet.",
    ),
    Metric(
        "mouth_jerk", "mouth jerk", "truth", "per frame cubed", 4,
        "Mean absolute third difference of the mouth coefficients: how much the mouth trembles.",
    ),
    Metric(
        "mouth_seam", "mouth seam", "truth", "", 2,
        "Step of the mouth coefficients where chunks of generation meet, over their step inside.",
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
        "head_beats", "head beats", "truth", "", 3,
        "Beat alignment: how near the onsets of the sound the head's motion has its turning "
        "points, 0 to 1.",
    ),
    Metric(
        "head_jerk", "head jerk", "truth", "degrees per frame cubed", 4,
        "Mean absolute third difference of the head's angles: how much the head trembles.",
    ),
    Metric(
        "head_seam", "head seam", "truth", "", 2,
        "Step of the head's angles where chunks of generation meet, over their step inside.",
    ),
    Metric(
        "head_diversity", "head diversity", "higher", "degrees", 3,
        "Mean absolute difference of the head's angles between two samples of one input.",
    ),
)  # fmt: skip
"""Of the head's pose; not in the paper."""

OF_ALL_CLIPS = {"head_speed_gap": "head_speed", "head_range_gap": "head_range"}
"""Metrics of a data set as a whole, each with the metric of a clip whose distribution it judges."""

OF_ALL_FRAMES = ("face_fd", "lips_fd", "fid", "fvd")
"""Metrics of a data set as a whole that need its pictures: distances of distributions."""

COEFFICIENT_METRICS = MOUTH_METRICS + EXPRESSION_METRICS + HEAD_METRICS
"""Columns that need coefficients, not video; not in the paper."""

METRICS = PAPER_METRICS + LANDMARK_METRICS + VIDEO_METRICS + COEFFICIENT_METRICS

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
    Method(
        "frozen_first_frame",
        "Frozen first frame",
        "The first ground-truth frame, repeated.",
        baseline=True,
    ),
    Method(
        "shuffled_audio",
        "Shuffled audio",
        "The ground-truth video with the sound of another test clip.",
        coefficients=False,
        baseline=True,
    ),
    Method(
        "train_mean",
        "Training mean",
        "The mean over all training frames.",
        video=False,
        baseline=True,
    ),
    Method(
        "other_clip",
        "Another clip",
        "The motion of another test clip, of another identity, cut to this length.",
        video=False,
        baseline=True,
    ),
)
"""Rows in table order."""
