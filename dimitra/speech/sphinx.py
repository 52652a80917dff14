"""Forced alignment by pocketsphinx's own English model: for files without a trained aligner.

Triphone models of US English (the ``en-us`` model that ``pocketsphinx`` carries). Words are found
first, then the phones within them. A long file is cut at pauses, because the second search keeps
every state of every frame, and because a slip in the first does not spread past a pause.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dimitra.clips import ClipError, Reason
from dimitra.speech.acoustics import SAMPLE_RATE_HZ
from dimitra.speech.alignment import Alignment, Utterance, without_gaps
from dimitra.speech.lexicon import Lexicon
from dimitra.speech.phonemes import NOISE, PHONES, Interval
from dimitra.speech.scripts import check_script
from dimitra.speech.words import SpokenWord

FRAME_S = 0.01
"""Time between two frames of pocketsphinx."""

LONGEST_PIECE_S = 20.0
_SHORTEST_PIECE_S = 5.0
_INT16 = 32767.0
_SILENCE_STEPS = 2
"""Sound that varies by no more 16-bit steps is digital silence. In it pocketsphinx finds any words,
every phone of the shortest length, as it does in none louder."""
_NOISE_PHONE = "+NSN+"
_MARGIN_S = 0.05
_WINDOW = 160


@dataclass(frozen=True)
class Piece:
    """A stretch of a clip between two pauses.

    Attributes:
        start_s: seconds after the clip's start.
        end_s: likewise.
        words: the spoken words in it, first and past the last.
    """

    start_s: float
    end_s: float
    words: tuple[int, int]


def quietest(samples: NDArray[np.float32], start_s: float, end_s: float) -> float:
    """The time of least energy (10 ms) between two times, seconds."""
    first = max(0, round(start_s * SAMPLE_RATE_HZ))
    last = min(len(samples), max(round(end_s * SAMPLE_RATE_HZ), first + _WINDOW))
    windows = samples[first : last - (last - first) % _WINDOW].reshape(-1, _WINDOW)
    if not len(windows):
        return min(start_s, len(samples) / SAMPLE_RATE_HZ)
    place = int(np.argmin(np.square(windows.astype(np.float64)).sum(axis=1)))
    return (first + (place + 0.5) * _WINDOW) / SAMPLE_RATE_HZ


def pieces(
    words: Sequence[Interval], samples: NDArray[np.float32], longest_s: float = LONGEST_PIECE_S
) -> list[Piece]:
    """Cut a clip at pauses into pieces of at most ``longest_s`` (more where nobody pauses).

    Each piece ends at the longest pause that it can reach; the cut is its quietest point.

    Args:
        words: rough times of the spoken words, in order.
        samples: ``[N]``, 16 kHz.
        longest_s: longest piece.
    """
    duration_s = len(samples) / SAMPLE_RATE_HZ
    found: list[Piece] = []
    start_s, first = 0.0, 0
    while duration_s - start_s > longest_s and first < len(words) - 1:
        gaps = [
            (index, words[index].start_s - words[index - 1].end_s)
            for index in range(first + 1, len(words))
        ]
        reach = [
            (gap, index)
            for index, gap in gaps
            if start_s + _SHORTEST_PIECE_S <= words[index - 1].end_s
            and words[index].start_s <= start_s + longest_s
        ]
        later = [index for index, _ in gaps if words[index].start_s > start_s + longest_s]
        if not reach and not later:
            break
        cut = max(reach)[1] if reach else later[0]
        before, after = words[cut - 1].end_s - _MARGIN_S, words[cut].start_s + _MARGIN_S
        end_s = min(max(quietest(samples, before, after), start_s + FRAME_S), duration_s)
        found.append(Piece(start_s, end_s, (first, cut)))
        start_s, first = end_s, cut
    found.append(Piece(start_s, duration_s, (first, len(words))))
    return found


class PocketsphinxAligner:
    """Aligns clips with pocketsphinx.

    Args:
        lexicon: pronounces the words; English.
    """

    def __init__(self, lexicon: Lexicon) -> None:
        self._lexicon = lexicon
        self._begin()

    def _begin(self) -> None:
        """Load the decoder, with no words: each clip has its own (10 ms), as one keeps state."""
        from pocketsphinx import Decoder, get_model_path

        # Batch normalisation: the running one would carry over from clip to clip.
        self._decoder: Any = Decoder(
            hmm=get_model_path("en-us/en-us"),
            lm=None,
            dict=None,
            cmn="batch",
            # The lattice's best path gives fillers one frame, which the state search cannot take.
            bestpath=False,
            samprate=float(SAMPLE_RATE_HZ),
            beam=1e-300,
            wbeam=1e-300,
            pbeam=1e-300,
            logfn=os.devnull,
        )
        self._known: dict[str, str] = {}

    def align_all(self, utterances: Sequence[Utterance]) -> list[Alignment | ClipError]:
        """An alignment of each clip, or why it has none."""
        found: list[Alignment | ClipError] = []
        for utterance in utterances:
            try:
                found.append(self.align(utterance))
            except ClipError as error:
                found.append(error)
        return found

    def align(self, utterance: Utterance) -> Alignment:
        """Align one clip; a long one in pieces.

        Raises:
            ClipError: ``UNALIGNED`` where the words do not fit the sound or there is none,
                ``BAD_TRANSCRIPT`` where they are of another script than the dictionary,
                ``BAD_SOUND`` where a sample is not finite.
        """
        check_script(utterance.transcript.text, self._lexicon.scripts, "the dictionary")
        spoken = utterance.spoken
        if not spoken:
            raise ClipError(Reason.UNALIGNED, "the transcript holds no spoken word")
        samples = utterance.samples
        if not np.isfinite(samples).all():
            first = int(np.argmin(np.isfinite(samples)))
            raise ClipError(
                Reason.BAD_SOUND, f"sample {first} is {samples[first]}; need finite samples"
            )
        self._begin()
        cut = [Piece(0.0, utterance.duration_s, (0, len(spoken)))]
        if utterance.duration_s > LONGEST_PIECE_S:
            cut = pieces(self._rough(utterance), samples)
        phones: list[Interval] = []
        words: list[Interval] = []
        for piece in cut:
            first, last = (round(time * SAMPLE_RATE_HZ) for time in (piece.start_s, piece.end_s))
            own = spoken[slice(*piece.words)]
            if own:
                self._search(samples[first:last], own)
                found_phones, found_words = self._states(samples[first:last], own)
                phones += [_later(phone, piece.start_s) for phone in found_phones]
                words += [_later(word, piece.start_s) for word in found_words]
        return Alignment(
            without_gaps(phones, utterance.duration_s), tuple(words), tuple(spoken), float("nan")
        )

    def _names(self, spoken: Sequence[SpokenWord]) -> list[str]:
        """Dictionary names of words, added to the decoder's where it has them not.

        Numbered by order of appearance and acronym, as one spelling can have two pronunciations.
        """
        names = []
        for word in spoken:
            key = f"{word.word}|{word.acronym}"
            if key not in self._known:
                name = f"w{len(self._known)}"
                for number, phones in enumerate(self._lexicon.pronunciations(word), start=1):
                    labels = " ".join(_NOISE_PHONE if p == NOISE else p for p in phones)
                    self._decoder.add_word(
                        name if number == 1 else f"{name}({number})", labels, True
                    )
                self._known[key] = name
            names.append(self._known[key])
        return names

    def _decode(self, samples: NDArray[np.float32]) -> None:
        steps = np.round(np.clip(samples, -1.0, 1.0) * _INT16)
        if len(steps) and np.ptp(steps) <= _SILENCE_STEPS:
            raise ClipError(
                Reason.UNALIGNED,
                f"{len(samples) / SAMPLE_RATE_HZ:.2f} s in which words were looked for are digital "
                f"silence: samples differ by at most {_SILENCE_STEPS} steps of 16 bits; check the "
                "sound",
            )
        sound = steps.astype("<i2").tobytes()
        try:
            # The front end follows the level of the sound, from one search to the next too.
            self._decoder.reinit_feat()
            self._decoder.start_utt()
            self._decoder.process_raw(sound, False, True)
            self._decoder.end_utt()
        except RuntimeError as error:
            duration_s = len(samples) / SAMPLE_RATE_HZ
            raise ClipError(
                Reason.UNALIGNED,
                f"pocketsphinx finds no path through {duration_s:.2f} s ({error}): check the "
                "transcript",
            ) from None

    def _search(self, samples: NDArray[np.float32], spoken: Sequence[SpokenWord]) -> list[Interval]:
        """Find the words."""
        self._decoder.set_align_text(" ".join(self._names(spoken)))
        self._decode(samples)
        found = []
        if self._decoder.hyp() is not None:
            found = [
                Interval(entry.start_frame * FRAME_S, (entry.end_frame + 1) * FRAME_S, entry.word)
                for entry in self._decoder.seg()
                if not _is_filler(entry.word)
            ]
        self._check(len(found), len(spoken), len(samples) / SAMPLE_RATE_HZ)
        return found

    def _rough(self, utterance: Utterance) -> list[Interval]:
        """Times of the spoken words to cut by: the recogniser's, or a search of the whole."""
        spoken, transcript = utterance.spoken, utterance.transcript
        if len(transcript.words) == len(transcript.text.split()):
            heard = [transcript.words[word.surface] for word in spoken]
            return [Interval(word.start_s, word.end_s, word.word) for word in heard]
        return self._search(utterance.samples, spoken)

    def _states(
        self, samples: NDArray[np.float32], spoken: Sequence[SpokenWord]
    ) -> tuple[list[Interval], list[Interval]]:
        """Phones and words of the search before, from a search of its states."""
        self._decoder.set_alignment()
        self._decode(samples)
        # The alignment crashes the interpreter as a plain iterable; its words() do not.
        entries = [
            (word.name, word.start, word.duration, [(p.name, p.start, p.duration) for p in word])
            for word in self._decoder.get_alignment().words()
        ]
        phones = [
            Interval(start * FRAME_S, (start + length) * FRAME_S, _phone(name))
            for name, start, length in itertools.chain.from_iterable(entry[3] for entry in entries)
        ]
        found = [(start, length) for name, start, length, _ in entries if not _is_filler(name)]
        self._check(len(found), len(spoken), len(samples) / SAMPLE_RATE_HZ)
        words = [
            Interval(start * FRAME_S, (start + length) * FRAME_S, word.word)
            for word, (start, length) in zip(spoken, found, strict=True)
        ]
        return phones, words

    @staticmethod
    def _check(found: int, wanted: int, duration_s: float) -> None:
        if found != wanted:
            raise ClipError(
                Reason.UNALIGNED,
                f"pocketsphinx finds {found} of {wanted} words in {duration_s:.2f} s: check the "
                "transcript",
            )


def _is_filler(name: str) -> bool:
    return name.startswith(("<", "[", "+", "(")) or name == "SIL"


def _phone(name: str) -> str:
    """A phone of pocketsphinx's; its fillers (``+NSN+``, ``+SPN+``) are noise."""
    return name if name in PHONES else NOISE


def _later(interval: Interval, by_s: float) -> Interval:
    return Interval(interval.start_s + by_s, interval.end_s + by_s, interval.label)
