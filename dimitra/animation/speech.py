"""What is said in a recording, and when: words, phonemes, text features."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dimitra.animation.errors import AnimationError
from dimitra.animation.notices import Notify
from dimitra.animation.passages import Passage, cut_at_pauses
from dimitra.animation.settings import Settings
from dimitra.animation.sound import SILENT_RMS, Sound, rms
from dimitra.assets import asset_path
from dimitra.clips import ClipError
from dimitra.speech.aligners import ENGLISH, G2P, aligner_by_name
from dimitra.speech.alignment import (
    Alignment,
    PhonemeAligner,
    Utterance,
    unaligned,
    word_starts,
)
from dimitra.speech.features import SAMPLE_RATE_HZ
from dimitra.speech.mfa_program import find_mfa
from dimitra.speech.phonemes import NOISE, SILENCE, Interval, frame_phonemes
from dimitra.speech.transcript import AUTO, Transcript, WhisperRecogniser, dataset_transcript

TRANSCRIPT_S = 600.0
"""Longest sound whose whole text is aligned at once; memory grows with it."""


@dataclass(frozen=True, eq=False)
class Spoken:
    """The words of a recording on its clock.

    Attributes:
        phones: in order; silence or noise where nothing was recognised.
        words: as written, one entry a word.
        starts_s: when each begins, seconds, not decreasing.
    """

    phones: tuple[Interval, ...]
    words: tuple[str, ...]
    starts_s: tuple[float, ...]

    @property
    def text(self) -> str:
        """All words."""
        return " ".join(self.words)

    def phonemes(self, frames: int) -> NDArray[np.int16]:
        """Phoneme id of each video frame, [T]."""
        return frame_phonemes(self.phones, frames)


def listen(
    sound: Sound,
    settings: Settings,
    aligner: PhonemeAligner,
    transcript: str | None,
    notify: Notify,
    done: Callable[[int, int], None],
) -> Spoken:
    """Recognise and align a recording, passage by passage; or align a given text as a whole.

    Args:
        sound: the recording.
        settings: recogniser and language.
        aligner: finds the times.
        transcript: what is said, where that is known.
        notify: is told of passages without words, or whose words do not fit.
        done: told how many of how many seconds are heard.

    Raises:
        AnimationError: a given text cannot be used.
        AssetError: the recogniser's weights are missing.
        RecogniserError: they are damaged.
    """
    section = settings.transcribe
    given = transcript is not None
    recogniser = (
        None
        if given and section.language != AUTO
        else WhisperRecogniser(asset_path(section.model), section.language, section.beam_size)
    )
    if given and sound.duration_s > TRANSCRIPT_S:
        raise AnimationError(
            f"{sound.name} lasts {sound.duration_s:.0f} s; with a transcript it may last "
            f"{TRANSCRIPT_S:.0f}. Leave the transcript out, or cut the recording"
        )
    passages = [Passage(0, len(sound.samples))] if given else cut_at_pauses(sound.samples)
    phones: list[Interval] = []
    words: list[str] = []
    starts_s: list[float] = []
    wordless: list[float] = []
    for passage in passages:
        samples = np.array(sound.samples[passage.start : passage.stop])
        offset_s, length_s = passage.start_s, len(samples) / SAMPLE_RATE_HZ
        try:
            heard = _words(samples, transcript, recogniser, section.language)
        except ClipError as error:
            if given:
                raise AnimationError(f"the transcript cannot be used: {error.message}") from None
            label = SILENCE if rms(samples) < SILENT_RMS else NOISE
            phones.append(Interval(offset_s, offset_s + length_s, label))
            wordless.append(length_s)
        else:
            alignment = _aligned(aligner, samples, heard, sound.name, offset_s, notify)
            phones += [
                Interval(phone.start_s + offset_s, phone.end_s + offset_s, phone.label)
                for phone in alignment.phones
            ]
            words += heard.text.split()
            starts_s += [start + offset_s for start in word_starts(heard, alignment)]
        done(round(offset_s + length_s), round(sound.duration_s))
    if wordless:
        notify(
            f"no word was recognised in {sum(wordless):.0f} of the {sound.duration_s:.0f} s of "
            f"{sound.name}: there the mouth follows the sound alone. If somebody speaks there, "
            "give the words with --transcript"
        )
    return Spoken(tuple(phones), tuple(words), tuple(starts_s))


def _words(
    samples: NDArray[np.float32],
    transcript: str | None,
    recogniser: WhisperRecogniser | None,
    language: str,
) -> Transcript:
    """What a passage says; raises ClipError where it says nothing."""
    if transcript is None and recogniser is not None:
        return recogniser.transcribe(samples)
    if recogniser is not None:
        language = recogniser.language(samples)
    return dataset_transcript(transcript or "", language)


def _aligned(
    aligner: PhonemeAligner,
    samples: NDArray[np.float32],
    heard: Transcript,
    name: str,
    offset_s: float,
    notify: Notify,
) -> Alignment:
    """Times of a passage's words; noise from end to end where the aligner refuses them."""
    utterance = Utterance("speech", samples, heard)
    (found,) = aligner.align_all([utterance])
    if isinstance(found, Alignment):
        return found
    end_s = offset_s + utterance.duration_s
    notify(
        f"{name}, {offset_s:.0f} to {end_s:.0f} s: words and sound cannot be aligned "
        f"({found.message}); there the mouth follows the sound alone"
    )
    return unaligned(utterance)


def load_aligner(models: Path, settings: Settings, notify: Notify) -> PhonemeAligner:
    """The aligner under which the models were trained, or pocketsphinx where that is not here.

    Raises:
        AnimationError: neither is.
        AssetError: a dictionary, or the network beside it, is missing.
    """
    section = settings.speech
    language = settings.transcribe.language
    dictionary = None if section.dictionary is None else asset_path(section.dictionary)
    folder = models / "aligner"
    if section.aligner != "gmm" or (folder / "aligner.npz").is_file():
        mfa = None
        if section.aligner == "mfa":
            names = dict(section.mfa)
            found = find_mfa(names["command"], names["dictionary"], names["acoustic_model"])
            mfa = {**names, "identity": found.identity()}
        return aligner_by_name(section.aligner, dictionary, language, asset_path(G2P), folder, mfa)
    if language not in (ENGLISH, AUTO) or dictionary is not None:
        raise AnimationError(
            f"{folder} holds no aligner, and the one that needs no training speaks English alone "
            f"(transcribe.language is {language!r}); copy models/aligner of the run into {models}"
        )
    notify(
        f"{folder} holds no aligner: pocketsphinx finds the phonemes, with which the models were "
        "not trained. Copy models/aligner of the run there for the best lips"
    )
    return aligner_by_name("pocketsphinx", None, language, asset_path(G2P))
