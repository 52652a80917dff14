"""Columns of an evaluation of any method's videos, and what of them can be asked for.

A column that the tables of a run have too is the same one (``dimitra.metrics.definitions``).
"""

from __future__ import annotations

from collections.abc import Mapping

from dimitra.metrics.definitions import LANDMARK_METRICS, METHODS, METRICS, Metric

GROUND_TRUTH = METHODS[0].key
"""Name of the references' own rows."""

_OF_A_RUN = {metric.key: metric for metric in METRICS}

COLUMNS = (
    _OF_A_RUN["f_lmd"],
    *LANDMARK_METRICS,
    _OF_A_RUN["sync_dist"],
    _OF_A_RUN["sync_conf"],
    Metric(
        "sync_offset", "sync offset", "truth", "frames", 2,
        "Frames by which the sound comes too early, as SyncNet finds it.",
    ),
    _OF_A_RUN["psnr"],
    _OF_A_RUN["ssim"],
)  # fmt: skip
"""What is measured of a video against its reference."""

GROUPS: Mapping[str, tuple[str, ...]] = {
    "lmd": ("f_lmd", *(metric.key for metric in LANDMARK_METRICS)),
    "sync": ("sync_dist", "sync_conf", "sync_offset"),
    "psnr": ("psnr",),
    "ssim": ("ssim",),
}
"""What can be asked for, and the columns that it fills."""

LANDMARK_KEYS, SYNC_KEYS = GROUPS["lmd"], GROUPS["sync"]
PICTURE_KEYS = (*GROUPS["psnr"], *GROUPS["ssim"])
