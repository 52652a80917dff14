"""From the synthesisers' phone sets to ARPAbet, with times."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Span:
    """A labelled stretch of sound, seconds."""

    label: str
    start_s: float
    end_s: float


_FLITE = {
    "ax": "AH",
    "axr": "ER",
    "el": "L",
    "em": "M",
    "en": "N",
    "dx": "T",
    "nx": "N",
    "hv": "HH",
}

_ESPEAK: dict[str, tuple[str, ...]] = {
    # vowels
    "@": ("AH",), "@2": ("AH",), "@5": ("AH",), "@L": ("AH", "L"), "@-": ("AH",), "a#": ("AH",),
    "3": ("ER",), "3:": ("ER",), "a": ("AE",), "aa": ("AE",), "A": ("AA",), "A:": ("AA",),
    "A~": ("AA",), "A@": ("AA", "R"), "E": ("EH",), "E2": ("EH",), "e": ("EH",), "e@": ("EH", "R"),
    "I": ("IH",), "I2": ("IH",), "I#": ("IH",), "i": ("IY",), "i:": ("IY",), "i@": ("IH", "R"),
    "i@3": ("IH", "R"), "O": ("AO",), "O:": ("AO",), "O2": ("AO",), "O@": ("AO", "R"),
    "o@": ("AO", "R"), "oU": ("OW",), "U": ("UH",), "U@": ("UH", "R"), "u": ("UW",),
    "u:": ("UW",), "V": ("AH",), "0": ("AA",), "02": ("AA",), "0#": ("AA",), "aI": ("AY",),
    "aI@": ("AY", "ER"), "aI3": ("AY", "ER"), "aU": ("AW",), "aU@": ("AW", "ER"), "eI": ("EY",),
    "OI": ("OY",), "IR": ("IH", "R"), "VR": ("AH", "R"), "aI2": ("AY",),
    # consonants
    "p": ("P",), "b": ("B",), "t": ("T",), "t#": ("T",), "t2": ("T",), "d": ("D",), "d#": ("D",),
    "k": ("K",), "g": ("G",), "f": ("F",), "v": ("V",), "T": ("TH",), "D": ("DH",), "s": ("S",),
    "z": ("Z",), "S": ("SH",), "Z": ("ZH",), "h": ("HH",), "m": ("M",), "n": ("N",),
    "n-": ("AH", "N"), "m-": ("AH", "M"), "N": ("NG",), "l": ("L",), "l-": ("AH", "L"),
    "l#": ("L",), "L": ("L",), "r": ("R",), "r-": ("ER",), "w": ("W",), "w#": ("W",), "j": ("Y",),
    "tS": ("CH",), "dZ": ("JH",), ";": ("Y",), "?": (),
}  # fmt: skip
_WORD = re.compile(r"[A-Za-z']+")
_ESPEAK_PAUSES = frozenset({"_", "_:", "_!", "_|", "_::", "_X1", "", "|", "||"})


def flite_phones(segments: Sequence[Span]) -> tuple[list[Span], list[Span]]:
    """Phones and words of flite segments.

    Args:
        segments: labels ``pau`` or ``phone|word|first``, ``first`` being 1 at a word's first phone.

    Returns:
        ARPAbet phones (with ``SIL``), and words.
    """
    phones: list[Span] = []
    words: list[Span] = []
    for segment in segments:
        name, _, rest = segment.label.partition("|")
        if name == "pau":
            phones.append(Span("SIL", segment.start_s, segment.end_s))
            continue
        phones.append(Span(_FLITE.get(name, name.upper()), segment.start_s, segment.end_s))
        word, _, first = rest.rpartition("|")
        if first == "1":
            words.append(Span(word, segment.start_s, segment.end_s))
        elif words:
            words[-1] = Span(words[-1].label, words[-1].start_s, segment.end_s)
    return phones, words


def espeak_phones(
    events: Sequence[Span], text: str, duration_s: float
) -> tuple[list[Span], list[Span]]:
    """Phones and words of espeak-ng events.

    espeak-ng gives starts only, and a stop's start at its release: a phone ends where the next
    begins, and a word's first phone begins with the word (its closure included).

    Args:
        events: phoneme mnemonics and ``=position`` marks of words, in the order of the sound.
        text: what is spoken.
        duration_s: end of the sound.

    Raises:
        ValueError: a mnemonic is not in the table.
    """
    starts: list[tuple[tuple[str, ...], float]] = []
    marks: list[Span] = []
    word_start: float | None = None
    beginnings = {f"={match.start()}" for match in _WORD.finditer(text)}
    for event in events:
        if event.label.startswith("="):
            if event.label not in beginnings:  # clause marks, and second halves of words
                continue
            marks.append(Span(event.label[1:], event.start_s, event.start_s))
            word_start = event.start_s
            continue
        if event.label in _ESPEAK_PAUSES:
            starts.append((("SIL",), event.start_s))
            continue
        if event.label not in _ESPEAK:
            raise ValueError(
                f"espeak-ng phone {event.label!r} at {event.start_s:.2f} s has no ARPAbet "
                "counterpart: add it to dimitra/sample/phones.py"
            )
        if _ESPEAK[event.label]:
            starts.append(
                (_ESPEAK[event.label], event.start_s if word_start is None else word_start)
            )
            word_start = None
    phones: list[Span] = []
    for index, (labels, start) in enumerate(starts):
        end = starts[index + 1][1] if index + 1 < len(starts) else duration_s
        cut = start + 0.6 * (end - start) if len(labels) == 2 else end
        phones.append(Span(labels[0], start, cut))
        if len(labels) == 2:
            phones.append(Span(labels[1], cut, end))
    phones = [span for span in phones if span.end_s > span.start_s]
    return phones, _word_spans(marks, text, phones)


def _word_spans(marks: Sequence[Span], text: str, phones: Sequence[Span]) -> list[Span]:
    """Times of every word; words that espeak-ng joins ("in the") share their time by letters."""
    tokens = [(match.start(), match.group().lower()) for match in _WORD.finditer(text)]
    words: list[Span] = []
    for index, mark in enumerate(marks):
        last = index + 1 == len(marks)
        limit_s = float("inf") if last else marks[index + 1].start_s
        limit = len(text) if last else int(marks[index + 1].label)
        group = [token for position, token in tokens if int(mark.label) <= position < limit]
        ends = [
            span.end_s
            for span in phones
            if span.label != "SIL" and mark.start_s - 1e-6 <= span.start_s < limit_s - 1e-6
        ]
        if not ends or not group:
            continue
        letters = sum(len(token) for token in group)
        clock = mark.start_s
        for token in group:
            end = clock + (ends[-1] - mark.start_s) * len(token) / letters
            words.append(Span(token, clock, end))
            clock = end
    return words
