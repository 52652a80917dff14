"""Triangles and materials of a scene: the head, its hair or headwear, neck and clothes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dimitra.morphable.model import FaceModel
from dimitra.sample.appearance import NECK_SHADE, Array, Look
from dimitra.sample.clothes import make_body, neck_half_width
from dimitra.sample.hair import HEADWEAR
from dimitra.sample.paint import unwrap
from dimitra.sample.teeth import tooth_coordinates

SKIN, HAIR, CLOTH, PLAIN, EYE, TEETH = range(6)
"""Materials; skin, hair and cloth are the layers of ``Look.detail``."""


@dataclass(frozen=True)
class Surfaces:
    """The scene's static topology and materials: head, hair cap, falling hair, then body.

    Attributes:
        triangles: ``[F, 3]``.
        albedo: ``[N, 3]`` sRGB.
        gloss: specular strength, ``[N]``.
        material: of each triangle, ``[F]``.
        corner_uv: ``[F, 3, 2]``, in [0, 1], v down; for teeth see ``teeth``.
        hair_source: head vertex that each hair-cap vertex follows, ``[H]``.
        curtain: hair that falls, in the head's frame, ``[C, 3]``.
        body: neck and shoulders, in the camera's frame, ``[B, 3]``.
        first_body_face: triangles from this one on are neck, chest and clothes.
    """

    triangles: NDArray[np.int64]
    albedo: Array
    gloss: Array
    material: NDArray[np.int64]
    corner_uv: Array
    hair_source: NDArray[np.int64]
    curtain: Array
    body: Array
    first_body_face: int


def _grid(rows: int, columns: int, closed: bool) -> NDArray[np.int64]:
    """Triangles of a grid of vertices, row by row; outward if rows go down and columns ahead."""
    across = columns if closed else columns - 1
    r, c = np.meshgrid(np.arange(rows - 1), np.arange(across), indexing="ij")
    a, b = r * columns + c, r * columns + (c + 1) % columns
    d, e = a + columns, b + columns
    return np.concatenate(
        [np.stack([a, d, b], -1).reshape(-1, 3), np.stack([b, d, e], -1).reshape(-1, 3)]
    )


def _grid_uv(rows: int, columns: int, closed: bool) -> NDArray[np.float64]:
    r, c = np.mgrid[0:rows, 0:columns]
    uv = np.stack([c / columns, r / max(rows, 1)], -1).reshape(-1, 2)
    return np.asarray(uv[_grid(rows, columns, closed)])


@dataclass(frozen=True)
class _Block:
    """One connected part of the scene, its vertices counted from 0."""

    albedo: NDArray[Any]
    triangles: NDArray[np.int64]
    material: NDArray[np.int64]
    corner_uv: NDArray[np.float64]


def _repeat(value: Any, count: int) -> NDArray[Any]:
    array = np.asarray(value)
    return np.broadcast_to(array, (count, *array.shape))


def _grid_block(points: Array, closed: bool, material: int, colour: Array) -> _Block:
    """A grid of points ``[R, C, 3]`` of one colour ``[3]``, or a colour each."""
    rows, columns = points.shape[:2]
    triangles = _grid(rows, columns, closed)
    return _Block(
        np.broadcast_to(colour, points.shape).reshape(-1, 3),
        triangles,
        _repeat(np.int64(material), len(triangles)),
        _grid_uv(rows, columns, closed),
    )


def _replaced(model: FaceModel, look: Look) -> NDArray[np.bool_]:
    """Head vertices that the body's neck replaces, or headwear hides, ``[V]``."""
    x, y, z = model.vertices(torch.from_numpy(look.identity), torch.zeros(64)).numpy().T
    flared = (np.abs(x) > neck_half_width(y) + 0.015) & (y < -0.5) & (z < -0.3)
    back = (y < -0.30) & (z < -0.72)  # would swing out sideways as the head turns
    hidden = (model.mean.numpy()[:, 1] < -0.86) | flared | back
    if look.hair.style == "scarf":
        hidden |= model.part("ears").numpy()
    return np.asarray(hidden)


