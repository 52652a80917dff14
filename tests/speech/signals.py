"""Speech for tests: one sentence of a synthesiser with its phone times, and a language of tones."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dimitra.media.audio import decode_flac
from dimitra.speech.lexicon import Lexicon, from_entries
from dimitra.speech.phonemes import Interval, canonical
from dimitra.speech.words import SpokenWord

HERE = Path(__file__).parent
RATE_HZ = 16_000


@dataclass(frozen=True)
class Sentence:
    text: str
    flac: bytes
    samples: NDArray[np.float32]
    phones: tuple[Interval, ...]


def boats() -> Sentence:
    about = json.loads((HERE / "boats.json").read_text())
    flac = (HERE / "boats.flac").read_bytes()
    samples, rate = decode_flac(flac)
    assert rate == RATE_HZ
    phones = tuple(Interval(start, end, canonical(name)) for name, start, end in about["phones"])
    return Sentence(about["text"], flac, samples, phones)


TONES = {
    "AA": (700, 1100), "IY": (300, 2300), "UW": (320, 900), "S": (5000, 6500), "M": (250, 1300),
    "SH": (2500, 3800),
}  # fmt: skip
"""Two frequencies (Hz) for each phone of the language of tones."""

TONE_LEXICON: Lexicon = from_entries(
    [("sea", "S IY"), ("moo", "M UW"), ("she", "SH IY"), ("ma", "M AA"), ("sue", "S UW"),
     ("ma", "M UW M")]
)  # fmt: skip


@dataclass(frozen=True)
class Utterance:
    spoken: tuple[SpokenWord, ...]
    samples: NDArray[np.float32]
    phones: tuple[Interval, ...]


def tone_utterance(seed: int, words: int = 5) -> Utterance:
    """Random words as chords of known length, with pauses between some of them."""
    generator = np.random.default_rng(seed)
    chosen = [sorted(TONE_LEXICON.entries)[int(k)] for k in generator.integers(0, 5, words)]
    labels = ["SIL"]
    for word in chosen:
        labels += TONE_LEXICON.entries[word][0]
        labels += ["SIL"] if generator.random() < 0.3 else []
    labels += ["SIL"] if labels[-1] != "SIL" else []
    pieces: list[NDArray[np.float64]] = []
    intervals: list[Interval] = []
    time = 0
    for label in labels:
        count = int(generator.integers(8, 20)) * RATE_HZ // 100
        seconds = np.arange(count) / RATE_HZ
        sound = 0.001 * generator.standard_normal(count)
        for hertz in TONES.get(label, ()):
            cycle = hertz * (1 + 0.02 * generator.standard_normal())
            sound += 0.1 * np.sin(2 * np.pi * (cycle * seconds + generator.random()))
        pieces.append(sound)
        intervals.append(Interval(time / RATE_HZ, (time + count) / RATE_HZ, label))
        time += count
    return Utterance(
        tuple(SpokenWord(word, index) for index, word in enumerate(chosen)),
        np.concatenate(pieces).astype(np.float32),
        tuple(intervals),
    )
