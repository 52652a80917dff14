"""The phoneme inventory: 39 stress-free ARPAbet phones, silence, noise and padding.

The first 41 ids are those of StyleTalk (Ma et al. 2023, its ``phindex.json``): the 39 phones,
``NSN`` (noise, or a word that cannot be pronounced) and ``SIL`` in alphabetical order, so that
sequences are exchanged with that baseline without a table. ``PAD`` follows them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Seconds = float

VOWELS = (
    "AA", "AE", "AH", "AO", "AW", "AY", "EH", "ER", "EY", "IH", "IY", "OW", "OY", "UH", "UW",
)  # fmt: skip
CONSONANTS = (
    "B", "CH", "D", "DH", "F", "G", "HH", "JH", "K", "L", "M", "N", "NG", "P", "R", "S", "SH", "T",
    "TH", "V", "W", "Y", "Z", "ZH",
)  # fmt: skip
SILENCE = "SIL"
NOISE = "NSN"
PADDING = "PAD"

PHONES: tuple[str, ...] = tuple(sorted((*VOWELS, *CONSONANTS, SILENCE, NOISE)))
"""The 41 labels that an alignment can hold; the position is the id."""

SYMBOLS: tuple[str, ...] = (*PHONES, PADDING)
"""All 42 symbols; the position is the id."""

PHONE_IDS: dict[str, int] = {symbol: index for index, symbol in enumerate(SYMBOLS)}
SILENCE_ID = PHONE_IDS[SILENCE]
NOISE_ID = PHONE_IDS[NOISE]
PADDING_ID = PHONE_IDS[PADDING]

_SILENCES = frozenset({"", "SIL", "SP", "PAU", "H#", "SSIL", "#"})
_NOISES = frozenset({"NSN", "SPN", "NS", "BR", "CG", "LG", "LS", "NOISE", "LAUGHTER"})
_REDUCED = {"AX": "AH", "AXR": "ER", "IX": "IH", "UX": "UW", "DX": "T", "EL": "L", "EM": "M",
            "EN": "N", "NX": "N", "HV": "HH", "Q": "SIL"}  # fmt: skip


@dataclass(frozen=True)
class Interval:
    """A labelled piece of time.

    Attributes:
        start_s: seconds, inclusive.
        end_s: seconds, exclusive.
        label: a phone of ``PHONES``, or a word.
    """

    start_s: Seconds
    end_s: Seconds
    label: str


def canonical(label: str) -> str:
    """A label of another source as a phone of ``PHONES``.

    Stress digits go (``AH0`` -> ``AH``). The silence and noise labels of P2FA (``sp sil ns br cg
    lg ls``), MFA (``sil spn`` and the empty string) and Festival (``pau``) become ``SIL`` and
    ``NSN``; the reduced phones of TIMIT and Festival (``ax``, ``axr``, ``ix``, ``dx``, ...) become
    their full ARPAbet neighbours.

    Raises:
        ValueError: the label is none of these.
    """
    phone = label.strip().upper().rstrip("0123456789")
    if phone in _SILENCES:
        return SILENCE
    if phone in _NOISES:
        return NOISE
    phone = _REDUCED.get(phone, phone)
    if phone not in PHONE_IDS or phone == PADDING:
        raise ValueError(f"phone label {label!r} is not ARPAbet; known phones: {' '.join(PHONES)}")
    return phone


def frame_phonemes(
    intervals: Iterable[Interval], frames: int, fps: float = 25
) -> NDArray[np.int16]:
    """The phoneme id of each video frame, taken at the frame's centre.

    Frame ``i`` takes the phone that holds the time ``(i + 0.5) / fps``; gaps, and frames after the
    last interval, are silence.

    Args:
        intervals: phones, in order of time, not overlapping.
        frames: number of video frames.
        fps: frames per second; 30 for StyleTalk's own sequences.

    Returns:
        ``[frames]`` ids.

    Raises:
        ValueError: intervals overlap, are out of order, or carry an unknown label.
    """
    ids = np.full(frames, SILENCE_ID, dtype=np.int16)
    centres = (np.arange(frames) + 0.5) / fps
    previous_end = -np.inf
    for interval in intervals:
        if interval.end_s < interval.start_s or interval.start_s < previous_end - 1e-6:
            raise ValueError(
                f"phone {interval.label} at {interval.start_s:.3f}-{interval.end_s:.3f} s starts "
                f"before the end of the one before it ({previous_end:.3f} s), or ends "
                "before it starts"
            )
        previous_end = interval.end_s
        first, last = np.searchsorted(centres, [interval.start_s, interval.end_s])
        ids[first:last] = PHONE_IDS[canonical(interval.label)]
    return ids
