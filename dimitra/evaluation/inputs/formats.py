"""What each method reads, part by part, and what a part is made of.

Read from the published code: StyleTalk (``FuxiVirtualHuman/styletalk``, ``inference_for_demo.py``
of commit 4ed06fd, ``core/utils.py``), SadTalker (``OpenTalker/SadTalker``, ``inference.py`` of
commit 1119361, ``src/utils/preprocess.py``) and DreamTalk (``ali-vilab/dreamtalk``,
``inference_for_demo_video.py`` of commit 1d917e6, ``core/utils.py``). No part is a pickle.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from dimitra.evaluation.inputs.coefficients import (
    HELD_FRAMES,
    Given,
    deng_bytes,
    frames_at,
    sadtalker_bytes,
)
from dimitra.media.video import FPS
from dimitra.shards import Members, read_npz
from dimitra.speech.phonemes import frame_phonemes
from dimitra.speech.styletalk import FPS as STYLETALK_FPS
from dimitra.speech.textgrid import read_textgrid

Format = Literal["plain", "styletalk", "sadtalker", "dreamtalk"]
Source = Literal["motion", "speech"]
"""Folder below ``data/`` that a part is made of."""
WAV2VEC = "wav2vec2_xlsr53_english"
"""The speech encoder of DreamTalk, by the name of ``speech.encoder``."""
_WAV2VEC_SHAPE = (1024, 50.0)
"""Values a vector, vectors a second."""


@dataclass(frozen=True)
class Part:
    """One file a clip.

    Attributes:
        name: of the part.
        file: below the method's folder, with ``{clip}``.
        source: what it is made of.
        make: bytes of the file, from the clip's parts in the source; raises ``ValueError`` where
            the clip cannot give them.
        needed: the method does not run without it.
        basel: it holds coefficients of the Basel model.
        wav2vec: it holds features of DreamTalk's encoder.
    """

    name: str
    file: str
    source: Source
    make: Callable[[Members, Given], bytes]
    needed: bool = True
    basel: bool = False
    wav2vec: bool = False


def _phonemes(parts: Members, given: Given) -> bytes:  # noqa: ARG001 - the same for both
    frames = len(read_npz(parts["speech.npz"])["phonemes"])
    phones = read_textgrid(parts["TextGrid"])["phones"]
    ids = frame_phonemes(phones, round(frames * STYLETALK_FPS / FPS), STYLETALK_FPS)
    return json.dumps(ids.tolist()).encode()


def _style(fps: float) -> Callable[[Members, Given], bytes]:
    def make(parts: Members, given: Given) -> bytes:
        motion = read_npz(parts["motion.npz"])
        rows = 1 if given == "first_frame" else frames_at(motion, fps)
        return deng_bytes(motion, fps, rows, given)

    return make


def _pose(fps: float) -> Callable[[Members, Given], bytes]:
    def make(parts: Members, given: Given) -> bytes:
        motion = read_npz(parts["motion.npz"])
        return deng_bytes(motion, fps, frames_at(motion, fps) + HELD_FRAMES, given)

    return make


def _sadtalker(parts: Members, given: Given) -> bytes:
    return sadtalker_bytes(read_npz(parts["motion.npz"]), given)


def _wav2vec(parts: Members, given: Given) -> bytes:  # noqa: ARG001 - the same for both
    speech = read_npz(parts["speech.npz"])
    shape = (speech["features"].shape[1], float(speech["rate_hz"]))
    if shape != _WAV2VEC_SHAPE:
        raise ValueError(f"features of {shape[0]} values, {shape[1]:g} a second; need 1024, 50")
    buffer = io.BytesIO()
    np.save(buffer, speech["features"].astype(np.float32), allow_pickle=False)
    return buffer.getvalue()


PARTS: Mapping[Format, tuple[Part, ...]] = {
    "plain": (),
    "styletalk": (
        Part("phonemes", "phonemes/{clip}_seq.json", "speech", _phonemes),
        Part("style", "style/{clip}.mat", "motion", _style(STYLETALK_FPS), basel=True),
        Part("pose", "pose/{clip}.mat", "motion", _pose(STYLETALK_FPS), basel=True),
    ),
    "sadtalker": (
        Part(
            "coefficients",
            "coefficients/{clip}.mat",
            "motion",
            _sadtalker,
            needed=False,
            basel=True,
        ),
    ),
    "dreamtalk": (
        Part("style", "style/{clip}.mat", "motion", _style(FPS), basel=True),
        Part("pose", "pose/{clip}.mat", "motion", _pose(FPS), basel=True),
        Part("wav2vec", "wav2vec/{clip}.npy", "speech", _wav2vec, needed=False, wav2vec=True),
    ),
}
"""By format; picture, sound and reference video are the plain files, which are always there."""
