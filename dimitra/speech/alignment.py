"""An alignment: when each phone and each word of a clip was said; and what makes one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from dimitra.clips import ClipError
from dimitra.speech.acoustics import SAMPLE_RATE_HZ
from dimitra.speech.phonemes import NOISE, SILENCE, Interval
from dimitra.speech.transcript import Transcript
from dimitra.speech.words import SpokenWord, spoken_words

_SHORTEST_S = 1e-4


@dataclass(frozen=True)
class Alignment:
    """When each phone and each word was said.

    Attributes:
        phones: from 0 to the end of the clip without gaps, silence included.
        words: one interval a spoken word, in order.
        spoken: the spoken word of each entry of ``words``.
        log_likelihood: of the best path, per 10 ms frame; NaN where the aligner does not say.
    """

    phones: tuple[Interval, ...]
    words: tuple[Interval, ...]
    spoken: tuple[SpokenWord, ...]
    log_likelihood: float


@dataclass(frozen=True)
class Utterance:
    """A clip to align.

    Attributes:
        clip_id: names it in messages and in an aligner's files.
        samples: ``[N]``, 16 kHz mono in -1..1.
        transcript: its text, with the recogniser's times where it has them.
    """

    clip_id: str
    samples: NDArray[np.float32]
    transcript: Transcript

    @property
    def duration_s(self) -> float:
        """Length of the sound."""
        return len(self.samples) / SAMPLE_RATE_HZ

    @property
    def spoken(self) -> list[SpokenWord]:
        """Its words as they are spoken."""
        return spoken_words(self.transcript.text, self.transcript.language)


class PhonemeAligner(Protocol):
    """Finds the times of known words.

    It takes several clips at once, because one aligner takes a quarter of a minute to start. What
    it gives for a clip does not depend on the clips beside it.
    """

    def align_all(self, utterances: Sequence[Utterance]) -> list[Alignment | ClipError]:
        """An alignment of each clip, or why it has none.

        Raises:
            RuntimeError: the aligner itself failed.
        """
        ...


def word_starts(transcript: Transcript, alignment: Alignment) -> list[float]:
    """When each written word (``text.split()``) begins, seconds.

    What is not spoken (a dash) begins with the word before it.
    """
    first: dict[int, float] = {}
    for word, interval in zip(alignment.spoken, alignment.words, strict=True):
        first.setdefault(word.surface, interval.start_s)
    starts, time = [], 0.0
    for surface in range(len(transcript.text.split())):
        time = first.get(surface, time)
        starts.append(time)
    return starts


def surface_times(transcript: Transcript, duration_s: float) -> list[Interval]:
    """Times of the written words (``text.split()``) without an alignment.

    The recogniser's own where it gave any, else the duration cut evenly.
    """
    surfaces = transcript.text.split()
    if len(transcript.words) == len(surfaces):
        return [Interval(word.start_s, word.end_s, word.word) for word in transcript.words]
    borders = np.linspace(0.0, duration_s, len(surfaces) + 1)
    return [
        Interval(float(borders[index]), float(borders[index + 1]), surface)
        for index, surface in enumerate(surfaces)
    ]


def unaligned(utterance: Utterance) -> Alignment:
    """A clip that its aligner refused, marked: one noise phone from end to end.

    Words keep the recogniser's own times, or equal shares of the clip where it gave none.
    """
    surfaces = surface_times(utterance.transcript, utterance.duration_s)
    spoken = utterance.spoken
    counts = Counter(word.surface for word in spoken)
    begun: Counter[int] = Counter()
    words: list[Interval] = []
    for word in spoken:
        place = surfaces[word.surface]
        length = (place.end_s - place.start_s) / counts[word.surface]
        start_s = place.start_s + begun[word.surface] * length
        begun[word.surface] += 1
        words.append(Interval(start_s, start_s + length, word.word))
    phones = (Interval(0.0, utterance.duration_s, NOISE),)
    return Alignment(phones, tuple(words), tuple(spoken), float("nan"))


def without_gaps(phones: Sequence[Interval], duration_s: float) -> tuple[Interval, ...]:
    """Phones in order from 0 to the end of the clip: gaps become silence, the rest is cut off."""
    filled: list[Interval] = []
    time = 0.0
    for phone in phones:
        start_s, end_s = min(phone.start_s, duration_s), min(phone.end_s, duration_s)
        if start_s > time + _SHORTEST_S:
            filled.append(Interval(time, start_s, SILENCE))
            time = start_s
        if end_s > time + _SHORTEST_S:
            filled.append(Interval(time, end_s, phone.label))
            time = end_s
    if time < duration_s - _SHORTEST_S:
        filled.append(Interval(time, duration_s, SILENCE))
    elif filled:
        filled[-1] = Interval(filled[-1].start_s, duration_s, filled[-1].label)
    return tuple(filled)
