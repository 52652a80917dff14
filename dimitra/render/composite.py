"""One frame from a head raster at twice the size: photo skin, eyes, mouth, and the warped rest.

Every output pixel gathers its 2x2 samples. The soft mask between the head and the warped
background blends positions in the photo, not colours: two warps of one picture, so that no edge
shows twice.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dimitra.compiled import compiled, inlined
from dimitra.render.rasterizer import Raster

SKIN = 0
"""Layer of triangles that take their colour from the photo."""
EYE = 1
"""Layer of the eyeballs: from the photo too, continued under the lids."""
INTERIOR = 2
"""Layer of teeth, tongue and mouth cavity: vertex colours, or the photo's open mouth."""

SOURCE_X, SOURCE_Y, TRUST, TWIN_X, TWIN_Y, TWIN_TRUST, FILL, SHADE = range(8)
"""Columns of the vertex attributes of ``compose``."""

WARMTH = np.float32(0.35)
"""How much less red is taken than blue where skin or mouth are darkened, as in real shadow."""

SAME_PX = 1.5
"""Samples of a pixel whose positions in the photo lie nearer than this are of one surface."""

PHOTO, WITHOUT_EYES, EYES_ONLY, MOUTH_ONLY = range(4)
"""The pictures that ``compose`` reads: the photo; eyes and mouth replaced by the skin around them;
all but the eyeballs replaced by their colours; all but the mouth's inside replaced by its."""


