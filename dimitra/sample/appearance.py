"""What an identity looks like: skin, hair, clothes, light and background, all procedural.

Hair and clothes are simple surfaces made here; the head is the open head model (CC0).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, zoom

from dimitra.morphable.model import FaceModel
from dimitra.sample.clothes import COLLARS, Collar
from dimitra.sample.hair import Hair, make_hair, smooth_part
from dimitra.sample.paint import Hairs, paint

Array = NDArray[np.float32]

NECK_SHADE = 0.72
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
        hair: hair or headwear.
        collar: of the garment.
        cloth_colour: sRGB.
        headwear_colour: sRGB.
        wall: background colours at the top and bottom, ``[2, 3]``.
        light: direction towards the key light, unit.
        ambient: its share of the light.
        warmth: key light's tint, sRGB factors.
    """

    identity: Array
    texture: Array
    albedo: Array
    detail: NDArray[np.uint8]
    hair: Hair
    collar: Collar
    cloth_colour: tuple[float, float, float]
    headwear_colour: tuple[float, float, float]
    wall: Array
    light: Array
    ambient: float
    warmth: Array


def _pick(
    generator: np.random.Generator, colours: tuple[tuple[float, float, float], ...]
) -> tuple[float, float, float]:
    return colours[int(generator.integers(len(colours)))]


def _hairs(
    gender: str, colour: tuple[float, float, float], generator: np.random.Generator
) -> Hairs:
    low, high = (0.013, 0.022) if gender == "f" else (0.017, 0.030)
    beard = float(generator.choice([0.0, 0.10, 0.22, 0.5])) * float(generator.uniform(0.8, 1.2))
    return Hairs(
        colour=colour,
        brow_half_dm=float(generator.uniform(low, high)),
        brow_density=float(generator.uniform(0.55, 0.92)),
        brow_arch_dm=float(generator.uniform(-0.008, 0.016)),
        beard=beard if gender == "m" else 0.0,
        beard_reach=float(generator.uniform(0.2, 1.0)),
    )


def _head_colours(model: FaceModel, texture: Array, hair: Hair) -> tuple[Array, Array]:
    """Vertex colours ``[V, 3]``, and the skin's ``[3]``."""
    albedo = model.albedo(torch.from_numpy(texture)).numpy().copy()
    mean = model.mean.numpy()
    bare = model.part("skin").numpy() & (mean[:, 1] > 0.30) & (mean[:, 2] > 0.0)
    skin = albedo[bare].mean(0)
    albedo[model.part("brows").numpy()] = skin  # the brows are painted
    scalp = model.part("scalp").numpy()
    albedo[scalp] = skin
    share = hair.scalp[:, None]
    albedo = (1 - share) * albedo + share * np.asarray(hair.colour, np.float32)
    shade = 1 - (1 - NECK_SHADE) * smooth_part(model, "neck", 4)
    albedo *= shade[:, None].astype(np.float32)
    lips = albedo[model.part("lips").numpy()].mean(0)
    albedo[model.part("mouth_interior").numpy()] = lips * np.array([0.80, 0.62, 0.60], np.float32)
    albedo[model.part("tongue").numpy()] = np.array([0.84, 0.40, 0.40], np.float32)
    teeth = model.part("upper_teeth", "lower_teeth").numpy()
    albedo[teeth] *= np.array([1.08, 1.03, 0.94], np.float32)
    return np.clip(albedo, 0.02, 1.6).astype(np.float32), skin


def make_look(model: FaceModel, gender: str, generator: np.random.Generator) -> Look:
    """Draw an appearance.

    Args:
        model: the open head.
        gender: ``f`` or ``m``, of the voice; decides only on hair, brows and stubble.
        generator: for all that is random.
    """
    identity = np.clip(generator.standard_normal(80), -2.2, 2.2).astype(np.float32) * 0.7
    texture = np.clip(generator.standard_normal(80), -2.0, 2.0).astype(np.float32) * 0.5
    texture[0] = generator.uniform(-1.7, 0.6)
    texture[1:3] *= 0.7  # skin red and yellow: stay among skin colours
    hair_colour = _pick(generator, _HAIR_COLOURS)
    hair = make_hair(model, gender, hair_colour, generator)
    albedo, skin = _head_colours(model, texture, hair)
    freckles = float(generator.choice([0.0, 0.0, 0.25, 0.5]))
    detail = paint(generator, _hairs(gender, hair_colour, generator), skin, freckles)
    wall = np.asarray(_pick(generator, _WALL_COLOURS), np.float32)
    azimuth = generator.uniform(0.35, 1.0) * generator.choice([-1, 1])
    height = generator.uniform(0.25, 0.75)
    light = np.array([np.sin(azimuth), height, np.cos(azimuth)], np.float32)
    tint = generator.uniform(-0.05, 0.05)
    return Look(
        identity=identity,
        texture=texture,
        albedo=albedo,
        detail=detail,
        hair=hair,
        collar=COLLARS[int(generator.integers(len(COLLARS)))],
        cloth_colour=_pick(generator, _CLOTH_COLOURS),
        headwear_colour=_pick(generator, _CLOTH_COLOURS),
        wall=np.stack([wall * 1.12, wall * generator.uniform(0.55, 0.85)]).astype(np.float32),
        light=light / np.linalg.norm(light),
        ambient=float(generator.uniform(0.32, 0.42)),
        warmth=np.array([1 + tint, 1.0, 1 - tint], np.float32),
    )


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
