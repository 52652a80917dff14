"""One frame from a head raster at twice the size: photo skin, eyes, mouth, and the warped rest.

Every output pixel gathers its 2x2 samples by layer. Positions in the photo are averaged, not
colours, so a soft mask between the head and the warped background blends two warps of one
picture and no edge can show twice.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dimitra.render.rasterizer import Raster, compiled

SKIN = 0
"""Layer of triangles that take their colour from the photo."""
EYE = 1
"""Layer of the eyeballs: from the photo too, continued under the lids."""
INTERIOR = 2
"""Layer of teeth, tongue and mouth cavity: vertex colours."""

SOURCE_X, SOURCE_Y, TRUST, TWIN_X, TWIN_Y, TWIN_TRUST, FILL = range(7)
"""Columns of the vertex attributes of ``compose``."""


@dataclass(frozen=True)
class Pictures:
    """The reference photo and its continuations, each [H, W, 3] float32, 0..255.

    Attributes:
        photo: as it was taken.
        skin: eyes and mouth opening replaced by the skin around them.
        eyes: everything but the eyeballs replaced by their colours.
    """

    photo: NDArray[np.float32]
    skin: NDArray[np.float32]
    eyes: NDArray[np.float32]


@compiled
def _cubic(t: float, w: NDArray[np.float32]) -> None:
    """Catmull-Rom weights (Catmull and Rom 1974) of four neighbours at fraction ``t``."""
    w[0] = ((-0.5 * t + 1.0) * t - 0.5) * t
    w[1] = (1.5 * t - 2.5) * t * t + 1.0
    w[2] = ((-1.5 * t + 2.0) * t + 0.5) * t
    w[3] = (0.5 * t - 0.5) * t * t


@compiled
def _add_sample(
    picture: NDArray[np.float32],
    x: float,
    y: float,
    share: float,
    weights: NDArray[np.float32],
    total: NDArray[np.float32],
) -> None:
    """Add ``share`` of the picture's cubic interpolation at (x, y), clamped at the border."""
    if share <= 0.0:
        return
    height, width, _ = picture.shape
    x = min(max(x, 0.0), width - 1.0)
    y = min(max(y, 0.0), height - 1.0)
    x0, y0 = int(x), int(y)
    if x == x0 and y == y0:
        for k in range(3):
            total[k] += share * picture[y0, x0, k]
        return
    _cubic(x - x0, weights[0])
    _cubic(y - y0, weights[1])
    inner = 0 < x0 < width - 2 and 0 < y0 < height - 2
    for j in range(4):
        row = y0 + j - 1 if inner else min(max(y0 + j - 1, 0), height - 1)
        for i in range(4):
            column = x0 + i - 1 if inner else min(max(x0 + i - 1, 0), width - 1)
            weight = share * weights[1, j] * weights[0, i]
            for k in range(3):
                total[k] += weight * picture[row, column, k]


@compiled
def _gather(
    face: NDArray[np.int32],
    barycentric: NDArray[np.float32],
    triangles: NDArray[np.int32],
    layer: NDArray[np.uint8],
    attributes: NDArray[np.float32],
    colours: NDArray[np.float32],
    sums: NDArray[np.float32],
) -> None:
    """Add up a pixel's 2x2 samples by layer.

    ``sums`` is [3, 8]: the attributes of skin (weighted by trust) and eyes, the colours of the
    interior; in column 7 the number of samples. A sample beside the head counts as skin of no
    trust.
    """
    sums[:] = 0.0
    for j in range(2):
        for i in range(2):
            f = face[j, i]
            if f < 0:
                sums[0, 7] += 1.0
                continue
            a, b, c = triangles[f, 0], triangles[f, 1], triangles[f, 2]
            wa, wb, wc = barycentric[j, i, 0], barycentric[j, i, 1], barycentric[j, i, 2]
            kind = layer[f]
            sums[kind, 7] += 1.0
            if kind == 2:
                for k in range(3):
                    sums[2, k] += wa * colours[a, k] + wb * colours[b, k] + wc * colours[c, k]
                continue
            trust = wa * attributes[a, 2] + wb * attributes[b, 2] + wc * attributes[c, 2]
            twin = wa * attributes[a, 5] + wb * attributes[b, 5] + wc * attributes[c, 5]
            sums[kind, 2] += trust
            sums[kind, 5] += twin
            for k in (0, 1, 3, 4, 6):
                value = wa * attributes[a, k] + wb * attributes[b, k] + wc * attributes[c, k]
                sums[kind, k] += value * (twin if k in (3, 4) else trust)