def pack_pictures(pictures: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Pictures [H, W, 3] as ``compose`` reads them: [P, H + 4, W + 4, 4].

    Two pixels of border repeat the edge, so that no cubic neighbour lies outside; a fourth channel
    keeps pixels aligned.
    """
    edge = [np.pad(picture, ((2, 2), (2, 2), (0, 0)), mode="edge") for picture in pictures]
    return np.stack([np.pad(one, ((0, 0), (0, 0), (0, 1))) for one in edge]).astype(np.float32)


@inlined
def _cubic(t: np.float32) -> tuple[np.float32, np.float32, np.float32, np.float32]:
    """Catmull-Rom weights (Catmull and Rom 1974) of four neighbours at fraction ``t``."""
    half, one, three, five = np.float32(0.5), np.float32(1.0), np.float32(3.0), np.float32(5.0)
    square = t * t
    return (
        half * (square + square - t - square * t),
        half * (three * t - five) * square + one,
        half * (t + square + square + square + square - three * square * t),
        half * (t - one) * square,
    )


@inlined
def _add_sample(
    flat: NDArray[np.float32],
    p: int,
    height: int,
    width: int,
    x: np.float32,
    y: np.float32,
    share: np.float32,
    total: NDArray[np.float32],
) -> None:
    """Add ``share`` of picture ``p``'s cubic interpolation at (x, y), clamped at the border.

    ``flat`` holds the packed pictures row by row; unsigned indices spare the test for negative
    ones, which costs more than the arithmetic.
    """
    x = min(max(x, np.float32(0.0)), np.float32(width - 1))
    y = min(max(y, np.float32(0.0)), np.float32(height - 1))
    x0, y0 = int(x), int(y)
    wa, wb, wc, wd = _cubic(x - np.float32(x0))
    rows = _cubic(y - np.float32(y0))
    stride = np.uint64(4 * (width + 4))
    q = np.uint64(4 * (((height + 4) * p + y0 + 1) * (width + 4) + x0 + 1))
    red, green, blue = np.float32(0.0), np.float32(0.0), np.float32(0.0)
    for j in range(4):
        a, b, c, d = q, q + np.uint64(4), q + np.uint64(8), q + np.uint64(12)
        red += rows[j] * (wa * flat[a] + wb * flat[b] + wc * flat[c] + wd * flat[d])
        a, b, c, d = q + np.uint64(1), q + np.uint64(5), q + np.uint64(9), q + np.uint64(13)
        green += rows[j] * (wa * flat[a] + wb * flat[b] + wc * flat[c] + wd * flat[d])
        a, b, c, d = q + np.uint64(2), q + np.uint64(6), q + np.uint64(10), q + np.uint64(14)
        blue += rows[j] * (wa * flat[a] + wb * flat[b] + wc * flat[c] + wd * flat[d])
        q += stride
    total[0] += share * red
    total[1] += share * green
    total[2] += share * blue


@inlined
def _gather(
    face: NDArray[np.int32],
    barycentric: NDArray[np.float32],
    triangles: NDArray[np.int32],
    layer: NDArray[np.uint8],
    attributes: NDArray[np.float32],
    colours: NDArray[np.float32],
    light: NDArray[np.float32],
    flesh: NDArray[np.float32],
    under: NDArray[np.float32],
    column: int,
    row: int,
    samples: NDArray[np.float32],
    plain: NDArray[np.float32],
) -> int:
    """Read a pixel's 2x2 samples.

    ``samples`` is [4, 8]: layer, position in the photo, share of the layer's own picture, position
    and share of the mirrored twin, brightness. The interior's plain colours are added to
    ``plain``. Returns how many samples lie on the head.
    """
    found = 0
    plain[:] = 0.0
    for n in range(4):
        v, u = 2 * row + n // 2, 2 * column + n % 2
        f = face[v, u]
        samples[n, 0] = 0.0
        samples[n, 6] = 0.0
        samples[n, 7] = 1.0
        if f < 0:
            samples[n, 1], samples[n, 2] = under[row, column, 0], under[row, column, 1]
            samples[n, 3] = 0.0
            continue
        found += 1
        a, b, c = triangles[f, 0], triangles[f, 1], triangles[f, 2]
        wa = barycentric[v, u, 0]
        wb = barycentric[v, u, 1]
        wc = barycentric[v, u, 2]
        kind = layer[f]
        x = wa * attributes[a, 0] + wb * attributes[b, 0] + wc * attributes[c, 0]
        y = wa * attributes[a, 1] + wb * attributes[b, 1] + wc * attributes[c, 1]
        trust = wa * attributes[a, 2] + wb * attributes[b, 2] + wc * attributes[c, 2]
        fill = wa * attributes[a, 6] + wb * attributes[b, 6] + wc * attributes[c, 6]
        shade = wa * attributes[a, 7] + wb * attributes[b, 7] + wc * attributes[c, 7]
        samples[n, 0] = kind
        samples[n, 3] = fill
        samples[n, 7] = shade
        if kind == 0:
            x = trust * x + (np.float32(1.0) - trust) * under[row, column, 0]
            y = trust * y + (np.float32(1.0) - trust) * under[row, column, 1]
            samples[n, 3] = fill * trust
            twin = wa * attributes[a, 5] + wb * attributes[b, 5] + wc * attributes[c, 5]
            if twin > 0.0:
                samples[n, 6] = twin
                for k in (3, 4):
                    samples[n, k + 1] = (
                        wa * attributes[a, k] + wb * attributes[b, k] + wc * attributes[c, k]
                    )
        elif kind == 2:
            samples[n, 7] = np.float32(1.0) - shade * (np.float32(1.0) - light[v, u])
            lit = light[v, u]
            rest = np.float32(0.25) * (np.float32(1.0) - fill)
            for k in range(3):
                own = wa * colours[a, k] + wb * colours[b, k] + wc * colours[c, k]
                plain[k] += rest * (flesh[k] + lit * (own - flesh[k]))
        samples[n, 1] = x
        samples[n, 2] = y
    return found


@inlined
def _merge(samples: NDArray[np.float32], merged: NDArray[np.float32]) -> int:
    """Average the samples that agree; returns how many remain.

    ``merged`` is [4, 9]: the columns of ``_gather`` and the number of samples in each row.
    Samples of one layer whose positions lie within ``SAME_PX`` become one; the two sides of an
    edge stay apart, so that no position between them is ever read.
    """
    count = 0
    for n in range(4):
        home = -1
        for m in range(count):
            if (
                samples[n, 0] == merged[m, 0]
                and abs(samples[n, 1] - merged[m, 1]) < SAME_PX
                and abs(samples[n, 2] - merged[m, 2]) < SAME_PX
                and (samples[n, 6] > 0.0) == (merged[m, 6] > 0.0)
            ):
                home = m
                break
        if home < 0:
            merged[count, :8] = samples[n]
            merged[count, 8] = 1.0
            count += 1
        else:
            total = merged[home, 8] + np.float32(1.0)
            share = np.float32(1.0) / total
            for k in range(1, 8):
                merged[home, k] += share * (samples[n, k] - merged[home, k])
            merged[home, 8] = total
    return count


@inlined
def _plan(merged: NDArray[np.float32], count: int, reads: NDArray[np.float32]) -> int:
    """List what to read from the pictures: rows of picture, x, y and share; returns how many."""
    found = 0
    one = np.float32(1.0)
    for m in range(count):
        kind, fill, twin = merged[m, 0], merged[m, 3], merged[m, 6]
        share = np.float32(0.25) * merged[m, 8] * merged[m, 7]
        if twin > 0.0:
            reads[found, 0], reads[found, 3] = 1.0, share * twin
            reads[found, 1], reads[found, 2] = merged[m, 4], merged[m, 5]
            share *= one - twin
            found += 1
        if kind != 2.0 and fill < 1.0:
            reads[found, 0], reads[found, 3] = 0.0, share * (one - fill)
            reads[found, 1], reads[found, 2] = merged[m, 1], merged[m, 2]
            found += 1
        if fill > 0.0:
            reads[found, 0], reads[found, 3] = one + kind, share * fill
            reads[found, 1], reads[found, 2] = merged[m, 1], merged[m, 2]
            found += 1
    return found


@compiled
def _compose(
    face: NDArray[np.int32],
    barycentric: NDArray[np.float32],
    triangles: NDArray[np.int32],
    layer: NDArray[np.uint8],
    attributes: NDArray[np.float32],
    colours: NDArray[np.float32],
    light: NDArray[np.float32],
    flesh: NDArray[np.float32],
    under: NDArray[np.float32],
    flat: NDArray[np.float32],
    out: NDArray[np.uint8],
) -> None:
    height, width = out.shape[0], out.shape[1]
    total = np.zeros(3, np.float32)
    samples = np.zeros((4, 8), np.float32)
    merged = np.zeros((4, 9), np.float32)
    reads = np.zeros((12, 4), np.float32)
    for y in range(height):
        for x in range(width):
            found = _gather(
                face,
                barycentric,
                triangles,
                layer,
                attributes,
                colours,
                light,
                flesh,
                under,
                x,
                y,
                samples,
                total,
            )
            if found == 0:
                count = 1
                reads[0, 0], reads[0, 3] = 0.0, 1.0
                reads[0, 1], reads[0, 2] = under[y, x, 0], under[y, x, 1]
            else:
                count = _plan(merged, _merge(samples, merged), reads)
            for m in range(count):  # one call only: it is inlined, which is ten times as fast
                _add_sample(
                    flat,
                    int(reads[m, 0]),
                    height,
                    width,
                    reads[m, 1],
                    reads[m, 2],
                    reads[m, 3],
                    total,
                )
            if found > 0:
                shadow = np.float32(0.0)
                for n in range(4):
                    shadow += np.float32(0.25) * (np.float32(1.0) - samples[n, 7])
                total[0] *= np.float32(1.0) + WARMTH * shadow
                total[2] *= np.float32(1.0) - WARMTH * shadow
            for k in range(3):
                out[y, x, k] = np.uint8(
                    min(max(np.rint(total[k]), np.float32(0.0)), np.float32(255.0))
                )


def compose(
    raster: Raster,
    triangles: NDArray[np.int32],
    layer: NDArray[np.uint8],
    attributes: NDArray[np.float32],
    colours: NDArray[np.float32],
    light: NDArray[np.float32],
    flesh: NDArray[np.float32],
    under: NDArray[np.float32],
    pictures: NDArray[np.float32],
) -> NDArray[np.uint8]:
    """Colour one frame.

    Args:
        raster: the posed head drawn at [2H, 2W].
        triangles: [F, 3] of that raster.
        layer: [F], ``SKIN``, ``EYE`` or ``INTERIOR``.
        attributes: [V, 8]: position in the photo, trust in it (the rest comes from the warp),
            position of the mirrored twin and share of its colour, share of the layer's own
            picture in place of the photo (of plain colour, for the interior), brightness (for
            the interior: how far ``light`` holds for the photo's own mouth).
        colours: [V, 3], 0..255, of the interior.
        light: [2H, 2W], share of light that reaches each sample of the interior.
        flesh: [3], 0..255, what the interior looks like where no light reaches it but that which
            shines through lips and cheeks.
        under: [H, W, 2], position in the photo of every pixel by the warp alone.
        pictures: packed ``PHOTO``, ``WITHOUT_EYES``, ``EYES_ONLY``, ``MOUTH_ONLY``, 0..255.

    Returns:
        [H, W, 3] uint8.

    Raises:
        ValueError: raster, ``under`` and pictures do not belong to one size.
    """
    height, width = under.shape[:2]
    if raster.face.shape != (2 * height, 2 * width) or light.shape != raster.face.shape:
        raise ValueError(
            f"raster is {raster.face.shape} and light {light.shape}, but twice "
            f"{(height, width)} is needed for their samples"
        )
    if pictures.shape != (4, height + 4, width + 4, 4):
        raise ValueError(f"pictures have shape {pictures.shape}: pack four of {(height, width)}")
    out = np.empty((height, width, 3), np.uint8)
    _compose(
        raster.face,
        raster.barycentric,
        triangles,
        layer,
        attributes,
        colours,
        light,
        flesh,
        under,
        pictures.ravel(),
        out,
    )
    return out
