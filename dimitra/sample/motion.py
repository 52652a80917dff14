"""From speech and text to the motion of a head: 52 face units, then coefficients, and pose.

Lips follow the phones, the jaw's amplitude the loudness, brows and nods the accents, the mood the
sense of each sentence; blinks, glances and part of the sway are random, as in people.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from dimitra.sample.phones import Span
from dimitra.sample.prosody import HOP_S, Prosody
from dimitra.sample.visemes import bite, closure, mouth_curves

FPS = 25

_MOODS: dict[str, dict[str, float]] = {
    "neutral": {},
    "happy": {"mouthSmile": 0.62, "cheekSquint": 0.55, "browOuterUp": 0.12, "mouthDimple": 0.15},
    "sad": {"mouthFrown": 0.65, "browInnerUp": 0.75, "eyeSquint": 0.22, "mouthShrugLower": 0.25},
    "surprised": {"browInnerUp": 0.60, "browOuterUp": 0.75, "eyeWide": 0.55, "jawOpen": 0.07},
}
SENSES = tuple(_MOODS)


@dataclass(frozen=True)
class Manner:
    """How one identity moves.

    Attributes:
        jaw: scale of the mouth's opening.
        mood: scale of smiles and frowns.
        nod: scale of what follows prosody.
        sway: scale of the random head motion.
        blink_s: mean seconds between blinks.
        asymmetry: share by which the left side moves more than the right.
    """

    jaw: float
    mood: float
    nod: float
    sway: float
    blink_s: float
    asymmetry: float


@dataclass(frozen=True)
class HeadMotion:
    """Motion at 25 frames a second.

    Attributes:
        units: face-unit activations in the order of ``unit_names``, ``[T, 52]``.
        pose: pitch, yaw, roll in radians and translation in model units, ``[T, 6]``.
        blink: 0 open, 1 closed, ``[T]``.
    """

    units: NDArray[np.float32]
    pose: NDArray[np.float32]
    blink: NDArray[np.float32]


def frame_times(duration_s: float) -> NDArray[np.float64]:
    """Centres of the frames of a clip, seconds."""
    return (np.arange(round(duration_s * FPS)) + 0.5) / FPS


def _bumps(
    times_s: NDArray[np.float64],
    events: Sequence[tuple[float, float]],
    rise_s: float,
    fall_s: float,
) -> NDArray[np.float64]:
    """Sum of smooth asymmetric bumps of the given strengths, ``[T]``."""
    curve = np.zeros_like(times_s)
    for centre, strength in events:
        width = np.where(times_s < centre, rise_s, fall_s)
        curve += strength * np.exp(-0.5 * ((times_s - centre) / width) ** 2)
    return curve


def _wander(count: int, period_s: float, generator: np.random.Generator) -> NDArray[np.float64]:
    """Smooth random curve of zero mean and unit standard deviation over long times, ``[T]``."""
    sigma = period_s * FPS / 4
    pad = round(4 * sigma)
    noise = gaussian_filter1d(generator.standard_normal(count + 2 * pad), sigma, mode="wrap")
    return np.asarray(noise[pad : pad + count] * np.sqrt(2 * sigma * np.sqrt(np.pi)))


def _blinks(
    times_s: NDArray[np.float64], mean_s: float, generator: np.random.Generator
) -> NDArray[np.float64]:
    """Blinks at random times: 80 ms down, 40 ms shut, 140 ms up (VanderWerf et al. 2003)."""
    curve = np.zeros_like(times_s)
    clock = float(generator.uniform(0.6, mean_s))
    while clock < times_s[-1] - 0.2:
        after = times_s - clock
        shape = np.where(
            after < 0, 1 + after / 0.08, np.where(after < 0.04, 1.0, 1 - (after - 0.04) / 0.14)
        )
        curve = np.maximum(curve, np.clip(shape, 0, 1))
        clock += float(np.clip(generator.exponential(mean_s - 0.9) + 0.9, 0.9, 8.0))
    return curve * curve * (3 - 2 * curve)


def _glances(
    times_s: NDArray[np.float64], generator: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Gaze offsets (right, up) in about [-0.4, 0.4], held between quick jumps."""
    right, up = np.zeros_like(times_s), np.zeros_like(times_s)
    clock = float(generator.uniform(0.5, 2.0))
    while clock < times_s[-1]:
        away = generator.random() < 0.45
        held = times_s >= clock
        right[held] = generator.uniform(-0.38, 0.38) if away else generator.normal(0, 0.05)
        up[held] = generator.uniform(-0.2, 0.22) if away else generator.normal(0, 0.03)
        clock += float(generator.uniform(0.5, 1.2) if away else generator.uniform(1.0, 3.0))
    return gaussian_filter1d(right, 0.6), gaussian_filter1d(up, 0.6)


def _mood(
    times_s: NDArray[np.float64], senses: Sequence[Span], accents: NDArray[np.float64]
) -> dict[str, NDArray[np.float64]]:
    """Each sense's envelope: it grows over the first half second of its sentence, and lingers."""
    envelopes: dict[str, NDArray[np.float64]] = {}
    for span in senses:
        rise = np.clip((times_s - span.start_s + 0.1) / 0.6, 0, 1)
        fall = np.clip((span.end_s + 0.75 - times_s) / 0.6, 0, 1)
        shape = np.minimum(rise, fall)
        shape = shape * shape * (3 - 2 * shape) * (0.8 + 0.25 * np.clip(accents, 0, 1))
        old = envelopes.get(span.label, np.zeros_like(times_s))
        envelopes[span.label] = np.maximum(old, shape)
    return envelopes


