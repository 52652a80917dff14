"""What an identity looks like: skin, hair, clothes, light and background, all procedural.

Hair and clothes are simple surfaces made here; the head is the open head model (CC0).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, zoom

from dimitra.morphable.model import FaceModel, vertex_normals

Array = NDArray[np.float32]

_SKIN, _HAIR, _CLOTH, _PLAIN, EYE = range(5)

DETAIL_PX = 1024
_NECK_CUT = -1.02
_NECK_ROWS, _BODY_ROWS = 4, 12
_NECK_SHADE = 0.72
"""The chin's shadow."""

_HAIR_COLOURS = (
    (0.08, 0.06, 0.05), (0.14, 0.09, 0.06), (0.26, 0.16, 0.09), (0.42, 0.27, 0.13),
    (0.62, 0.45, 0.24), (0.45, 0.18, 0.08), (0.50, 0.48, 0.46), (0.06, 0.06, 0.08),
)  # fmt: skip
_CLOTH_COLOURS = (
    (0.15, 0.22, 0.40), (0.55, 0.12, 0.14), (0.12, 0.32, 0.24), (0.75, 0.73, 0.68),
    (0.20, 0.20, 0.22), (0.60, 0.45, 0.15), (0.38, 0.22, 0.45), (0.25, 0.48, 0.58),
)  # fmt: skip
_WALL_COLOURS = (
    (0.62, 0.66, 0.70), (0.35, 0.42, 0.50), (0.70, 0.64, 0.55), (0.42, 0.50, 0.42),
    (0.55, 0.45, 0.45), (0.25, 0.28, 0.34), (0.78, 0.77, 0.74), (0.48, 0.52, 0.62),
)  # fmt: skip


@dataclass(frozen=True)
class Look:
    """An identity's appearance.

    Attributes:
        identity: the model's identity coefficients, ``[80]``.
        texture: the model's texture coefficients, ``[80]``.
        albedo: head vertex colours, sRGB, ``[V, 3]``.
        detail: skin, hair and cloth detail, a factor on the albedo times 128, ``[3, S, S, 3]``.
        hair_thickness: how far the hair stands off each head vertex, negative for none, ``[V]``.
        hair_length: model units that the hair falls below the crown; 0 for short hair.
        hair_colour: sRGB.
        cloth_colour: sRGB.
        wall: background colours at the top and bottom, ``[2, 3]``.
        light: direction towards the key light, unit.
        ambient: its share of the light.
        warmth: key light's tint, sRGB factors.
    """

    identity: Array
    texture: Array
    albedo: Array
    detail: NDArray[np.uint8]
    hair_thickness: Array
    hair_length: float
    hair_colour: tuple[float, float, float]
    cloth_colour: tuple[float, float, float]
    wall: Array
    light: Array
    ambient: float
    warmth: Array


def _noise(
    generator: np.random.Generator, size: int, grain: tuple[float, float]
) -> NDArray[np.float64]:
    """Smooth noise of unit deviation with the given grain in texels (rows, columns)."""
    field = gaussian_filter(generator.standard_normal((size, size)), grain, mode="wrap")
    return np.asarray(field / field.std())


def _detail(generator: np.random.Generator, freckles: float) -> NDArray[np.uint8]:
    """Skin pores and blotches, hair strands, cloth weave, ``[3, S, S, 3]``."""
    size = DETAIL_PX
    blotch = _noise(generator, size, (24, 24))
    fine = _noise(generator, size, (1.2, 1.2)) + 0.8 * _noise(generator, size, (4.0, 4.0))
    spots = np.clip(_noise(generator, size, (2.0, 2.0)) - 2.1, 0, 0.8) * freckles
    skin = 1 + 0.020 * fine[..., None] + 0.024 * blotch[..., None] * np.array([0.4, 1.0, 0.9])
    skin = skin - spots[..., None] * np.array([0.18, 0.32, 0.38])
    strands = _noise(generator, size, (80, 1.2)) + 0.7 * _noise(generator, size, (120, 5.0))
    hair = 1 + 0.26 * strands[..., None] * np.ones(3)
    weave = _noise(generator, size, (1.2, 1.2))
    folds = _noise(generator, size, (60, 24))
    cloth = 1 + (0.04 * weave + 0.10 * folds)[..., None] * np.ones(3)
    layers = np.clip(np.stack([skin, hair, cloth]) * 128, 0, 255)
    return np.asarray(layers, np.uint8)