def _head(
    model: FaceModel, look: Look
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """The head's triangles ``[F, 3]``, their materials ``[F]`` and corners ``[F, 3, 2]``."""
    mean = model.mean.numpy()
    triangles = model.triangles.numpy().astype(np.int64)
    triangles = triangles[~_replaced(model, look)[triangles].any(1)]
    eyes = model.part("sclera", "iris", "pupil").numpy()
    skin = model.part("skin", "ears", "neck", "lips", "eyelids", "brows", "scalp").numpy()
    material = np.where(skin[triangles].all(1), SKIN, PLAIN)
    material[eyes[triangles].all(1)] = EYE
    corners = unwrap(mean)[triangles]
    faces, tooth_corners = tooth_coordinates(model, triangles)
    material[faces] = TEETH
    corners[faces] = tooth_corners
    return triangles, material, corners


def make_surfaces(model: FaceModel, look: Look, gender: str) -> Surfaces:
    """Topology and materials of one identity's scene."""
    mean = model.mean.numpy()
    triangles, material, corners = _head(model, look)
    # Where the thickness is negative the cap lies under the skin: the two cut in a smooth hairline.
    cap = triangles[(look.hair.thickness > 0)[triangles].any(1)]
    source, cap = np.unique(cap, return_inverse=True)
    cap = cap.reshape(-1, 3)
    around = np.stack(
        [np.arctan2(mean[:, 0], mean[:, 2] + 0.6) / 7.0 + 0.5, mean[:, 1] / 3 + 0.5], 1
    )[source]
    skin, cloth = make_body(look.collar, 0.86 if gender == "f" else 1.0)
    worn = look.hair.style in HEADWEAR
    cover = np.asarray(look.headwear_colour if worn else look.hair.colour, np.float32)
    neck = NECK_SHADE * look.albedo[model.part("skin").numpy()].mean(0)
    chest = np.linspace(1.0, 1.0 / NECK_SHADE, skin.shape[0])[:, None, None] * neck
    chest = np.clip(np.broadcast_to(chest, skin.shape), 0, 1.4)
    material_of_cover = CLOTH if worn else HAIR
    blocks = [
        _Block(look.albedo, triangles, material, corners),
        _Block(
            _repeat(cover, len(source)),
            cap,
            _repeat(np.int64(material_of_cover), len(cap)),
            around[cap],
        ),
        _grid_block(look.hair.fall, False, material_of_cover, cover),
        _grid_block(skin, True, PLAIN, chest),
        _grid_block(cloth, True, CLOTH, np.asarray(look.cloth_colour, np.float32)),
    ]
    starts = np.cumsum([0, *(len(block.albedo) for block in blocks)])
    start = int(starts[-1])
    gloss = np.full(start, 0.05, np.float32)
    gloss[: len(mean)] = 0.09
    gloss[: len(mean)][model.part("lips").numpy()] = 0.16
    inner = model.part("upper_teeth", "lower_teeth", "tongue", "mouth_interior").numpy()
    gloss[: len(mean)][inner] = 0.10
    gloss[: len(mean)][model.part("sclera", "iris", "pupil").numpy()] = 0.0
    if worn:
        gloss[len(mean) :] = 0.0
    gloss[-skin.size // 3 - cloth.size // 3 :] = 0.0
    return Surfaces(
        triangles=np.concatenate(
            [block.triangles + first for block, first in zip(blocks, starts[:-1], strict=True)]
        ),
        albedo=np.concatenate([block.albedo for block in blocks]).astype(np.float32),
        gloss=gloss,
        material=np.concatenate([block.material for block in blocks]),
        corner_uv=np.concatenate([block.corner_uv for block in blocks]).astype(np.float32),
        hair_source=source,
        curtain=look.hair.fall.reshape(-1, 3),
        body=np.concatenate([skin.reshape(-1, 3), cloth.reshape(-1, 3)]),
        first_body_face=sum(len(block.triangles) for block in blocks[:3]),
    )
