"""The aligners by name: a trained GMM-HMM, Montreal Forced Aligner, pocketsphinx."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dimitra.clips import ClipError, Reason
from dimitra.speech.aligner import Aligner
from dimitra.speech.alignment import Alignment, PhonemeAligner, Utterance, unaligned
from dimitra.speech.lexicon import Lexicon, english, read_dictionary
from dimitra.speech.mfa import MfaAligner
from dimitra.speech.mfa_program import MfaError, find_mfa
from dimitra.speech.scripts import check_script
from dimitra.speech.sphinx import PocketsphinxAligner

ENGLISH = "en"
G2P = "g2p_en"
"""Asset that pronounces English words outside the dictionary."""


class GmmAligner:
    """The aligner that `aligner_training` trains, with its dictionary.

    Args:
        aligner: the trained model.
        lexicon: pronounces the words.
    """

    def __init__(self, aligner: Aligner, lexicon: Lexicon) -> None:
        self._aligner = aligner
        self._lexicon = lexicon

    def align_all(self, utterances: Sequence[Utterance]) -> list[Alignment | ClipError]:
        """An alignment of each clip, or why it has none."""
        return [self._align(utterance) for utterance in utterances]

    def _align(self, utterance: Utterance) -> Alignment | ClipError:
        try:
            check_script(utterance.transcript.text, self._lexicon.scripts, "the dictionary")
            return self._aligner.align(utterance.samples, utterance.spoken, self._lexicon)
        except ClipError as error:
            return error


class EnglishOnly:
    """An aligner with an English dictionary: it refuses transcripts of other languages.

    Args:
        aligner: what aligns the others.
    """

    def __init__(self, aligner: PhonemeAligner) -> None:
        self._aligner = aligner

    def align_all(self, utterances: Sequence[Utterance]) -> list[Alignment | ClipError]:
        """An alignment of each clip, or why it has none."""
        fitting = [item for item in utterances if item.transcript.language == ENGLISH]
        found = iter(self._aligner.align_all(fitting))
        return [
            next(found)
            if item.transcript.language == ENGLISH
            else ClipError(
                Reason.BAD_TRANSCRIPT,
                f"its language is {item.transcript.language!r}, the dictionary's {ENGLISH!r}: set "
                "speech.dictionary to one of its language, with speech.aligner gmm or mfa",
            )
            for item in utterances
        ]


def lexicon_for(dictionary: Path | None, language: str, weights: Path) -> Lexicon:
    """The dictionary of a run.

    Args:
        dictionary: pronunciation file, or None for CMUdict.
        language: of all transcripts, ISO 639-1, or ``auto``.
        weights: of the network that pronounces English words outside a dictionary.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file breaks its form.
    """
    if dictionary is None:
        return english(weights)
    return read_dictionary(dictionary, weights if language == ENGLISH else None)


def gmm_aligner(folder: Path, lexicon: Lexicon, *, english_only: bool) -> PhonemeAligner:
    """The trained aligner.

    Args:
        folder: what the stage ``align_train`` wrote.
        lexicon: pronounces the words.
        english_only: the dictionary is CMUdict.
    """
    aligner = GmmAligner(Aligner.load(folder), lexicon)
    return EnglishOnly(aligner) if english_only else aligner


def pocketsphinx_aligner(lexicon: Lexicon) -> PhonemeAligner:
    """An aligner with the English model that pocketsphinx carries."""
    return EnglishOnly(PocketsphinxAligner(lexicon))


def mfa_aligner(
    command: str,
    dictionary: str,
    acoustic_model: str,
    identity: dict[str, str],
    guess: Lexicon | None,
) -> PhonemeAligner:
    """Montreal Forced Aligner, the same as the driver's.

    Args:
        command: name or path of ``mfa``.
        dictionary: name or path.
        acoustic_model: name or path.
        identity: of the driver's MFA (`Mfa.identity`).
        guess: pronounces what its dictionary lacks.

    Raises:
        MfaMissingError: it is not on this machine.
        MfaError: it is another version, or has other models, than the driver's.
    """
    mfa = find_mfa(command, dictionary, acoustic_model)
    own = mfa.identity()
    if own != identity:
        wrong = ", ".join(
            f"{key} {value} for {identity.get(key)}"
            for key, value in own.items()
            if value != identity.get(key)
        )
        raise MfaError(f"MFA differs from the driver's on this machine: {wrong}")
    return MfaAligner(mfa, guess)


def aligner_by_name(
    name: str,
    dictionary: Path | None,
    language: str,
    weights: Path,
    folder: Path | None = None,
    mfa: Mapping[str, Any] | None = None,
) -> PhonemeAligner:
    """The aligner of a run.

    Args:
        name: ``speech.aligner``.
        dictionary: as for ``lexicon_for``.
        language: as for ``lexicon_for``.
        weights: as for ``lexicon_for``.
        folder: of the trained aligner, for ``gmm``.
        mfa: the arguments of ``mfa_aligner`` but the last, for ``mfa``.

    Raises:
        MfaMissingError: MFA is not on this machine.
        MfaError: it is another version, or has other models, than the driver's.
        ValueError: the dictionary breaks its form, or what the aligner needs was not given.
    """
    if name == "mfa" and mfa is not None:
        own = language == ENGLISH and dictionary is None
        return mfa_aligner(**mfa, guess=english(weights) if own else None)
    lexicon = lexicon_for(dictionary, language, weights)
    if name == "pocketsphinx":
        return pocketsphinx_aligner(lexicon)
    if name == "gmm" and folder is not None:
        return gmm_aligner(folder, lexicon, english_only=dictionary is None)
    raise ValueError(f"speech.aligner {name!r} lacks its folder or its settings")


def settled(
    result: Alignment | ClipError, utterance: Utterance, *, mark: bool
) -> Alignment | ClipError:
    """An aligner's answer, with a refused clip marked as noise where ``mark`` says so.

    Only ``UNALIGNED`` is marked: a transcript in another script stays refused.
    """
    if mark and isinstance(result, ClipError) and result.reason is Reason.UNALIGNED:
        return unaligned(utterance)
    return result