def _smoothed(values: NDArray[np.float64], model: FaceModel, rounds: int) -> NDArray[np.float64]:
    """Vertex values averaged over the mesh's edges, so that their contours are smooth, ``[V]``."""
    triangles = model.triangles.numpy()
    ends = np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]])
    count = np.bincount(ends[:, 0], minlength=len(values))
    for _ in range(rounds):
        total = np.bincount(ends[:, 0], values[ends[:, 1]], minlength=len(values))
        values = 0.5 * values + 0.5 * total / np.maximum(count, 1)
    return values


def _hair(model: FaceModel, generator: np.random.Generator, long_hair: bool) -> tuple[Array, float]:
    """Thickness of the hair at every head vertex, and how far it falls."""
    mean = model.mean.numpy()
    inside = _smoothed(model.part("scalp").numpy().astype(np.float64), model, rounds=6)
    crown = np.clip((mean[:, 1] - 0.1) / 1.2, 0, 1)
    height = generator.uniform(0.10, 0.17) if long_hair else generator.uniform(0.06, 0.13)
    waves = np.sin(mean @ generator.normal(0, 3.5, (3, 4)) + generator.uniform(0, 6, 4)).mean(1)
    amount = np.clip(2.2 * inside - 0.95, -0.35, 1.0) * height
    amount = amount * (0.55 + 0.6 * crown) * (1 + 0.35 * waves)
    length = float(generator.uniform(1.9, 2.7)) if long_hair else 0.0
    return amount.astype(np.float32), length


def make_look(model: FaceModel, gender: str, generator: np.random.Generator) -> Look:
    """Draw an appearance.

    Args:
        model: the open head.
        gender: ``f`` or ``m``, of the voice; decides only on hair length and stubble.
        generator: for all that is random.
    """
    identity = np.clip(generator.standard_normal(80), -2.2, 2.2).astype(np.float32) * 0.7
    texture = np.clip(generator.standard_normal(80), -2.0, 2.0).astype(np.float32) * 0.5
    texture[0] = generator.uniform(-1.7, 0.6)
    texture[1:3] *= 0.7  # skin red and yellow: stay among skin colours
    albedo = model.albedo(torch.from_numpy(texture)).numpy().copy()
    hair_colour = _HAIR_COLOURS[int(generator.integers(len(_HAIR_COLOURS)))]
    brows = model.part("brows").numpy()
    albedo[brows] = 0.45 * albedo[brows] + 0.55 * np.asarray(hair_colour, np.float32) * 1.1
    scalp = model.part("scalp").numpy()
    albedo[scalp] = 0.3 * albedo[scalp] + 0.7 * np.asarray(hair_colour, np.float32)
    if gender == "m" and generator.random() < 0.7:
        _add_stubble(model, albedo, float(generator.uniform(0.08, 0.3)))
    interior = model.part("mouth_interior").numpy()
    albedo[interior] *= np.array([0.24, 0.14, 0.14], np.float32)
    albedo[model.part("tongue").numpy()] *= np.array([0.62, 0.5, 0.5], np.float32)
    teeth = model.part("upper_teeth", "lower_teeth").numpy()
    side = np.abs(model.mean.numpy()[teeth, :1])  # the lips' shadow darkens the back teeth
    shadow = 1 - 0.85 * np.clip((side - 0.10) / 0.12, 0, 1)
    albedo[teeth] *= (shadow * np.array([0.86, 0.84, 0.78])).astype(np.float32)
    thickness, length = _hair(model, generator, long_hair=gender == "f")
    wall = np.asarray(_WALL_COLOURS[int(generator.integers(len(_WALL_COLOURS)))], np.float32)
    azimuth = generator.uniform(0.35, 1.0) * generator.choice([-1, 1])
    height = generator.uniform(0.25, 0.75)
    light = np.array([np.sin(azimuth), height, np.cos(azimuth)], np.float32)
    tint = generator.uniform(-0.05, 0.05)
    return Look(
        identity=identity,
        texture=texture,
        albedo=np.clip(albedo, 0.02, 1.6).astype(np.float32),
        detail=_detail(generator, float(generator.choice([0.0, 0.0, 0.25, 0.5]))),
        hair_thickness=thickness,
        hair_length=length,
        hair_colour=hair_colour,
        cloth_colour=_CLOTH_COLOURS[int(generator.integers(len(_CLOTH_COLOURS)))],
        wall=np.stack([wall * 1.12, wall * generator.uniform(0.55, 0.85)]).astype(np.float32),
        light=light / np.linalg.norm(light),
        ambient=float(generator.uniform(0.32, 0.42)),
        warmth=np.array([1 + tint, 1.0, 1 - tint], np.float32),
    )


