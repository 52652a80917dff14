"""``composite`` in torch, for a batch of frames on a device.

A pixel's four samples are planes of the batch. Samples that agree with an earlier one join it; each
that is left is read from the pictures, and every pixel adds up its reads in the same order.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from dimitra.render.composite import (
    FILL,
    INTERIOR,
    PHOTO,
    SAME_PX,
    SHADE,
    SKIN,
    SOURCE_X,
    SOURCE_Y,
    TRUST,
    TWIN_TRUST,
    TWIN_X,
    TWIN_Y,
    WARMTH,
    WITHOUT_EYES,
)
from dimitra.render.device_portrait import DevicePortrait
from dimitra.render.device_raster import Rasters, weighted
from dimitra.render.device_vertices import Vertices

SAMPLES = 4
"""Samples of a pixel, row by row."""


@dataclass
class _Samples:
    """One sample of each of Q pixels, or several that agree, averaged.

    Attributes:
        layer: of the triangle; ``SKIN`` beside the head.
        values: columns: position in the photo (0, 1), share of the layer's own picture (2),
            position and share of the mirrored twin (3 to 5), brightness (6).
        count: samples that this one stands for; 0: it has joined another.
    """

    layer: Int[Tensor, " pixels"]
    values: Float[Tensor, "pixels 7"]
    count: Float[Tensor, " pixels"]


def compose(
    rasters: Rasters,
    triangles: Int[Tensor, "faces 3"],
    vertices: Vertices,
    light: Float[Tensor, "frames height width"],
    under: Float[Tensor, "frames side side 2"],
    portrait: DevicePortrait,
) -> UInt8[Tensor, "frames side side 3"]:
    """Colour the frames of a batch.

    Args:
        rasters: the posed heads, at twice the size.
        triangles: of those rasters.
        vertices: of those frames.
        light: share of light that reaches each sample of the interior.
        under: position in the photo of every pixel by the warp alone.
        portrait: layers, interior's colours and pictures.
    """
    frames, side = under.shape[:2]
    beside = under.reshape(-1, 2)
    drawn = (rasters.face >= 0).view(frames, side, 2, side, 2).any(dim=4).any(dim=2).flatten()
    colours = torch.empty((len(beside), 3), device=beside.device)
    rest = (~drawn).nonzero()[:, 0]
    colours[rest] = _cubic(portrait, PHOTO, beside[rest])

    on_head = drawn.nonzero()[:, 0]
    total = torch.zeros((len(on_head), 3), device=beside.device)
    samples = []
    for number in range(SAMPLES):
        at = _places(on_head, number, side)
        sample, plain = _sample(at, rasters, triangles, vertices, light, beside[on_head], portrait)
        samples.append(sample)
        total += plain
    shadow = torch.zeros(len(on_head), device=beside.device)
    for sample in samples:
        shadow += 0.25 * (1.0 - sample.values[:, 6])
    for sample in _merged(samples):
        for chosen, picture, place, share in _reads(sample):
            pixels = chosen.nonzero()[:, 0]
            read = _cubic(portrait, picture[pixels], place[pixels])
            total[pixels] += share[pixels, None] * read
    total[:, 0] *= 1.0 + float(WARMTH) * shadow
    total[:, 2] *= 1.0 - float(WARMTH) * shadow
    colours[on_head] = total
    levels = torch.round(colours).clamp(0.0, 255.0).to(torch.uint8)
    return levels.view(frames, side, side, 3)


def _places(pixels: Int[Tensor, " pixels"], number: int, side: int) -> Int[Tensor, " pixels"]:
    """Places of the pixels' sample ``number`` in rasters of twice the size, counted through."""
    rows, column = torch.div(pixels, side, rounding_mode="floor"), pixels % side
    return (2 * rows + number // 2) * (2 * side) + 2 * column + number % 2


def _sample(
    at: Int[Tensor, " pixels"],
    rasters: Rasters,
    triangles: Int[Tensor, "faces 3"],
    vertices: Vertices,
    light: Float[Tensor, "frames height width"],
    beside: Float[Tensor, "pixels 2"],
    portrait: DevicePortrait,
) -> tuple[_Samples, Float[Tensor, "pixels 3"]]:
    """One sample of each pixel, and its share of the interior's plain colours."""
    found = rasters.face.flatten()[at]
    face, on_head = found.clamp(min=0), found >= 0
    barycentric = rasters.barycentric.view(-1, 3)[at]
    frame = torch.div(at, rasters.face[0].numel(), rounding_mode="floor")
    count = vertices.attributes.shape[1]
    corners = triangles[face] + count * frame[:, None]
    own = weighted(barycentric, vertices.attributes.flatten(0, 1)[corners])
    layer = torch.where(on_head, portrait.layer[face], SKIN)
    skin, interior = on_head & (layer == SKIN), layer == INTERIOR

    trust = own[:, TRUST]
    blended = trust[:, None] * own[:, [SOURCE_X, SOURCE_Y]] + (1.0 - trust)[:, None] * beside
    place = torch.where(skin[:, None], blended, own[:, [SOURCE_X, SOURCE_Y]])
    place = torch.where(on_head[:, None], place, beside)
    fill = torch.where(skin, own[:, FILL] * trust, own[:, FILL])
    twin = torch.where(skin & (own[:, TWIN_TRUST] > 0.0), own[:, TWIN_TRUST], 0.0)
    lit = light.flatten()[at]
    shade = torch.where(interior, 1.0 - own[:, SHADE] * (1.0 - lit), own[:, SHADE])
    values = torch.stack(
        [
            *place.unbind(1),
            torch.where(on_head, fill, 0.0),
            own[:, TWIN_X],
            own[:, TWIN_Y],
            twin,
            torch.where(on_head, shade, 1.0),
        ],
        dim=1,
    )
    plain = torch.zeros((len(at), 3), device=at.device)
    mouth = interior.nonzero()[:, 0]
    tint = weighted(barycentric[mouth], vertices.colours.flatten(0, 1)[corners[mouth]])
    rest = 0.25 * (1.0 - own[mouth, FILL])
    plain[mouth] = rest[:, None] * (portrait.flesh + lit[mouth, None] * (tint - portrait.flesh))
    return _Samples(layer, values, torch.ones_like(trust)), plain


def _merged(samples: list[_Samples]) -> list[_Samples]:
    """Average the samples that agree into the first of them.

    One layer, positions within ``SAME_PX``, and both or neither with a twin: the two sides of an
    edge stay apart.
    """
    kept: list[_Samples] = []
    for sample in samples:
        free = torch.ones_like(sample.count, dtype=torch.bool)
        for home in kept:
            joins = free & (home.count > 0) & _agree(sample, home)
            total = home.count + 1.0
            step = (1.0 / total)[:, None] * (sample.values - home.values)
            home.values = torch.where(joins[:, None], home.values + step, home.values)
            home.count = torch.where(joins, total, home.count)
            free &= ~joins
        kept.append(_Samples(sample.layer, sample.values, torch.where(free, 1.0, 0.0)))
    return kept


def _agree(a: _Samples, b: _Samples) -> Bool[Tensor, " pixels"]:
    near = ((a.values[:, :2] - b.values[:, :2]).abs() < SAME_PX).all(dim=1)
    return near & (a.layer == b.layer) & ((a.values[:, 5] > 0.0) == (b.values[:, 5] > 0.0))


def _reads(sample: _Samples) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor]]:
    """What to read of the pictures: which pixels, picture, place and share."""
    place, fill, twin = sample.values[:, :2], sample.values[:, 2], sample.values[:, 5]
    there = sample.count > 0
    share = 0.25 * sample.count * sample.values[:, 6]
    mirrored = there & (twin > 0.0)
    whole = torch.full_like(sample.layer, WITHOUT_EYES)
    yield mirrored, whole, sample.values[:, 3:5], share * twin
    share = torch.where(mirrored, share * (1.0 - twin), share)
    photo = there & (sample.layer != INTERIOR) & (fill < 1.0)
    yield photo, torch.full_like(sample.layer, PHOTO), place, share * (1.0 - fill)
    yield there & (fill > 0.0), WITHOUT_EYES + sample.layer, place, share * fill