def animate(
    duration_s: float,
    phones: Sequence[Span],
    prosody: Prosody,
    senses: Sequence[Span],
    manner: Manner,
    unit_names: Sequence[str],
    generator: np.random.Generator,
) -> HeadMotion:
    """Motion of one clip.

    Args:
        duration_s: length of the clip.
        phones: with times, end to end.
        prosody: of the clip's sound.
        senses: the sense of each sentence, with times.
        manner: of the identity.
        unit_names: the face model's 52 units.
        generator: for all that is random.

    Raises:
        KeyError: a sense is not one of ``SENSES``.
    """
    times_s = frame_times(duration_s)
    hops = (np.arange(len(prosody.loudness)) + 0.5) * HOP_S
    loudness = np.interp(times_s, hops, prosody.loudness)
    pitch = np.interp(times_s, hops, prosody.pitch)
    accents = _bumps(times_s, prosody.accents, 0.09, 0.16)
    curves = mouth_curves(phones, times_s, loudness)
    shut = np.maximum(closure(phones, times_s), bite(phones, times_s))
    curves["jawOpen"] *= 1 + (manner.jaw - 1) * (1 - shut)
    for sense, envelope in _mood(times_s, senses, accents).items():
        for unit, value in _MOODS[sense].items():
            free = 1 - shut if unit in ("jawOpen", "mouthShrugLower") else 1 - 0.35 * shut
            amount = manner.mood * value * envelope * free
            curves[unit] = curves.get(unit, 0.0) + amount
    rounded = np.clip(curves["mouthPucker"] + 0.6 * curves["mouthFunnel"], 0, 1)
    for unit in ("mouthSmile", "mouthFrown"):  # round lips cannot smile widely
        if unit in curves:
            curves[unit] = curves[unit] * (1 - 0.6 * rounded)
    curves["browInnerUp"] = curves.get("browInnerUp", 0.0) + manner.nod * 0.32 * accents
    curves["browOuterUp"] = curves.get("browOuterUp", 0.0) + manner.nod * 0.30 * accents
    blink = _blinks(times_s, manner.blink_s, generator)
    curves["eyeBlink"] = blink
    for unit in ("eyeWide", "eyeSquint"):
        curves[unit] = curves.get(unit, 0.0) * (1 - blink)
    units = _as_array(curves, manner.asymmetry, unit_names)
    _look(units, *_glances(times_s, generator), unit_names)
    pose = _pose(times_s, accents, pitch, loudness, senses, manner, generator)
    return HeadMotion(units.astype(np.float32), pose.astype(np.float32), blink.astype(np.float32))


def _as_array(
    curves: dict[str, NDArray[np.float64]], asymmetry: float, unit_names: Sequence[str]
) -> NDArray[np.float64]:
    columns = []
    for name in unit_names:
        if name in curves:
            columns.append(curves[name])
            continue
        base = name.removesuffix("Left").removesuffix("Right")
        side = 1 + asymmetry * (1 if name.endswith("Left") else -1)
        if base in curves:
            columns.append(curves[base] * (1.0 if base == "eyeBlink" else side))
        else:
            columns.append(np.zeros_like(curves["jawOpen"]))
    return np.clip(np.stack(columns, 1), 0.0, 1.0)


def _look(
    units: NDArray[np.float64],
    right: NDArray[np.float64],
    up: NDArray[np.float64],
    unit_names: Sequence[str],
) -> None:
    """Write the gaze (towards the subject's right, up) into the eight eye units."""
    index = {name: i for i, name in enumerate(unit_names)}
    for name, value in (
        ("eyeLookOutRight", right), ("eyeLookInLeft", right),
        ("eyeLookInRight", -right), ("eyeLookOutLeft", -right),
        ("eyeLookUpLeft", up), ("eyeLookUpRight", up),
        ("eyeLookDownLeft", -up), ("eyeLookDownRight", -up),
    ):  # fmt: skip
        units[:, index[name]] = np.clip(value, 0.0, 1.0)


def _pose(
    times_s: NDArray[np.float64],
    accents: NDArray[np.float64],
    pitch: NDArray[np.float64],
    loudness: NDArray[np.float64],
    senses: Sequence[Span],
    manner: Manner,
    generator: np.random.Generator,
) -> NDArray[np.float64]:
    """Pitch, yaw, roll (radians) and translation.

    Positive pitch lowers the chin in the camera's convention used here; accents nod it down,
    high voice lifts it, loud phrases turn the head, sadness lowers it.
    """
    count = len(times_s)
    degrees = np.pi / 180
    tune = gaussian_filter1d(pitch, 3.0)
    phrase = gaussian_filter1d(loudness, 10.0)
    lowered = np.zeros(count)
    for span in senses:
        amount = {"sad": 4.0, "surprised": -3.0, "happy": -1.0}.get(span.label, 0.0)
        inside = np.clip(np.minimum(times_s - span.start_s, span.end_s + 0.5 - times_s) / 0.7, 0, 1)
        lowered += amount * inside * inside * (3 - 2 * inside)
    nod = manner.nod * (3.6 * accents - 0.75 * tune) + 0.8 * manner.mood * lowered
    turn = manner.nod * 3.5 * (phrase - 0.5)
    sway = [manner.sway * _wander(count, period, generator) for period in (3.0, 3.5, 4.0)]
    angles = np.stack(
        [
            nod + 1.5 * sway[0] + generator.normal(0, 1.5),
            turn + 3.0 * sway[1] + generator.normal(0, 3.0),
            0.5 * manner.nod * tune + 1.8 * sway[2] + generator.normal(0, 1.2),
        ],
        1,
    )
    angles = np.clip(gaussian_filter1d(angles, 0.8, axis=0), -14, 14) * degrees
    drift = np.stack([_wander(count, 4.0, generator) for _ in range(3)], 1)
    return np.concatenate([angles, drift * np.array([0.02, 0.012, 0.05]) * manner.sway], 1)