def _add_stubble(model: FaceModel, albedo: Array, strength: float) -> None:
    mean = model.mean.numpy()
    jaw = np.clip((-0.30 - mean[:, 1]) / 0.12, 0, 1) * np.clip((mean[:, 2] + 0.55) / 0.3, 0, 1)
    lip = np.exp(-(((mean[:, 1] + 0.20) / 0.06) ** 2)) * (np.abs(mean[:, 0]) < 0.28)
    amount = np.clip(np.maximum(jaw, lip), 0, 1) * model.part("skin").numpy() * strength
    albedo *= (1 - amount[:, None] * np.array([1.0, 0.95, 0.85])).astype(np.float32)


def wall_image(look: Look, size: int, generator: np.random.Generator) -> Array:
    """A soft background, ``[size, size, 3]`` in [0, 1]: a gradient, a glow and blurred shapes."""
    ramp = np.linspace(0, 1, size)[:, None, None]
    image = look.wall[0] * (1 - ramp) + look.wall[1] * ramp + np.zeros((size, size, 3))
    y, x = np.mgrid[0:size, 0:size] / size
    cx, cy = generator.uniform(0.1, 0.9), generator.uniform(0.1, 0.5)
    image += 0.14 * np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / 0.08)[..., None]
    coarse = np.zeros((16, 16, 3))
    for _ in range(4):
        r, c = generator.integers(0, 12, 2)
        h, w = generator.integers(3, 10, 2)
        coarse[r : r + h, c : c + w] += generator.uniform(-0.10, 0.10, 3)
    blurred = zoom(coarse, (size / 16, size / 16, 1), order=1)
    image += gaussian_filter(blurred, (size / 60, size / 60, 0))
    image += generator.standard_normal((size, size, 1)) * 0.006
    return np.asarray(np.clip(image, 0.02, 0.98), np.float32)


@dataclass(frozen=True)
class Surfaces:
    """The scene's static topology and materials, head first, then hair, then body.

    Attributes:
        triangles: ``[F, 3]``.
        albedo: ``[N, 3]`` sRGB.
        gloss: specular strength, ``[N]``.
        material: of each triangle; skin, hair and cloth are the layers of ``Look.detail``, ``[F]``.
        corner_uv: ``[F, 3, 2]``, in [0, 1], v down.
        hair_source: head vertex that each hair-cap vertex follows, ``[H]``.
        curtain: hair that falls, in the head's frame, ``[C, 3]``.
        body: shoulders, in the camera's frame, ``[B, 3]``.
    """

    triangles: NDArray[np.int64]
    albedo: Array
    gloss: Array
    material: NDArray[np.int64]
    corner_uv: Array
    hair_source: NDArray[np.int64]
    curtain: Array
    body: Array


