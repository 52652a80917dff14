"""The phoneme inventory: 39 stress-free ARPAbet phones, silence, noise and padding.

The first 41 ids are those of StyleTalk (Ma et al. 2023, its ``phindex.json``): the 39 phones,
``NSN`` (noise, or a word that cannot be pronounced) and ``SIL`` in alphabetical order, so that
sequences are exchanged with that baseline without a table. ``PAD`` follows them.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable
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


_IPA: dict[str, str] = {
    **dict.fromkeys(("i", "ɨ"), "IY"), **dict.fromkeys(("ɪ", "ᵻ"), "IH"),
    **dict.fromkeys(("e", "ej", "eɪ", "ei"), "EY"), **dict.fromkeys(("ɛ", "eə", "ɛə"), "EH"),
    "æ": "AE", **dict.fromkeys(("a", "ɑ", "ɒ", "ɶ"), "AA"),
    **dict.fromkeys(("ɔ", "oɹ", "ɔɹ"), "AO"),
    **dict.fromkeys(("ə", "ɐ", "ʌ", "ɤ", "ɘ"), "AH"),
    **dict.fromkeys(("ɚ", "ɝ", "ɜ", "əɹ", "ɜɹ"), "ER"),
    **dict.fromkeys(("o", "ow", "oʊ", "əw", "əʊ", "ou", "ɔʊ", "ø"), "OW"), "œ": "AO",
    **dict.fromkeys(("u", "ʉ", "ɯ", "y"), "UW"), **dict.fromkeys(("ʊ", "ʏ"), "UH"),
    **dict.fromkeys(("aj", "aɪ", "ai"), "AY"), **dict.fromkeys(("aw", "aʊ", "au"), "AW"),
    **dict.fromkeys(("ɔj", "ɔɪ", "oj", "oɪ", "ɔʏ"), "OY"),
    **dict.fromkeys(("p", "kp", "ɓ"), "P"), **dict.fromkeys(("b", "ɡb", "gb", "β"), "B"),
    **dict.fromkeys(("t", "ʈ", "ɾ", "ʔ", "ts"), "T"), **dict.fromkeys(("d", "ɖ", "ɗ", "dz"), "D"),
    **dict.fromkeys(("k", "c", "q"), "K"), **dict.fromkeys(("ɡ", "g", "ɟ", "ɣ", "ɢ"), "G"),
    **dict.fromkeys(("tʃ", "ʧ", "tɕ", "ʈʂ"), "CH"), **dict.fromkeys(("dʒ", "ʤ", "dʑ", "ɖʐ"), "JH"),
    **dict.fromkeys(("f", "pf", "ɸ"), "F"), **dict.fromkeys(("v", "ʋ"), "V"), "θ": "TH", "ð": "DH",
    "s": "S", "z": "Z", **dict.fromkeys(("ʃ", "ɕ", "ʂ"), "SH"),
    **dict.fromkeys(("ʒ", "ʑ", "ʐ"), "ZH"),
    **dict.fromkeys(("h", "ɦ", "ç", "x", "χ", "ħ"), "HH"), **dict.fromkeys(("m", "ɱ"), "M"),
    **dict.fromkeys(("n", "ɲ", "ɳ"), "N"), **dict.fromkeys(("ŋ", "ɴ"), "NG"),
    **dict.fromkeys(("l", "ɫ", "ʎ", "ɭ", "ɬ"), "L"),
    **dict.fromkeys(("ɹ", "r", "ɻ", "ʁ", "ʀ", "ɽ"), "R"),
    **dict.fromkeys(("w", "ʍ", "ɥ"), "W"), "j": "Y",
}  # fmt: skip
"""The phones of MFA's IPA models (``english_mfa``) and the commoner ones of other languages, bare
of diacritics. A sound that English lacks goes to the one whose lips and jaw look most like it: the
front rounded vowels to ``UW``, ``OW``, ``UH`` and ``AO``, uvular and velar fricatives to ``HH``."""

_NASAL_FLAP = "ɾ\u0303"
_DENTAL = {"t\u032a": "TH", "d\u032a": "DH"}
"""Of ``english_mfa``: the stops that some speakers say for "th"."""


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


def is_arpabet(label: str) -> bool:
    """Whether a label is read without the IPA: ARPAbet, or silence or noise of any source."""
    phone = label.strip().upper().rstrip("0123456789")
    return phone in _SILENCES or phone in _NOISES or (_REDUCED.get(phone, phone) in PHONES)


def ipa_phone(label: str) -> str:
    """A phone in the IPA as a phone of ``PHONES``.

    Stress, length, tie bars and diacritics go: ``tʰ``, ``tʲ`` and ``t`` are one phone. A letter
    that also is an ARPAbet label is read as the IPA has it: ``y`` is a vowel.

    Raises:
        ValueError: the label is not one of these.
    """
    if label.strip().upper() in _SILENCES:
        return SILENCE
    if label.strip().upper() in _NOISES:
        return NOISE
    phone = unicodedata.normalize("NFD", label.strip())
    if phone in _DENTAL:
        return _DENTAL[phone]
    if phone.startswith(_NASAL_FLAP):
        return "N"
    phone = phone.replace("c\u0327", "ç")
    bare = "".join(
        char
        for char in phone
        if not unicodedata.combining(char) and unicodedata.category(char) not in {"Lm", "Sk"}
    )
    if bare not in _IPA:
        raise ValueError(
            f"phone label {label!r} is neither ARPAbet nor a known phone of the IPA; known: "
            f"{' '.join(PHONES)} {' '.join(_IPA)}"
        )
    return _IPA[bare]


def canonical(label: str) -> str:
    """A label of another source as a phone of ``PHONES``.

    Stress digits go (``AH0`` -> ``AH``). The silence and noise labels of P2FA (``sp sil ns br cg
    lg ls``), MFA (``sil spn`` and the empty string) and Festival (``pau``) become ``SIL`` and
    ``NSN``; the reduced phones of TIMIT and Festival (``ax``, ``axr``, ``ix``, ``dx``, ...) become
    their full ARPAbet neighbours. What is none of these is read as the IPA (`ipa_phone`).

    Raises:
        ValueError: the label is none of these.
    """
    if not is_arpabet(label):
        return ipa_phone(label)
    phone = label.strip().upper().rstrip("0123456789")
    if phone in _SILENCES:
        return SILENCE
    if phone in _NOISES:
        return NOISE
    return _REDUCED.get(phone, phone)


def reader(labels: Iterable[str]) -> Callable[[str], str]:
    """How to read the labels of one source: as ARPAbet where all are, else all as the IPA."""
    return canonical if all(is_arpabet(label) for label in labels) else ipa_phone


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
