"""A toy corpus in which motion is a smooth function of the phonemes and a voice's offset."""

from __future__ import annotations

import numpy as np

from dimitra.cmdt.dataset import MotionClip
from dimitra.cmdt.drive import Drive
from dimitra.cmdt.model import CMDT, CMDTConfig
from dimitra.shards import Members, npz_bytes

FEATURES, TEXT, RATE_HZ = 8, 6, 41.6


class MemoryCorpus:
    """Clips held in memory."""

    def __init__(self, clips: list[MotionClip]) -> None:
        self._clips = {clip.clip_id: clip for clip in clips}
        self.clip_ids = sorted(self._clips)

    def load(self, clip_id: str) -> MotionClip:
        return self._clips[clip_id]


def toy_clip(clip_id: str, frames: int, seed: int) -> MotionClip:
    targets = np.random.default_rng(0).normal(size=(10, 70))
    rng = np.random.default_rng(seed)
    phonemes = np.repeat(rng.integers(0, 10, frames), rng.integers(2, 6, frames))[:frames]
    kernel = np.hanning(5) / np.hanning(5).sum()
    motion = np.stack([np.convolve(c, kernel, "same") for c in targets[phonemes].T], axis=1)
    length = int(frames / 25 * RATE_HZ)
    position = np.minimum((np.arange(length) / RATE_HZ * 25).astype(int), frames - 1)
    codes = np.random.default_rng(1).normal(size=(10, FEATURES))
    return MotionClip(
        clip_id,
        motion.astype(np.float32),
        Drive(
            features=codes[phonemes][position].astype(np.float16),
            rate_hz=RATE_HZ,
            phonemes=phonemes.astype(np.int16),
            text_tokens=rng.normal(size=(2, 5, TEXT)).astype(np.float16),
            text_mask=np.array([[True] * 5, [True, True, False, False, False]]),
            text_start_s=np.array([0.0, 2.0], dtype=np.float32),
        ),
    )


def toy_corpus(clips: int, frames: int = 60, seed: int = 0) -> MemoryCorpus:
    return MemoryCorpus(
        [toy_clip(f"c{index:03d}", frames, 1000 * seed + index) for index in range(clips)]
    )


def toy_parts(clip: MotionClip) -> Members:
    """The clip as ``shard`` writes it."""
    drive = clip.drive
    return {
        "motion.npz": npz_bytes(
            {
                "expression": clip.motion[:, :64],
                "pose": clip.motion[:, 64:],
                "crop": np.ones((len(clip.motion), 3), dtype=np.float32),
            }
        ),
        "speech.npz": npz_bytes(
            {
                "features": drive.features,
                "rate_hz": np.float32(drive.rate_hz),
                "phonemes": drive.phonemes,
            }
        ),
        "text.npz": npz_bytes(
            {
                "tokens": drive.text_tokens,
                "mask": drive.text_mask,
                "start_s": drive.text_start_s,
            }
        ),
    }


def toy_config(motion: int, frames: int = 32, width: int = 32) -> CMDTConfig:
    return CMDTConfig(
        motion=motion,
        frames=frames,
        speech_values=3 * FEATURES,
        text_values=TEXT,
        width=width,
        speech_hidden=width,
        feed_forward=2 * width,
        encoder_feed_forward=2 * width,
        layers=2,
        heads=4,
        encoder_layers=1,
        encoder_heads=4,
        dropout=0.0,
    )


def toy_model(motion: int, frames: int = 32, width: int = 32) -> CMDT:
    return CMDT(toy_config(motion, frames, width))
