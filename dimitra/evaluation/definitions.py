"""Columns of an evaluation of any method's videos, and what of them can be asked for.

A column that the tables of a run have too is the same one (``dimitra.metrics.definitions``); the
others are what those leave open: both fits of the mouth, and distances without alignment.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from dimitra.metrics.definitions import METHODS, METRICS, Metric

GROUND_TRUTH = METHODS[0].key
"""Name of the references' own rows."""

_OF_A_RUN = {metric.key: metric for metric in METRICS}
_F_LMD, _M_LMD = _OF_A_RUN["f_lmd"], _OF_A_RUN["m_lmd"]

COLUMNS = (
    _F_LMD,
    replace(
        _M_LMD,
        key="m_lmd_face",
        label="M-LMD (68)",
        description="Mean distance of the 20 mouth landmarks, each frame aligned on all 68.",
    ),
    replace(
        _M_LMD,
        key="m_lmd_mouth",
        label="M-LMD (20)",
        description="Mean distance of the 20 mouth landmarks, each frame aligned on these 20.",
    ),
    replace(
        _F_LMD,
        key="f_lmd_raw",
        label="F-LMD, not aligned",
        description="Mean distance of the 68 landmarks where they are: head pose counts.",
    ),
    replace(
        _M_LMD,
        key="m_lmd_raw",
        label="M-LMD, not aligned",
        description="Mean distance of the 20 mouth landmarks where they are.",
    ),
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
    "lmd": ("f_lmd", "m_lmd_face", "m_lmd_mouth", "f_lmd_raw", "m_lmd_raw"),
    "sync": ("sync_dist", "sync_conf", "sync_offset"),
    "psnr": ("psnr",),
    "ssim": ("ssim",),
}
"""What can be asked for, and the columns that it fills."""

LANDMARK_KEYS, SYNC_KEYS = GROUPS["lmd"], GROUPS["sync"]
PICTURE_KEYS = (*GROUPS["psnr"], *GROUPS["ssim"])
