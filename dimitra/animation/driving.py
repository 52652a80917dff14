"""What drives an animation: a recording's speech features, phonemes and text features."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import numpy as np

from dimitra.animation.features import write_features
from dimitra.animation.notices import Notify
from dimitra.animation.settings import Settings
from dimitra.animation.sound import Sound
from dimitra.animation.speech import listen, load_aligner
from dimitra.assets import asset_path
from dimitra.cmdt.drive import Drive
from dimitra.speech.encoders import load_speech_encoder, load_text_encoder
from dimitra.speech.text import text_features

Progress: TypeAlias = Callable[[str, int, int], None]
"""Told a step's name, how much of it is done, and how much there is (0: not known)."""

NORMALISING = frozenset(("wav2vec2_xlsr53_english", "wavlm_large"))
"""Speech encoders that normalise loudness over the whole sound, so that it is encoded at once."""


def drive_of(
    sound: Sound,
    folder: Path,
    settings: Settings,
    scratch: Path,
    transcript: str | None,
    report: Progress,
    told: Notify,
) -> tuple[Drive, str]:
    """What drives the motion, and the text that was heard or given.

    Args:
        sound: the recording.
        folder: of the trained models; their aligner lies in it.
        settings: encoders, recogniser and aligner.
        scratch: folder for the speech features.
        transcript: what is said, where that is known.
        report: told of each step.
        told: told what a person should know.

    Raises:
        AnimationError: a given text cannot be used, or there is no aligner.
        AssetError: weights are missing.
        EncoderError: an encoder cannot be loaded.
    """
    section = settings.speech
    spoken = listen(
        sound,
        settings,
        load_aligner(folder, settings, told),
        transcript,
        told,
        functools.partial(report, "words"),
    )
    encoder = load_speech_encoder(
        section.encoder,
        asset_path(section.encoder_weights),
        section.block_s,
        section.overlap_s,
        section.device,
    )
    features = write_features(
        encoder,
        sound.samples,
        section.block_s,
        section.overlap_s,
        scratch / "features.f16",
        functools.partial(report, "speech features"),
        whole=section.encoder in NORMALISING,
    )
    text_encoder = load_text_encoder(
        section.text_encoder, asset_path(section.text_encoder_weights), section.text_tokens
    )
    text = text_features(
        spoken.text,
        spoken.starts_s,
        sound.duration_s,
        text_encoder,
        section.text_cell_s,
        section.text_tokens,
    )
    drive = Drive(
        features=features,
        # As the part speech.npz holds it.
        rate_hz=float(np.float32(encoder.rate_hz)),
        phonemes=spoken.phonemes(sound.frames),
        text_tokens=text.tokens,
        text_mask=text.mask,
        text_start_s=text.start_s,
    )
    return drive, spoken.text
