"""What was said: the dataset's own text where it has one, else speech recognition."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from dimitra.clips import ClipError, Reason
from dimitra.shards import json_bytes
from dimitra.speech.words import spoken_words

log = logging.getLogger(__name__)

Source = Literal["dataset", "asr"]

_RATE_HZ = 16_000
_WHISPER_FILES = ("config.json", "model.bin", "tokenizer.json", "vocabulary.txt")


@dataclass(frozen=True)
class Word:
    """A written word and when it was said, by the recogniser's own reckoning (0.02 s steps)."""

    word: str
    start_s: float
    end_s: float


@dataclass(frozen=True)
class Transcript:
    """The text of a clip.

    Attributes:
        text: as written, in one line.
        language: ISO 639-1 code.
        source: ``dataset`` or ``asr``.
        words: with times; empty for a dataset's text.
    """

    text: str
    language: str
    source: Source
    words: tuple[Word, ...] = ()

    def to_bytes(self) -> bytes:
        """The part ``transcript.json``."""
        words = [
            {"word": word.word, "start_s": word.start_s, "end_s": word.end_s} for word in self.words
        ]
        return json_bytes(
            {"text": self.text, "language": self.language, "source": self.source, "words": words}
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> Transcript:
        """Read the part ``transcript.json``.

        Raises:
            ValueError: a key is missing or unknown.
        """
        values: Mapping[str, Any] = json.loads(data)
        if set(values) != {"text", "language", "source", "words"}:
            raise ValueError(
                f"transcript.json has the keys {sorted(values)}; it needs "
                "language, source, text, words"
            )
        return cls(
            values["text"],
            values["language"],
            values["source"],
            tuple(Word(word["word"], word["start_s"], word["end_s"]) for word in values["words"]),
        )


class Recogniser(Protocol):
    """Turns sound into text."""

    def transcribe(self, samples: NDArray[np.float32]) -> Transcript:
        """Transcribe ``[N]`` samples of 16 kHz mono in -1..1.

        Raises:
            ClipError: ``NO_TRANSCRIPT`` where no word is heard.
        """
        ...


def dataset_transcript(text: str, language: str) -> Transcript:
    """A dataset's own text as a transcript; white space is made single.

    Raises:
        ClipError: ``NO_TRANSCRIPT`` where it holds no word.
    """
    return _with_words(Transcript(" ".join(text.split()), language, "dataset"))


def _with_words(transcript: Transcript) -> Transcript:
    if not spoken_words(transcript.text):
        raise ClipError(
            Reason.NO_TRANSCRIPT,
            f"the {transcript.source} text {transcript.text!r} holds no word",
        )
    return transcript


class WhisperRecogniser:
    """Whisper (Radford et al. 2023) through CTranslate2: greedy or beam search at temperature 0.

    One thread and no sampling: the same sound gives the same text. No network is used.

    Args:
        folder: the converted model.
        language: ISO 639-1 code; English-only models take ``en``.
        beam_size: 1 is greedy search.

    Raises:
        FileNotFoundError: a file of the model is missing.
    """

    def __init__(self, folder: Path, language: str, beam_size: int) -> None:
        # Checked here, as faster-whisper would go to the network for a missing tokenizer.
        missing = [name for name in _WHISPER_FILES if not (folder / name).is_file()]
        if missing:
            raise FileNotFoundError(
                f"{folder} lacks {', '.join(missing)}: run `dimitra assets fetch whisper_tiny_en`"
            )
        from faster_whisper import WhisperModel

        self._model = WhisperModel(
            str(folder), device="cpu", compute_type="int8", cpu_threads=1, local_files_only=True
        )
        self._language = language
        self._beam_size = beam_size

    def transcribe(self, samples: NDArray[np.float32]) -> Transcript:
        """Transcribe ``[N]`` samples of 16 kHz mono in -1..1.

        Raises:
            ClipError: ``NO_TRANSCRIPT`` where no word is heard.
        """
        segments, _ = self._model.transcribe(
            samples,
            language=self._language,
            beam_size=self._beam_size,
            temperature=[0.0],
            condition_on_previous_text=False,
            word_timestamps=True,
        )
        end_s = len(samples) / _RATE_HZ
        words: list[Word] = []
        for piece in (piece for segment in segments for piece in segment.words or ()):
            start_s = round(min(float(piece.start), end_s), 3)
            stop_s = round(min(float(piece.end), end_s), 3)
            # A piece without a leading space continues the word before it ("30" ",000").
            if words and not piece.word.startswith(" "):
                words[-1] = Word(words[-1].word + piece.word.strip(), words[-1].start_s, stop_s)
            else:
                words.append(Word(piece.word.strip(), start_s, stop_s))
        text = " ".join(word.word for word in words)
        return _with_words(Transcript(text, self._language, "asr", tuple(words)))
