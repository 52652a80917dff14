"""The mouth: rows of teeth, the light that reaches its inside, and lips without the photo's teeth.

The inside is lit through the lips alone. How much arrives is told from the picture: in each column
of samples the inside is a run from one lip to the other, and a sample is the darker the nearer it
lies to either lip and the shorter the run is. So lips that part show a dark line, never teeth.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation, binary_propagation, gaussian_filter

from dimitra.compiled import compiled
from dimitra.render.inpaint import fill_unknown
from dimitra.render.rasterizer import Raster

UPPER_WIDTHS_MM = (8.5, 6.5, 7.5, 7.0, 7.0, 10.0, 10.0)
LOWER_WIDTHS_MM = (5.0, 5.5, 7.0, 7.0, 7.0, 11.0, 10.5)
"""Crowns from the middle to the back, as textbooks of dental anatomy round them."""
NO_TOOTH = -100.0
"""Number of what is no tooth."""
GAP_WIDTH, GAP_DEPTH = 0.09, 0.3
"""Half width of the gap between two teeth, in teeth, and how much darker it is."""
UPPER_LIP, LOWER_LIP = (0.5, 0.016), (0.35, 0.015)
"""Share of light that a lip takes beside it, and the distance (decimetres) over which it fades."""
SLIT_DM = 0.03
"""Opening of the lips at which 63 % of the light enters."""
ARCH_BINS = 14
REACH, RIM = 1 / 42, 1 / 128
"""How far from the opening the photo's teeth may lie on fitted lips, and where they surely do, as
shares of the photo's side."""
LIFT, DROP, OPEN_FROM = 0.12, 0.12, 0.05
"""The model's lips cover its teeth at any opening; beyond the last of these (decimetres) lower ones
rise, and upper ones sink, by these shares of the opening, as far as open mouths show them."""
DROP_LIMIT = 0.03
"""Upper teeth sink no further than this, decimetres."""
FLAT, FLAT_FROM, FLAT_AT = 0.62, 0.06, 0.3
"""The model's tongue fills an open mouth up to the palate; between these openings (decimetres) it
lowers to this share of its height above its tip, so that the dark above it shows."""
TONGUE_OUT = (-0.03, 0.05)
"""How far its tip reaches before the lower teeth (decimetres) where a tongue that comes out of the
mouth starts to keep its height, and keeps it."""
DARK = 0.45
"""Brightness beside the lips' below which a pixel next to the opening belongs to it."""
FEW_PIXELS = 12


def tooth_numbers(teeth: NDArray[np.float64], widths_mm: tuple[float, ...]) -> NDArray[np.float64]:
    """Where vertices [N, 3] of one row of teeth stand along it, in teeth from the middle, [N].

    0.5 is the middle of the first incisor, whole numbers are gaps.

    The row is the curve through the vertices' means, in equal angles seen from its back.
    """
    x, z = np.abs(teeth[:, 0]), teeth[:, 2] - teeth[:, 2].min()
    angle = np.arctan2(x, z + 0.05)
    sector = np.minimum((angle / angle.max() * ARCH_BINS).astype(int), ARCH_BINS - 1)
    used = np.unique(sector)
    curve = np.array([[x[sector == s].mean(), z[sector == s].mean()] for s in used])
    middle = np.array([angle[sector == s].mean() for s in used])
    curve, middle = np.vstack([[0.0, z[x < 0.03].max()], curve]), np.append(0.0, middle)
    along = np.append(0.0, np.cumsum(np.linalg.norm(np.diff(curve, axis=0), axis=1)))
    ends = np.append(0.0, np.cumsum(widths_mm)) / 100.0
    return np.asarray(np.interp(np.interp(angle, middle, along), ends, np.arange(len(ends))))


def open_mouth(
    vertices: torch.Tensor,
    opening: torch.Tensor,
    upper_teeth: NDArray[np.float64] | torch.Tensor,
    lower_teeth: NDArray[np.float64] | torch.Tensor,
    tongue: NDArray[np.float64] | torch.Tensor,
) -> None:
    """Move teeth and tongue of heads to where an open mouth shows them, in place.

    Args:
        vertices: [T, V, 3], model frame, decimetres.
        opening: [T], mean distance of the inner lips, decimetres.
        upper_teeth: [V], 1 on the upper teeth.
        lower_teeth: [V], 1 on the lower teeth.
        tongue: [V], 1 on the tongue.
    """
    upper, lower, flesh = (
        torch.as_tensor(part > 0, device=vertices.device)
        for part in (upper_teeth, lower_teeth, tongue)
    )
    beyond = torch.clamp(opening - OPEN_FROM, min=0.0)[:, None]
    vertices[:, upper, 1] -= torch.clamp(DROP * beyond, max=DROP_LIMIT)
    teeth = vertices[:, lower]
    body = vertices[:, flesh]
    tip = body[..., 2].argmax(dim=1, keepdim=True)
    out = body[..., 2].gather(1, tip) - teeth[..., 2].amax(dim=1, keepdim=True)
    out = torch.clamp((out - TONGUE_OUT[0]) / (TONGUE_OUT[1] - TONGUE_OUT[0]), 0.0, 1.0)
    flat = torch.clamp((opening[:, None] - FLAT_FROM) / (FLAT_AT - FLAT_FROM), 0.0, 1.0)
    height = torch.clamp(body[..., 1] - body[..., 1].gather(1, tip), min=0.0)
    vertices[:, flesh, 1] -= (1.0 - out) * FLAT * flat * height
    vertices[:, lower, 1] += LIFT * beyond


