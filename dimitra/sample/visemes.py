"""Mouth shapes of the phones, and how they blend in running speech.

Blending follows the dominance functions of Cohen and Massaro (1993): every phone pulls each face
unit towards its target with an influence that falls off exponentially from the phone's middle;
lip-critical phones (p b m, f v, w) pull hard on the lips, open vowels on the jaw. Contacts are
then made exact whatever the neighbours are: while the lips of p, b and m are shut the gap is zero,
and the lower lip of f and v touches the upper teeth.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dimitra.sample.phones import Span

LIP_UNITS = (
    "jawOpen", "mouthClose", "mouthFunnel", "mouthPucker", "mouthPress", "mouthStretch",
    "mouthRollLower", "mouthRollUpper", "mouthUpperUp", "mouthLowerDown", "mouthDimple",
    "mouthShrugUpper", "tongueOut",
)  # fmt: skip
"""Units that speech moves; a name without side stands for both sides."""

_SHAPES: dict[str, dict[str, float]] = {
    # open and spread vowels
    "AA": {"jawOpen": 0.60, "mouthLowerDown": 0.25},
    "AE": {"jawOpen": 0.50, "mouthStretch": 0.25, "mouthLowerDown": 0.30, "mouthUpperUp": 0.15},
    "AH": {"jawOpen": 0.38, "mouthLowerDown": 0.15},
    "AO": {"jawOpen": 0.46, "mouthFunnel": 0.50},
    "EH": {"jawOpen": 0.38, "mouthStretch": 0.22, "mouthLowerDown": 0.25},
    "EY": {"jawOpen": 0.28, "mouthStretch": 0.35, "mouthLowerDown": 0.25},
    "IH": {"jawOpen": 0.24, "mouthStretch": 0.25, "mouthLowerDown": 0.22},
    "IY": {"jawOpen": 0.15, "mouthStretch": 0.50, "mouthLowerDown": 0.30, "mouthDimple": 0.25},
    # rounded
    "ER": {"jawOpen": 0.22, "mouthFunnel": 0.45, "mouthPucker": 0.20},
    "UH": {"jawOpen": 0.22, "mouthFunnel": 0.40, "mouthPucker": 0.30},
    "UW": {"jawOpen": 0.10, "mouthPucker": 0.95, "mouthFunnel": 0.18},
    "OW": {"jawOpen": 0.32, "mouthFunnel": 0.55, "mouthPucker": 0.40},
    "W": {"jawOpen": 0.08, "mouthPucker": 0.95, "mouthFunnel": 0.15},
    "R": {"jawOpen": 0.15, "mouthFunnel": 0.42, "mouthPucker": 0.22},
    # lips
    "P": {"jawOpen": 0.06, "mouthClose": 0.06, "mouthPress": 0.55},
    "B": {"jawOpen": 0.06, "mouthClose": 0.06, "mouthPress": 0.45},
    "M": {"jawOpen": 0.06, "mouthClose": 0.06, "mouthPress": 0.40},
    "F": {"jawOpen": 0.03, "mouthRollLower": 0.95, "mouthUpperUp": 0.50},
    "V": {"jawOpen": 0.03, "mouthRollLower": 0.90, "mouthUpperUp": 0.45},
    # teeth and tongue
    "CH": {"jawOpen": 0.06, "mouthFunnel": 0.55, "mouthPucker": 0.25, "mouthLowerDown": 0.10},
    "SH": {"jawOpen": 0.06, "mouthFunnel": 0.60, "mouthPucker": 0.30, "mouthLowerDown": 0.10},
    "S": {"jawOpen": 0.05, "mouthStretch": 0.30, "mouthLowerDown": 0.35, "mouthUpperUp": 0.10},
    "TH": {"jawOpen": 0.16, "tongueOut": 0.62, "mouthLowerDown": 0.20, "mouthUpperUp": 0.15},
    "T": {"jawOpen": 0.12, "mouthLowerDown": 0.22, "mouthStretch": 0.12},
    "L": {"jawOpen": 0.24, "mouthLowerDown": 0.18, "mouthStretch": 0.10, "tongueOut": 0.25},
    "K": {"jawOpen": 0.22, "mouthLowerDown": 0.12},
    "HH": {"jawOpen": 0.28},
    "Y": {"jawOpen": 0.14, "mouthStretch": 0.35, "mouthLowerDown": 0.18},
    "SIL": {"jawOpen": 0.03, "mouthClose": 0.05},
}  # fmt: skip
_SAME_AS = {"D": "T", "N": "T", "Z": "S", "ZH": "SH", "JH": "CH", "DH": "TH", "G": "K", "NG": "K"}
_GLIDES = {"AY": ("AA", "IY"), "AW": ("AA", "UW"), "OY": ("AO", "IY"), "OW": ("OW", "UW"),
           "EY": ("EH", "IY")}  # fmt: skip

_STRENGTH = {"SIL": 0.9, "W": 2.4, "UW": 1.8, "OW": 1.6, "AO": 1.4, "F": 2.6, "V": 2.4, "P": 2.2,
             "B": 2.2, "M": 2.2, "SH": 1.8, "CH": 1.8, "S": 1.2, "R": 1.1, "K": 0.5, "HH": 0.25,
             "T": 0.7, "L": 0.7, "AH": 0.9}  # fmt: skip
_CLOSED = frozenset({"P", "B", "M"})
_CLOSURE_UNITS = {"jawOpen": 0.04, "mouthClose": 0.10, "mouthPress": 0.30}
_BITTEN = frozenset({"F", "V"})
_BITE_UNITS = {"jawOpen": 0.03, "mouthRollLower": 0.95, "mouthUpperUp": 0.50}
_LEAST_HALF_S, _RAMP_S = 0.045, 0.06
"""Contact shorter than two frames would fall between them: it is held at least 90 ms, with
ramps of 60 ms."""


def _parts(span: Span) -> list[tuple[str, float, float]]:
    """A phone as one target, or a diphthong as two: (shape, start, end)."""
    if span.label in _GLIDES:
        cut = span.start_s + 0.55 * (span.end_s - span.start_s)
        first, second = _GLIDES[span.label]
        return [(first, span.start_s, cut), (second, cut, span.end_s)]
    return [(_SAME_AS.get(span.label, span.label), span.start_s, span.end_s)]


def mouth_curves(
    phones: Sequence[Span], times_s: NDArray[np.float64], loudness: NDArray[np.float64]
) -> dict[str, NDArray[np.float64]]:
    """Lip and jaw units over time.

    Args:
        phones: ARPAbet without stress or ``SIL``, end to end.
        times_s: where to evaluate, seconds, ``[T]``.
        loudness: at those times, 0 to about 1; the jaw's amplitude follows it, ``[T]``.

    Returns:
        One curve ``[T]`` for each of ``LIP_UNITS``.

    Raises:
        KeyError: a phone is not ARPAbet.
    """
    segments = [part for span in phones for part in _parts(span)]
    targets = np.array([[_SHAPES[s].get(unit, 0.0) for unit in LIP_UNITS] for s, _, _ in segments])
    starts = np.array([start for _, start, _ in segments])
    ends = np.array([end for _, _, end in segments])
    strength = np.array([_STRENGTH.get(shape, 1.0) for shape, _, _ in segments])
    # Distance from the segment's core, in seconds: nothing inside its middle half.
    middle, half = (starts + ends) / 2, 0.25 * (ends - starts)
    distance = np.maximum(np.abs(times_s[:, None] - middle) - half, 0.0)
    dominance = strength * np.exp(-distance / 0.045)
    weights = dominance / dominance.sum(1, keepdims=True)
    curves = dict(zip(LIP_UNITS, (weights @ targets).T, strict=True))
    speaking = np.clip(loudness, 0.0, 1.0)
    curves["jawOpen"] = curves["jawOpen"] * (0.55 + 1.0 * speaking)
    shut, bitten = closure(phones, times_s), bite(phones, times_s)
    for unit in LIP_UNITS:
        curve = curves[unit] * (1 - bitten) + _BITE_UNITS.get(unit, 0.0) * bitten
        curves[unit] = curve * (1 - shut) + _CLOSURE_UNITS.get(unit, 0.0) * shut
    return curves


def closure(phones: Sequence[Span], times_s: NDArray[np.float64]) -> NDArray[np.float64]:
    """How shut the lips are for p, b and m: 1 during the closure, 0 elsewhere, ``[T]``."""
    spans = []
    for span in phones:
        if span.label in _CLOSED:
            held = 1.0 if span.label == "M" else 0.75
            spans.append((span.start_s, span.start_s + held * (span.end_s - span.start_s)))
    return _held(spans, times_s)


def bite(phones: Sequence[Span], times_s: NDArray[np.float64]) -> NDArray[np.float64]:
    """How far the lower lip is at the upper teeth for f and v: 1 on contact, 0 away, ``[T]``."""
    return _held([(p.start_s, p.end_s) for p in phones if p.label in _BITTEN], times_s)


def _held(
    spans: Sequence[tuple[float, float]], times_s: NDArray[np.float64]
) -> NDArray[np.float64]:
    curve = np.zeros_like(times_s)
    for start, end in spans:
        middle, half = (start + end) / 2, max((end - start) / 2, _LEAST_HALF_S)
        ramp = np.clip((half + _RAMP_S - np.abs(times_s - middle)) / _RAMP_S, 0.0, 1.0)
        curve = np.maximum(curve, ramp * ramp * (3 - 2 * ramp))
    return curve
