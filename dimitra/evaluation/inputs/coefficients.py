"""A clip's Basel-model coefficients in the layouts that other methods read.

* ``coeff [N, 257]`` with ``transform_params [N, 5]`` (width, height, ``s, tx, ty``): StyleTalk and
  DreamTalk, after PIRender's ``scripts/face_recon_videos.py``. ``core/utils.py`` of both takes the
  style from columns 80 to 143 and the pose from 224 to 226, 254 to 256 and the alignment.
* ``coeff_3dmm [N, 73]`` with ``full_3dmm [1, 257]``: SadTalker's ``src/utils/preprocess.py``.

``dimitra.morphable.precomputed`` reads the same files. All numbers are in single precision: in
double, StyleTalk's renderer refuses them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from dimitra.evaluation.inputs.mat import mat_bytes
from dimitra.media.video import FPS
from dimitra.morphable.coefficients import slices
from dimitra.morphable.precomputed import SADTALKER_PX, Precomputed, resample

Given = Literal["first_frame", "clip"]
"""What a method is told of the true motion: the clip's first frame, as in the paper (supplement:
the others get "each first frame of the 3DMM sequence" as style and pose), or all of it."""
SIDE_PX = SADTALKER_PX
"""Side of the picture in which the alignment is meant; all three draw at this size."""
HELD_FRAMES = 5
"""By which a pose outlasts the speech: a shorter one ends both programs in an error, as they call
``unsqueeze`` on a NumPy array."""
_CONSTANT = ("identity", "texture", "illumination")

Motion = Mapping[str, NDArray[Any]]
"""``motion.npz`` of a clip."""


def _frames(motion: Motion) -> Precomputed:
    """The parts that vary, one row a frame."""
    count = len(motion["pose"])
    return Precomputed(
        motion["expression"].astype(np.float64),
        motion["pose"].astype(np.float64),
        np.broadcast_to(motion["crop"].astype(np.float64), (count, 3)),
        (SIDE_PX, SIDE_PX),
        {name: motion[name] for name in _CONSTANT if name in motion},
    )


def _at_rate(
    found: Precomputed, fps: float, rows: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Expression, pose and alignment of ``rows`` frames; after the end the last frame's."""
    shown_s = (np.arange(len(found))[:, None] + np.array([0, 1])) / FPS
    at_s = (np.arange(rows, dtype=np.float64) + 0.5) / fps
    values = resample(found, shown_s, at_s)
    return values.expression, values.pose, values.crop


def _whole(
    found: Precomputed, expression: NDArray[np.float64], pose: NDArray[np.float64]
) -> Float[NDArray[np.float32], "rows 257"]:
    """The 257 values of each row.

    Raises:
        ValueError: a part was not estimated.
    """
    missing = [name for name in _CONSTANT if name not in found.constant]
    if missing:
        raise ValueError(
            f"{', '.join(missing)} were not estimated, and zeros would be another face: fit with "
            "fit.method: deng"
        )
    parts: dict[str, NDArray[Any]] = {
        **found.constant,
        "expression": expression,
        "angles": pose[:, :3],
        "translation": pose[:, 3:],
    }
    rows = len(pose)
    columns = [np.broadcast_to(parts[name], (rows, parts[name].shape[-1])) for name in slices()]
    return np.concatenate(columns, axis=1).astype(np.float32)


def frames_at(motion: Motion, fps: float) -> int:
    """Frames of a clip at another rate."""
    return round(len(motion["pose"]) * fps / FPS)


def deng_bytes(motion: Motion, fps: float, rows: int, given: Given) -> bytes:
    """``coeff`` and ``transform_params`` of a clip.

    Args:
        motion: fitted with the Basel model, 25 frames a second.
        fps: frame rate of the file: StyleTalk 30, DreamTalk 25.
        rows: frames; after the clip's end its last frame is held.
        given: ``first_frame`` repeats that.

    Raises:
        ValueError: a part was not estimated.
    """
    found = _frames(motion)
    expression, pose, crop = _at_rate(found, fps, rows)
    if given == "first_frame":
        first = (found.expression, found.pose, found.crop)
        expression, pose, crop = (np.repeat(one[:1], rows, axis=0) for one in first)
    size = np.full((rows, 2), SIDE_PX, np.float32)
    return mat_bytes(
        {
            "coeff": _whole(found, expression, pose),
            "transform_params": np.concatenate([size, crop], axis=1).astype(np.float32),
        }
    )


def sadtalker_bytes(motion: Motion, given: Given) -> bytes:
    """``coeff_3dmm`` of a clip at 25 frames a second, and ``full_3dmm`` of its first frame.

    Raises:
        ValueError: a part was not estimated.
    """
    found = _frames(motion)
    rows = 1 if given == "first_frame" else len(found)
    every = np.concatenate([found.expression, found.pose, found.crop], axis=1)
    return mat_bytes(
        {
            "coeff_3dmm": every[:rows].astype(np.float32),
            "full_3dmm": _whole(found, found.expression[:1], found.pose[:1]),
        }
    )
