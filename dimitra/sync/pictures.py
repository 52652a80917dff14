"""Which part of each frame a SyncNet sees, cut out and resized.

``mouth`` is the compact network's: a square around the mouth, from points that the jaw does not
move. ``tracks`` and ``frame`` are the published network's: the face's own track as
``syncnet_python`` crops it, or the whole frame resized, as in Wav2Lip's evaluation of LRS.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import median_filter

Region = Literal["mouth", "tracks", "frame"]

MOUTH_SIZE = 40
"""Side of a mouth's picture; the network sees the middle 36, training also what lies beside it."""
FACE_SIZE = 224

_MEDIAN = 13
"""Frames over which position and size are smoothed, as in ``syncnet_python``."""
_EYES, _NOSE = (36, 45), 33
_DOWN, _HALF = 0.45, 0.75
"""Mouth square: its centre below the nose, half its side; in distances of the outer eye corners."""
_PAD = 0.4
"""``crop_scale`` of ``syncnet_python``: share of the face's half side added around it."""


def boxes_of(
    landmarks: NDArray[np.floating], found: NDArray[np.bool_], region: Region
) -> NDArray[np.float64]:
    """Left, top, right, bottom in each frame, pixels, smoothed over time.

    Args:
        landmarks: ``[T, 68, 2]`` pixels; rows without a face may hold anything.
        found: ``[T]``; a frame without a face takes the box between its neighbours'.
        region: ``mouth`` or ``tracks``.

    Returns:
        ``[T, 4]``.

    Raises:
        ValueError: a face in no frame, or a region that needs no landmarks.
    """
    if region == "frame" or not found.any():
        raise ValueError(f"no boxes for region {region!r} of {int(found.sum())} faces")
    points = landmarks[found].astype(np.float64)
    if region == "mouth":
        eyes = np.linalg.norm(points[:, _EYES[1]] - points[:, _EYES[0]], axis=1)
        centre = points[:, _NOSE] + np.stack([np.zeros(len(eyes)), _DOWN * eyes], axis=1)
        half = _HALF * eyes
    else:
        low, high = points.min(axis=1), points.max(axis=1)
        centre, half = (low + high) / 2, (high - low).max(axis=1) / 2
    measured = np.concatenate([centre, half[:, None]], axis=1)
    times, every = np.flatnonzero(found), np.arange(len(found))
    track = np.stack([np.interp(every, times, column) for column in measured.T], axis=1)
    x, y, side = median_filter(track, size=(_MEDIAN, 1), mode="nearest").T
    if region == "mouth":
        return np.stack([x - side, y - side, x + side, y + side], axis=1)
    wide = side * (1 + _PAD)
    return np.stack([x - wide, y - side, x + wide, y + side * (1 + 2 * _PAD)], axis=1)


def cut(
    frames: Iterable[NDArray[np.uint8]], boxes: Iterable[NDArray[np.float64]], size: int
) -> Iterator[NDArray[np.uint8]]:
    """Cut a box out of each frame and resize it, ``[size, size, 3]``; what lies outside is grey."""
    for frame, (left, top, right, bottom) in zip(frames, boxes, strict=True):
        height, width = frame.shape[:2]
        margins = (-left, -top, right - width, bottom - height)
        around = max(0, int(np.ceil(max(margins))))
        picture = frame
        if around:
            edges = ((around, around), (around, around), (0, 0))
            picture = np.pad(frame, edges, constant_values=_GREY)
        box = tuple(float(value) + around for value in (left, top, right, bottom))
        resized = Image.fromarray(picture).resize(
            (size, size), Image.Resampling.BILINEAR, box=(box[0], box[1], box[2], box[3])
        )
        yield np.asarray(resized)


_GREY = 110
"""What ``syncnet_python`` puts around a frame."""


def whole(frames: Iterable[NDArray[np.uint8]]) -> Iterator[NDArray[np.uint8]]:
    """Resize each frame as it is to ``[224, 224, 3]``."""
    for frame in frames:
        picture = Image.fromarray(frame)
        yield np.asarray(picture.resize((FACE_SIZE, FACE_SIZE), Image.Resampling.BILINEAR))