@compiled
def _light(
    face: NDArray[np.int32],
    barycentric: NDArray[np.float32],
    triangles: NDArray[np.int32],
    inside: NDArray[np.bool_],
    number: NDArray[np.float32],
    box: NDArray[np.int64],
    samples_per_dm: float,
    light: NDArray[np.float32],
) -> None:
    """Fill ``light`` in the columns and rows of ``box``: left, top, right, bottom."""
    light[:] = 1.0
    for u in range(box[0], box[2]):
        v = box[1]
        while v < box[3]:
            if face[v, u] < 0 or not inside[face[v, u]]:
                v += 1
                continue
            start = v
            while v < box[3] and face[v, u] >= 0 and inside[face[v, u]]:
                v += 1
            through = 1.0 - np.exp(-(v - start) / (SLIT_DM * samples_per_dm))
            for w in range(start, v):
                below_lip = (w - start + 0.5) / samples_per_dm
                above_lip = (v - w - 0.5) / samples_per_dm
                share = through * (1.0 - UPPER_LIP[0] * np.exp(-below_lip / UPPER_LIP[1]))
                share *= 1.0 - LOWER_LIP[0] * np.exp(-above_lip / LOWER_LIP[1])
                f = face[w, u]
                tooth = 0.0
                for k in range(3):
                    tooth += barycentric[w, u, k] * number[triangles[f, k]]
                if tooth > -0.5:
                    away = abs(tooth - np.rint(tooth)) / GAP_WIDTH
                    share *= 1.0 - GAP_DEPTH * np.exp(-away * away)
                light[w, u] = share


def light_inside(
    raster: Raster,
    triangles: NDArray[np.int32],
    inside: NDArray[np.bool_],
    number: NDArray[np.float32],
    points: NDArray[np.floating[Any]],
    samples_per_dm: float,
    light: NDArray[np.float32],
) -> None:
    """Share of light that reaches the inside of the mouth.

    Args:
        raster: the posed head.
        triangles: [F, 3].
        inside: [F], the mouth's inside.
        number: [V] of ``tooth_numbers``, ``NO_TOOTH`` elsewhere.
        points: [N, 2], vertices of the inside, samples of the raster.
        samples_per_dm: scale of the raster.
        light: [H, W], filled; 1 elsewhere.
    """
    height, width = light.shape
    low, high = np.floor(points.min(axis=0)), np.ceil(points.max(axis=0)) + 1
    box = np.clip([*low, *high], 0, [width, height, width, height]).astype(np.int64)
    _light(raster.face, raster.barycentric, triangles, inside, number, box, samples_per_dm, light)


def without_teeth(
    photo: NDArray[np.float32],
    skin: NDArray[np.float32],
    opening: NDArray[np.float32],
    lips: NDArray[np.float32],
) -> NDArray[np.float32]:
    """A picture in which lips go on where the photo's mouth is open.

    The fitted lips lie a pixel or two beside the photo's, so teeth and the dark between them show
    on lips that close. What is next to the opening and as pale as teeth, or as dark as the mouth,
    takes the colour of the nearest lip.

    Args:
        photo: [S, S, 3].
        skin: [S, S, 3], the picture to be changed.
        opening: [S, S], cover of the mouth's inside.
        lips: [S, S], cover of the lips.

    Returns:
        [S, S, 3].
    """
    size = len(photo)
    hole = opening > 0.0
    if hole.sum() < FEW_PIXELS:
        return skin
    near = binary_dilation(hole, iterations=max(2, round(REACH * size)))
    edge = binary_dilation(hole, iterations=max(1, round(RIM * size)))
    brightness = photo.mean(axis=2)
    redness = (photo[..., 0] - photo[..., 1]) / np.maximum(3.0 * brightness, 1.0)
    sure = (lips > 0.9) & ~binary_dilation(hole, iterations=max(2, round(2 * RIM * size)))
    if sure.sum() < FEW_PIXELS:
        return skin
    lip_red = float(np.quantile(redness[sure], 0.6))
    inner = hole & (brightness >= np.median(brightness[hole]))
    limit = 0.5 * (lip_red + min(float(np.median(redness[inner])), lip_red))
    lip = float(np.median(brightness[sure]))
    teeth = float(np.median(brightness[inner])) > lip
    pale = (redness < limit) & (brightness > lip) & teeth
    dark = brightness < DARK * lip
    foreign = binary_propagation(edge, mask=edge | (near & (pale | dark) & (lips > 0.0)))
    known = (lips > 0.5) & ~binary_dilation(foreign) & ~((redness < limit) & teeth) & ~dark
    if known.sum() < FEW_PIXELS:
        return skin
    filled = fill_unknown(photo, known)
    share = np.maximum(foreign, gaussian_filter(foreign.astype(np.float32), size / 256))[..., None]
    return np.asarray(skin + share * (filled - skin), np.float32)