def _weights(t: Float[Tensor, " reads"]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Catmull-Rom weights of four neighbours at fraction ``t``."""
    square = t * t
    return (
        0.5 * (square + square - t - square * t),
        0.5 * (3.0 * t - 5.0) * square + 1.0,
        0.5 * (t + square + square + square + square - 3.0 * square * t),
        0.5 * (t - 1.0) * square,
    )


def _cubic(
    portrait: DevicePortrait, picture: Int[Tensor, " reads"] | int, place: Float[Tensor, "reads 2"]
) -> Float[Tensor, "reads 3"]:
    """Cubic interpolation of the packed pictures, clamped at the border."""
    side = portrait.photo.size
    clamped = place.clamp(0.0, float(side - 1))
    whole = clamped.to(torch.int64)
    fraction_x, fraction_y = (clamped - whole).unbind(1)
    stride = side + 4
    corner = (stride * picture + whole[:, 1] + 1) * stride + whole[:, 0] + 1
    columns, rows = _weights(fraction_x), _weights(fraction_y)
    colour = torch.zeros((len(place), 4), device=place.device)
    for j, row in enumerate(rows):
        line = columns[0][:, None] * portrait.pictures[corner + j * stride]
        for i in (1, 2, 3):
            line = line + columns[i][:, None] * portrait.pictures[corner + j * stride + i]
        colour = colour + row[:, None] * line
    return colour[:, :3]