@compiled
def _shade(
    sums: NDArray[np.float32],
    under: NDArray[np.float32],
    photo: NDArray[np.float32],
    skin: NDArray[np.float32],
    eyes: NDArray[np.float32],
    weights: NDArray[np.float32],
    total: NDArray[np.float32],
) -> None:
    """Colour of one pixel from its gathered samples."""
    for k in range(3):
        total[k] = np.float32(0.25) * sums[2, k]
    count = sums[0, 7]
    if count > 0.0:
        rest = count - sums[0, 2]
        x = (sums[0, 0] + rest * under[0]) / count
        y = (sums[0, 1] + rest * under[1]) / count
        share, twin, fill = 0.25 * count, sums[0, 5] / count, sums[0, 6] / count
        if twin > 0.0:
            tx, ty = sums[0, 3] / sums[0, 5], sums[0, 4] / sums[0, 5]
            _add_sample(skin, tx, ty, share * twin, weights, total)
            share *= 1.0 - twin
        _add_sample(photo, x, y, share * (1.0 - fill), weights, total)
        _add_sample(skin, x, y, share * fill, weights, total)
    count, trust = sums[1, 7], sums[1, 2]
    if count > 0.0 and trust > 0.0:
        x, y, fill = sums[1, 0] / trust, sums[1, 1] / trust, sums[1, 6] / trust
        share = 0.25 * count
        _add_sample(photo, x, y, share * (1.0 - fill), weights, total)
        _add_sample(eyes, x, y, share * fill, weights, total)


@compiled
def _compose(
    face: NDArray[np.int32],
    barycentric: NDArray[np.float32],
    triangles: NDArray[np.int32],
    layer: NDArray[np.uint8],
    attributes: NDArray[np.float32],
    colours: NDArray[np.float32],
    under: NDArray[np.float32],
    photo: NDArray[np.float32],
    skin: NDArray[np.float32],
    eyes: NDArray[np.float32],
    out: NDArray[np.uint8],
) -> None:
    total = np.zeros(3, np.float32)
    weights = np.zeros((2, 4), np.float32)
    sums = np.zeros((3, 8), np.float32)
    for y in range(out.shape[0]):
        for x in range(out.shape[1]):
            _gather(
                face[2 * y : 2 * y + 2, 2 * x : 2 * x + 2],
                barycentric[2 * y : 2 * y + 2, 2 * x : 2 * x + 2],
                triangles,
                layer,
                attributes,
                colours,
                sums,
            )
            _shade(sums, under[y, x], photo, skin, eyes, weights, total)
            for k in range(3):
                out[y, x, k] = np.uint8(min(max(np.rint(total[k]), 0.0), 255.0))


def compose(
    raster: Raster,
    triangles: NDArray[np.int32],
    layer: NDArray[np.uint8],
    attributes: NDArray[np.float32],
    colours: NDArray[np.float32],
    under: NDArray[np.float32],
    pictures: Pictures,
) -> NDArray[np.uint8]:
    """Colour one frame.

    Args:
        raster: the posed head drawn at [2H, 2W].
        triangles: [F, 3] of that raster.
        layer: [F], ``SKIN``, ``EYE`` or ``INTERIOR``.
        attributes: [V, 7]: position in the photo, trust in it (the rest comes from the warp),
            position of the mirrored twin and share of its colour, share of the continued picture
            (``Pictures.skin`` or ``.eyes``) in place of the photo.
        colours: [V, 3], 0..255, of the interior.
        under: [H, W, 2], position in the photo of every pixel by the warp alone.
        pictures: where the colours come from.

    Returns:
        [H, W, 3] uint8.

    Raises:
        ValueError: the raster is not twice the size of ``under``.
    """
    height, width = under.shape[:2]
    if raster.face.shape != (2 * height, 2 * width):
        raise ValueError(
            f"raster is {raster.face.shape}, but twice {(height, width)} is needed for its samples"
        )
    out = np.empty((height, width, 3), np.uint8)
    _compose(
        raster.face,
        raster.barycentric,
        triangles,
        layer,
        attributes,
        colours,
        under,
        pictures.photo,
        pictures.skin,
        pictures.eyes,
        out,
    )
    return out
