"""Speech features, phonemes and text features of every clip: `python -m pipelines.speech`."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dimitra.assets import asset_path
from dimitra.shards import Members, npz_bytes
from dimitra.speech.alignment import Alignment, Utterance, word_starts
from dimitra.speech.encoders import (
    SPEECH_MODELS,
    TEXT_PACKAGES,
    load_speech_encoder,
    load_text_encoder,
)
from dimitra.speech.errors import EncoderError
from dimitra.speech.features import SAMPLE_RATE_HZ, VIDEO_FPS, SpeechEncoder
from dimitra.speech.lexicon import DictionaryError
from dimitra.speech.mfa_program import MfaError, MfaMissingError
from dimitra.speech.phonemes import frame_phonemes
from dimitra.speech.text import TextEncoder, text_features
from dimitra.speech.textgrid import textgrid_bytes
from dimitra.speech.transcript import Transcript
from pipelines.lineage.record import with_lineage
from pipelines.params import load
from pipelines.runtime.jobs import Job, Resources, read_manifest, run, units_of
from pipelines.runtime.mainguard import guarded
from pipelines.training.aligning import (
    MFA_BATCH,
    SpeechWorker,
    aligner_inputs,
    aligner_params,
    build_aligner,
    lexicon_assets,
)
from pipelines.training.aligning import PACKAGES as ALIGNER_PACKAGES

CROPS = Path("data/crops")
TRANSCRIPTS = Path("data/transcripts")
OUTPUT = Path("data/speech")

PACKAGES = ("numpy",)

SAMPLES_PER_FRAME = SAMPLE_RATE_HZ // VIDEO_FPS


def speech_part(
    samples: NDArray[np.float32], alignment: Alignment, encoder: SpeechEncoder
) -> bytes:
    """The part ``speech.npz``: features at the encoder's rate, one phoneme a video frame."""
    return npz_bytes(
        {
            "features": encoder.encode(samples).astype(np.float16),
            "rate_hz": np.array(encoder.rate_hz, dtype=np.float32),
            "phonemes": frame_phonemes(alignment.phones, len(samples) // SAMPLES_PER_FRAME),
        }
    )


def text_part(
    transcript: Transcript,
    alignment: Alignment,
    duration_s: float,
    encoder: TextEncoder,
    cell_s: float,
    limit: int,
) -> bytes:
    """The part ``text.npz``: token features of each stretch of the transcript."""
    starts_s = word_starts(transcript, alignment)
    features = text_features(transcript.text, starts_s, duration_s, encoder, cell_s, limit)
    return npz_bytes(
        {"tokens": features.tokens, "mask": features.mask, "start_s": features.start_s}
    )


def packages_of(encoder: str) -> tuple[str, ...]:
    """Distributions whose version the stage's bytes depend on.

    Raises:
        EncoderError: one of the encoder's is not installed.
    """
    chosen = SPEECH_MODELS[encoder].packages
    for name in chosen:
        if importlib.util.find_spec(name) is None:
            raise EncoderError(
                f"speech.encoder {encoder} needs {name}, which is not installed; "
                "pip install -c constraints.txt -e '.[gpu]' in the checkout, or choose another "
                "speech.encoder"
            )
    return tuple(dict.fromkeys((*chosen, *TEXT_PACKAGES, *PACKAGES)))


def make_worker(params: dict[str, Any]) -> SpeechWorker:
    """A worker that encodes, aligns and reads clips.

    Args:
        params: ``encoder``, ``encoder_weights``, ``block_s``, ``overlap_s``, ``device``,
            ``text_encoder``, ``text_encoder_weights``, ``text_tokens``, ``text_cell_s``, and those
            of `aligner_params`.
    """
    aligner = build_aligner(params)
    encoder = load_speech_encoder(
        params["encoder"],
        asset_path(params["encoder_weights"]),
        params["block_s"],
        params["overlap_s"],
        params["device"],
    )
    limit = params["text_tokens"]
    text_encoder = load_text_encoder(
        params["text_encoder"], asset_path(params["text_encoder_weights"]), limit
    )

    def encode(utterance: Utterance, alignment: Alignment) -> Members:
        samples, duration_s = utterance.samples, utterance.duration_s
        grid = textgrid_bytes({"words": alignment.words, "phones": alignment.phones}, duration_s)
        text = text_part(
            utterance.transcript, alignment, duration_s, text_encoder, params["text_cell_s"], limit
        )
        return {
            "speech.npz": speech_part(samples, alignment, encoder),
            "text.npz": text,
            "TextGrid": grid,
        }

    return SpeechWorker(aligner, encode, mark=params["unaligned"] == "mark")


def main() -> None:
    """Run the stage with `params.yaml`."""
    params = load()
    section = params.speech
    run(
        Job(
            stage="speech",
            worker="pipelines.speech:make_worker",
            params={
                **section.model_dump(exclude={"deadline_s", "mfa"}),
                **aligner_params(params),
            },
            units=units_of(read_manifest(), [CROPS, TRANSCRIPTS]),
            output=OUTPUT,
            budget=params.budgets.speech,
            deadline_s=section.deadline_s,
            seed=params.seed,
            assets=(
                section.encoder_weights,
                section.text_encoder_weights,
                *lexicon_assets(params),
            ),
            corpus_inputs=aligner_inputs(params),
            packages=(*packages_of(section.encoder), *ALIGNER_PACKAGES[section.aligner]),
            resources=Resources(
                gpus=1.0 if section.device == "cuda" else 0.0,
                batch=MFA_BATCH if section.aligner == "mfa" else 1,
            ),
        ),
        params.ray,
        params.storage,
    )


if __name__ == "__main__":
    sys.exit(guarded(with_lineage(main), DictionaryError, EncoderError, MfaError, MfaMissingError))