def _grid(rows: int, columns: int, closed: bool) -> NDArray[np.int64]:
    """Triangles of a grid of vertices, row by row; outward if rows go down and columns ahead."""
    across = columns if closed else columns - 1
    r, c = np.meshgrid(np.arange(rows - 1), np.arange(across), indexing="ij")
    a, b = r * columns + c, r * columns + (c + 1) % columns
    d, e = a + columns, b + columns
    return np.concatenate(
        [np.stack([a, d, b], -1).reshape(-1, 3), np.stack([b, d, e], -1).reshape(-1, 3)]
    )


def _body(width: float) -> Array:
    """Shoulders and chest under a round collar, ``[rows * 48, 3]``, closed around."""
    heights = np.array(
        [-0.74, -0.86, -0.95, -1.02, -1.08, -1.18, -1.32, -1.5, -1.75, -2.1, -2.8, -4.0]
    )
    across = np.array([0.55, 0.56, 0.56, 0.58, 0.66, 0.95, 1.30, 1.58, 1.72, 1.78, 1.75, 1.7])
    depth = np.array([0.50, 0.51, 0.52, 0.53, 0.55, 0.58, 0.62, 0.68, 0.74, 0.80, 0.82, 0.8])
    angle = np.linspace(np.pi, 3 * np.pi, 48, endpoint=False)
    front, side = np.cos(angle), np.sin(angle)
    rows = []
    for y, a, d in zip(heights, across, depth, strict=True):
        low = (
            -0.24 * np.clip(front, 0, 1) * np.clip((y + 1.5) / 0.5, 0, 1)
        )  # the collar dips in front
        x = np.sign(side) * np.abs(side) ** 0.85 * (0.5 + (a - 0.5) * width if a > 0.56 else a)
        rows.append(np.stack([x, y + low, -0.50 + d * front], 1))
    return np.concatenate(rows).astype(np.float32)


def _neck() -> Array:
    """The neck inside the collar, which the head's own neck runs into."""
    angle = np.linspace(np.pi, 3 * np.pi, 48, endpoint=False)
    rows = []
    for y, radius in zip(
        np.linspace(-0.50, -1.1, _NECK_ROWS), (0.36, 0.44, 0.47, 0.50), strict=True
    ):
        x, z = radius * np.sin(angle), -0.52 + 0.92 * radius * np.cos(angle)
        rows.append(np.stack([x, np.full_like(x, y), z], 1))
    return np.concatenate(rows).astype(np.float32)


def _curtain(length: float, model_top: float) -> Array:
    """Hair that falls behind the face, open in front, ``[14 * 40, 3]``."""
    angle = np.linspace(-1.72, 1.72, 40)  # 0 is the back of the head
    rows = []
    for t in np.linspace(0, 1, 14):
        y = model_top - 0.45 - t * length
        bulge = 0.62 + 0.27 * np.sin(np.pi / 2 * min(t * 3.0, 1)) - 0.08 * t
        wave = 1 + 0.02 * np.sin(9 * angle + 4 * t)
        x = bulge * np.sin(angle) * wave
        z = -0.62 - (0.92 - 0.12 * t) * np.cos(angle) * wave
        rows.append(np.stack([x, np.full_like(x, y), z], 1))
    return np.concatenate(rows).astype(np.float32)


def _ragged(mean: Array) -> NDArray[np.bool_]:
    """Vertices of the neck's ragged lower edge, which the collar replaces, ``[V]``."""
    x, y = np.abs(mean[:, 0]), mean[:, 1]
    return np.asarray((y < _NECK_CUT) | ((y < -0.55) & (x > 0.50) & (mean[:, 2] < -0.40)))


