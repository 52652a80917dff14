"""Random heads with known coefficients, one picture each: what the head encoder learns from.

Nothing is shared with the sample corpus but the way of drawing: people, motion, cameras, light
and walls are drawn afresh. Pictures are blurred, noisy and compressed in every degree, because
video is.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter

from dimitra.morphable.camera import DISTANCE, angles_of, rotation, turn_ahead
from dimitra.morphable.model import FaceModel
from dimitra.sample.appearance import Array, make_look, wall_image
from dimitra.sample.motion import SENSES, Manner, animate
from dimitra.sample.phones import Span
from dimitra.sample.prosody import HOP_S, Prosody
from dimitra.sample.scene import ClipCamera, Light, Scene, turn_about_neck
from dimitra.seeds import clip_seed
from dimitra.speech.phonemes import CONSONANTS, VOWELS

HEADS_PER_LOOK = 320
"""Pictures of one appearance; its skull changes every ``HEADS_PER_SKULL``."""
HEADS_PER_SKULL = 8
SIZE_PX = 144
COVER_DM = (2.3, 3.4)
"""Decimetres at the head's distance that a picture shows, from tight to the crop stage's crops."""
ANGLE_STD = (0.16, 0.28, 0.12)
"""Pitch, yaw and roll of the heads, radians."""
ANGLE_LIMIT = 0.85
_PHONES = (*VOWELS, *CONSONANTS)


@dataclass(frozen=True)
class Heads:
    """Pictures of heads and what they show.

    Attributes:
        images: RGB, ``[N, S, S, 3]``.
        identity: ``[N, 80]``.
        expression: ``[N, 64]``.
        angles: pitch, yaw, roll as seen along the ray to the head's origin, radians, ``[N, 3]``.
        origin: where the head's origin is seen, x right and y down, pixel centres at integers,
            ``[N, 2]``.
        scale: pixels per decimetre at the origin's distance, ``[N]``.
    """

    images: NDArray[np.uint8]
    identity: Array
    expression: Array
    angles: Array
    origin: Array
    scale: Array


def draw_heads(model: FaceModel, seed: int, look_number: int, count: int, size: int) -> Heads:
    """Draw heads of one appearance.

    Args:
        model: the open head.
        seed: of the whole set.
        look_number: which appearance; each has its own random numbers.
        count: pictures.
        size: their width and height, pixels.

    Raises:
        ValueError: the face model has no face units.
    """
    if model.units_to_expression is None:
        raise ValueError("random heads need a face model with face units: the open head")
    generator = np.random.default_rng(clip_seed(seed, "heads", str(look_number)))
    gender = "f" if generator.random() < 0.5 else "m"
    look = make_look(model, gender, generator)
    units = _units(count, model.unit_names, generator)
    expression = (torch.from_numpy(units) @ model.units_to_expression).numpy()
    images = np.empty((count, size, size, 3), np.uint8)
    poses, origins, scales, identities = [], [], [], []
    for number in range(count):
        if number % HEADS_PER_SKULL == 0:
            skull = np.clip(generator.standard_normal(80), -2.4, 2.4).astype(np.float32) * 0.75
            scene = Scene(model, replace(look, identity=skull), gender)
            wall = wall_image(look, 2 * size, generator)
        pose, body, camera = _view(size, generator)
        picture = scene.draw(expression[number], pose, camera, wall, body, _light(generator))
        images[number] = _worn(picture, generator)
        depth = DISTANCE - pose[5]
        ray = np.array([pose[3], pose[4], -depth], np.float64)
        seen = turn_ahead(torch.from_numpy(ray)) @ rotation(torch.from_numpy(pose[:3]).double())
        poses.append(angles_of(seen).numpy())
        scales.append(camera.focal_px / depth)
        across, down = camera.centre_px
        origins.append((across + scales[-1] * pose[3], down - scales[-1] * pose[4]))
        identities.append(skull)
    return Heads(
        images,
        np.stack(identities),
        expression.astype(np.float32),
        np.asarray(poses, np.float32),
        np.asarray(origins, np.float32),
        np.asarray(scales, np.float32),
    )


def _view(size: int, generator: np.random.Generator) -> tuple[Array, Array, ClipCamera]:
    """A head pose, the shift of the shoulders below it, and a camera that looks near the head."""
    angles = np.clip(generator.normal(0, ANGLE_STD), -ANGLE_LIMIT, ANGLE_LIMIT)
    body = generator.normal(0, (0.25, 0.25, 0.4)).astype(np.float32)
    pose = turn_about_neck(np.array([[*angles, *body]], np.float32))[0]
    low, high = np.log(COVER_DM)
    scale = size / np.exp(generator.uniform(low, high))
    wanted = size * (0.5 + generator.normal(0, 0.035, 2)) - 0.5
    centre = wanted - scale * pose[3:5] * np.array([1.0, -1.0])
    focal = float(scale * (DISTANCE - pose[5]))
    return pose, body, ClipCamera(focal, (float(centre[0]), float(centre[1])), size)


def _light(generator: np.random.Generator) -> Light:
    azimuth = generator.uniform(-1.2, 1.2)
    direction = np.array([np.sin(azimuth), generator.uniform(0.1, 0.9), np.cos(azimuth)])
    tint = generator.uniform(-0.06, 0.06)
    return Light(
        (direction / np.linalg.norm(direction)).astype(np.float32),
        float(generator.uniform(0.28, 0.5)),
        np.array([1 + tint, 1.0, 1 - tint], np.float32),
    )


def _worn(picture: NDArray[np.uint8], generator: np.random.Generator) -> NDArray[np.uint8]:
    """Blur, sensor noise and compression of a random degree."""
    blur, grain = generator.uniform(0, 1.1), generator.uniform(0, 5)
    quality = int(generator.integers(35, 96))
    image = picture.astype(np.float32)
    if blur > 0.4:
        image = gaussian_filter(image, (blur, blur, 0))
    image += grain * generator.standard_normal(image.shape, dtype=np.float32)
    buffer = io.BytesIO()
    Image.fromarray(np.clip(image + 0.5, 0, 255).astype(np.uint8)).save(
        buffer, "JPEG", quality=quality
    )
    with Image.open(buffer) as decoded:
        return np.asarray(decoded)


def _units(count: int, names: Sequence[str], generator: np.random.Generator) -> Array:
    """Face units ``[count, 52]``: speech with moods, disturbed by single units at random."""
    length_s = count / 25 + 0.5
    phones, accents = _babble(length_s, generator)
    hops = int(np.ceil(length_s / HOP_S))
    prosody = Prosody(
        np.clip(gaussian_filter(generator.uniform(-0.4, 1.6, hops), 8) * 1.2, 0, 1.1),
        gaussian_filter(generator.normal(0, 12, hops), 12),
        accents,
    )
    senses, clock = [], 0.0
    while clock < length_s:
        end = clock + float(generator.uniform(1.5, 4.0))
        senses.append(Span(str(generator.choice(SENSES)), clock, end))
        clock = end
    low, high = (0.8, 0.8, 0.8, 0.6, 1.2, -0.1), (1.25, 1.25, 1.2, 1.0, 2.5, 0.1)
    manner = Manner(*(float(value) for value in generator.uniform(low, high)))
    moved = animate(length_s, phones, prosody, senses, manner, names, generator).units
    units = moved[generator.permutation(len(moved))[:count]].astype(np.float64)
    touched = (generator.random((count, 1)) < 0.45) & (generator.random(units.shape) < 0.10)
    units = np.where(touched, generator.uniform(0, 0.9, units.shape), units)
    lids = [index for index, name in enumerate(names) if name.startswith("eyeBlink")]
    winks = generator.random((count, 1)) < 0.15
    units[:, lids] = np.where(winks, generator.uniform(0, 1, (count, 1)), units[:, lids])
    return units.astype(np.float32)


def _babble(
    length_s: float, generator: np.random.Generator
) -> tuple[list[Span], tuple[tuple[float, float], ...]]:
    """Phones in random order, end to end, and accents on some of the vowels."""
    phones: list[Span] = []
    accents: list[tuple[float, float]] = []
    clock = 0.0
    while clock < length_s:
        label = "SIL" if generator.random() < 0.06 else str(generator.choice(_PHONES))
        end = clock + float(generator.uniform(0.05, 0.20))
        phones.append(Span(label, clock, end))
        if label in VOWELS and generator.random() < 0.25:
            accents.append(((clock + end) / 2, float(generator.uniform(0.4, 1.0))))
        clock = end
    return phones, tuple(accents)
