"""What was said, and in which language: the dataset's own text, else speech recognition."""

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
from dimitra.speech.scripts import check_script, language_scripts
from dimitra.speech.words import spoken_words

log = logging.getLogger(__name__)

Source = Literal["dataset", "asr"]

_RATE_HZ = 16_000
_WHISPER_FILES = ("config.json", "model.bin", "tokenizer.json")
_VOCABULARIES = ("vocabulary.json", "vocabulary.txt")
"""Converters of different ages write one or the other."""

_UNSPACED = frozenset({"bo", "ja", "km", "lo", "my", "th", "yue", "zh"})
"""Languages written without spaces: each of Whisper's pieces is a word."""

AUTO = "auto"
"""In place of a language: recognised clip by clip."""


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


class RecogniserError(ValueError):
    """A recogniser's model cannot be loaded; the message names its folder."""


class Recogniser(Protocol):
    """Turns sound into text."""

    def transcribe(self, samples: NDArray[np.float32]) -> Transcript:
        """Transcribe ``[N]`` samples of 16 kHz mono in -1..1.

        Raises:
            ClipError: ``NO_TRANSCRIPT`` where no word is heard, ``BAD_TRANSCRIPT`` where what is
                heard is not written as its language is.
        """
        ...

    def language(self, samples: NDArray[np.float32]) -> str:
        """ISO 639-1 code of the language spoken in ``[N]`` samples of 16 kHz mono in -1..1."""
        ...


def dataset_transcript(text: str, language: str) -> Transcript:
    """A dataset's own text as a transcript; white space is made single.

    Raises:
        ClipError: ``NO_TRANSCRIPT`` where it holds no word, ``BAD_TRANSCRIPT`` where it is in
            another script than its language.
    """
    return _checked(Transcript(" ".join(text.split()), language, "dataset"))


def _checked(transcript: Transcript) -> Transcript:
    language = transcript.language
    check_script(transcript.text, language_scripts(language), f"language {language!r}")
    if not spoken_words(transcript.text, language):
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
        language: ISO 639-1 code, or ``auto``: recognised in the first 30 s of each clip.
            English-only models take ``en``, and that is what they recognise.
        beam_size: 1 is greedy search.

    Raises:
        FileNotFoundError: a file of the model is missing.
        RecogniserError: a file of the model is damaged.
        ValueError: the model does not know the language.
    """

    def __init__(self, folder: Path, language: str, beam_size: int) -> None:
        # Checked here, as faster-whisper would go to the network for a missing tokenizer.
        missing = [name for name in _WHISPER_FILES if not (folder / name).is_file()]
        if not any((folder / name).is_file() for name in _VOCABULARIES):
            missing.append(" or ".join(_VOCABULARIES))
        if missing:
            raise FileNotFoundError(
                f"{folder} lacks {', '.join(missing)}: it is no Whisper model in CTranslate2's "
                "form; `dimitra assets fetch whisper_tiny_en` gets one, "
                "`ct2-transformers-converter --copy_files tokenizer.json preprocessor_config.json` "
                "makes one"
            )
        from faster_whisper import WhisperModel

        try:
            self._model = WhisperModel(
                str(folder), device="cpu", compute_type="int8", cpu_threads=1, local_files_only=True
            )
        except MemoryError:
            raise
        except Exception as error:  # its reader, and tokenizers', raise bare exceptions
            raise RecogniserError(
                f"the Whisper model {folder} cannot be loaded: model.bin or another of its files "
                f"is damaged ({type(error).__name__}: {error}); get it again"
            ) from error
        known = self._model.supported_languages
        if language != AUTO and language not in known:
            raise ValueError(
                f"the Whisper model {folder} does not know the language {language!r} "
                f"(transcribe.language); it knows: {', '.join(known)}"
            )
        self._only = known[0] if len(known) == 1 else None
        self._language = language
        self._beam_size = beam_size

    def language(self, samples: NDArray[np.float32]) -> str:
        """ISO 639-1 code of the language spoken in ``[N]`` samples of 16 kHz mono in -1..1."""
        if self._language != AUTO:
            return self._language
        if self._only is not None:
            return str(self._only)
        found, share, _ = self._model.detect_language(samples)
        log.info("language %s, probability %.2f", found, share)
        return str(found)

    def transcribe(self, samples: NDArray[np.float32]) -> Transcript:
        """Transcribe ``[N]`` samples of 16 kHz mono in -1..1.

        Raises:
            ClipError: ``NO_TRANSCRIPT`` where no word is heard, ``BAD_TRANSCRIPT`` where what is
                heard is not written as its language is.
        """
        language = self.language(samples)
        segments, _ = self._model.transcribe(
            samples,
            language=language,
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
            written = piece.word.strip()
            # A piece without a leading space continues the word before it ("30" ",000").
            if words and not piece.word.startswith(" ") and language not in _UNSPACED:
                words[-1] = Word(words[-1].word + written, words[-1].start_s, stop_s)
            elif written:
                words.append(Word(written, start_s, stop_s))
        text = " ".join(word.word for word in words)
        return _checked(Transcript(text, language, "asr", tuple(words)))