def make_surfaces(model: FaceModel, look: Look, gender: str) -> Surfaces:
    """Topology and materials of one identity's scene."""
    triangles = model.triangles.numpy().astype(np.int64)
    hidden = _ragged(model.mean.numpy())[triangles].any(1)
    triangles = triangles[~hidden]
    # Where the thickness is negative the cap lies under the skin: the two cut in a smooth hairline.
    cap_triangles = triangles[(look.hair_thickness > 0)[triangles].any(1)]
    source = np.unique(cap_triangles)
    remap = np.zeros(len(look.hair_thickness), np.int64)
    remap[source] = np.arange(len(source))
    count = len(look.albedo)
    cap = remap[cap_triangles] + count
    count += len(source)
    curtain = np.zeros((0, 3), np.float32)
    curtain_triangles = np.zeros((0, 3), np.int64)
    if look.hair_length > 0:
        curtain = _curtain(look.hair_length, 1.3)
        curtain_triangles = _grid(14, 40, closed=False) + count
    count += len(curtain)
    body = np.concatenate([_neck(), _body(0.86 if gender == "f" else 1.0)])
    neck_triangles = _grid(_NECK_ROWS, 48, closed=True) + count
    cloth_triangles = _grid(_BODY_ROWS, 48, closed=True) + count + _NECK_ROWS * 48
    hair = np.asarray(look.hair_colour, np.float32)
    neck = look.albedo[model.part("neck").numpy()].mean(0)
    albedo = np.concatenate(
        [
            look.albedo,
            np.repeat(hair[None], len(source) + len(curtain), 0),
            np.repeat(_NECK_SHADE * neck[None], _NECK_ROWS * 48, 0),
            np.repeat(np.asarray(look.cloth_colour, np.float32)[None], _BODY_ROWS * 48, 0),
        ]
    )
    gloss = np.full(len(albedo), 0.05, np.float32)
    gloss[: len(look.albedo)] = 0.09
    eyes = model.part("sclera", "iris", "pupil").numpy()
    wet = model.part("lips", "upper_teeth", "lower_teeth", "tongue").numpy()
    gloss[: len(look.albedo)][wet] = 0.16
    gloss[: len(look.albedo)][eyes] = 0.0
    gloss[-len(body) :] = 0.0
    skin = model.part("skin", "ears", "neck", "lips", "eyelids").numpy()
    eye_faces = eyes[triangles].all(1)
    kind = np.where(eye_faces, EYE, np.where(skin[triangles].all(1), _SKIN, _PLAIN))
    material = np.concatenate(
        [
            kind,
            np.full(len(cap) + len(curtain_triangles), _HAIR),
            np.full(len(neck_triangles), _PLAIN),
            np.full(len(cloth_triangles), _CLOTH),
        ]
    )
    uv = model.uv.numpy()[model.uv_triangles.numpy()][~hidden]
    head_uv = np.stack([uv[..., 0], 1 - uv[..., 1]], -1)
    mean = model.mean.numpy()[source]
    around = np.stack(
        [np.arctan2(mean[:, 0], mean[:, 2] + 0.6) / 7.0 + 0.5, mean[:, 1] / 3 + 0.5], 1
    )
    cap_uv = around[remap[cap_triangles]]
    curtain_uv = _grid_uv(14, 40, False)
    parts = [head_uv, cap_uv] + ([curtain_uv] if len(curtain) else [])
    parts += [_grid_uv(_NECK_ROWS, 48, True), _grid_uv(_BODY_ROWS, 48, True)]
    return Surfaces(
        triangles=np.concatenate(
            [triangles, cap, curtain_triangles, neck_triangles, cloth_triangles]
        ),
        albedo=albedo.astype(np.float32),
        gloss=gloss,
        material=material.astype(np.int64),
        corner_uv=np.concatenate(parts).astype(np.float32),
        hair_source=source,
        curtain=curtain,
        body=body,
    )


def _grid_uv(rows: int, columns: int, closed: bool) -> NDArray[np.float64]:
    r, c = np.mgrid[0:rows, 0:columns]
    uv = np.stack([c / columns, r / rows], -1).reshape(-1, 2)
    return np.asarray(uv[_grid(rows, columns, closed)])


def head_normals(vertices: Array, model: FaceModel) -> Array:
    """Unit normals of the head mesh, ``[V, 3]``."""
    return vertex_normals(torch.from_numpy(vertices), model.triangles).numpy()
