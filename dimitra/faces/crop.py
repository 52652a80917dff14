"""The square crop that keeps a moving head in view.

One crop per clip, as in FOMM's preprocessing (Siarohin et al., 2019): the union of the head over
all frames, enlarged by a margin, so that the head moves in the crop as it moves in the video.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_CHIN, _JAW = 8, slice(0, 17)
_BROWS = slice(17, 27)
_SKULL = 0.7
_FACE = [_CHIN, *range(17, 68)]
_CUT = 0.05


@dataclass(frozen=True)
class CropBox:
    """A square of source pixels; ``x``, ``y`` and ``side`` are even.

    Attributes:
        x: first column.
        y: first row.
        side: pixels.
    """

    x: int
    y: int
    side: int

    def transform(self, size: int) -> NDArray[np.float32]:
        """``[3]`` scale, x0, y0 of ``crop = scale * (source - (x0, y0))``.

        Both sides in pixels with centres at integers; resizing keeps the outer edges, which lie
        half a pixel outside the first and last centre.
        """
        scale = size / self.side
        shift = 0.5 / scale - 0.5
        return np.array([scale, self.x + shift, self.y + shift], np.float32)


def to_crop(points: NDArray[np.float32], transform: NDArray[np.float32]) -> NDArray[np.float32]:
    """Map source pixels ``[..., 2]`` to crop pixels."""
    return np.asarray((points - transform[1:]) * transform[0], np.float32)


def to_source(points: NDArray[np.float32], transform: NDArray[np.float32]) -> NDArray[np.float32]:
    """Map crop pixels ``[..., 2]`` to source pixels."""
    return np.asarray(points / transform[0] + transform[1:], np.float32)


def rescale(
    points: NDArray[np.float32], old: tuple[int, int], new: tuple[int, int]
) -> NDArray[np.float32]:
    """Map points between an image resized from ``old`` (width, height) to ``new``.

    Args:
        points: ``[..., 2]``, pixel centres at integers.
        old: size of the image in which they were measured.
        new: size of the image to which they go.
    """
    ratio = np.array(new, np.float64) / np.array(old, np.float64)
    return ((points + 0.5) * ratio - 0.5).astype(np.float32)


def cut_off(landmarks: NDArray[np.float32], width: int, height: int) -> NDArray[np.bool_]:
    """Frames in which the border of the picture cuts the face.

    Chin, brows, eyes, nose or mouth lie outside by more than a twentieth of the jaw's width; ears
    and cheeks may.

    Args:
        landmarks: ``[T, 68, 2]`` source pixels.
        width: of the picture, pixels.
        height: likewise.

    Returns:
        ``[T]``.
    """
    inner = landmarks[:, _FACE]
    beyond = np.maximum(-inner, inner - np.array([width - 1, height - 1])).max(axis=(1, 2))
    return np.asarray(beyond > _CUT * np.ptp(landmarks[:, _JAW, 0], axis=1))


def head_extent(landmarks: NDArray[np.float32]) -> NDArray[np.float32]:
    """Box ``[..., 4]`` around the whole head, from landmarks ``[..., 68, 2]``.

    The landmarks end at the brows. The skull reaches above them by about 0.7 of the distance
    from brows to chin (average adult proportions: 23 cm from vertex to chin, 13.5 cm from
    glabella to chin). The direction follows the face's own tilt.
    """
    chin = landmarks[..., _CHIN, :]
    brows = landmarks[..., _BROWS, :].mean(axis=-2)
    top = brows + _SKULL * (brows - chin)
    jaw = landmarks[..., _JAW, :]
    breadth = np.linalg.norm(jaw[..., -1, :] - jaw[..., 0, :], axis=-1, keepdims=True)
    corners = np.concatenate(
        [
            jaw,
            top[..., None, :] - 0.5 * breadth[..., None, :] * np.array([1.0, 0.0], np.float32),
            top[..., None, :] + 0.5 * breadth[..., None, :] * np.array([1.0, 0.0], np.float32),
        ],
        axis=-2,
    )
    return np.concatenate([corners.min(axis=-2), corners.max(axis=-2)], axis=-1)


def crop_box(landmarks: NDArray[np.float32], width: int, height: int, margin: float) -> CropBox:
    """Square around the head over all frames, inside the picture.

    Near the picture's edge the square is moved, and where it is too large it shrinks to the
    picture's shorter side: nothing is invented outside of the picture.

    Args:
        landmarks: ``[N, 68, 2]`` in source pixels, of frames in which the face was found.
        width: of the source, pixels.
        height: likewise.
        margin: share of the head's side added on each side.
    """
    boxes = head_extent(landmarks)
    low, high = boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)
    wanted = float((high - low).max()) * (1.0 + 2.0 * margin)
    side = min(2 * round(wanted / 2), width // 2 * 2, height // 2 * 2)
    corner = (low + high) / 2 - side / 2
    x, y = (
        int(np.clip(2 * round(float(value) / 2), 0, (limit - side) // 2 * 2))
        for value, limit in zip(corner, (width, height), strict=True)
    )
    return CropBox(x, y, side)
