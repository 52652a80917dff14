"""A short film of a real face, still and moved, with sound beside it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from skimage.data import astronaut
from skimage.transform import SimilarityTransform, warp

from dimitra.media.audio import encode_flac
from dimitra.media.mp4 import encode_mp4
from dimitra.sync import compact
from dimitra.sync.compact import CompactConfig, CompactSyncNet

FRAMES = 40
"""Enough for SyncNet's 31 windows."""


def picture(angle: float = 0.0, shift: float = 0.0, scale: float = 1.0, side: int = 256):
    """The astronaut's face in RGB ``[side, side, 3]``, moved about the picture's middle."""
    face = astronaut()[0:256, 100:356]
    middle = SimilarityTransform(translation=(-128.0, -128.0))
    move = SimilarityTransform(rotation=angle, scale=scale)
    back = SimilarityTransform(translation=(128.0 + shift, 128.0))
    moved = warp(face, (middle + move + back).inverse, mode="edge")
    if side != 256:
        moved = warp(moved, SimilarityTransform(scale=256 / side), output_shape=(side, side))
    return (moved * 255).round().astype(np.uint8)


def film(frames: int = FRAMES, fps: int = 25, crf: int = 18, **moves: float) -> bytes:
    """The face swaying; the same second looks the same whatever the frame rate."""
    times = [25 * i / fps for i in range(frames)]
    pictures = [picture(angle=0.002 * t, shift=0.2 * t, **moves) for t in times]
    return encode_mp4(pictures, fps=fps, crf=crf)


def noise(frames: int = FRAMES) -> bytes:
    """Sound of a film: FLAC of noise."""
    samples = np.random.default_rng(0).normal(0.0, 0.1, frames * 640)
    return encode_flac(samples.astype(np.float32))


def sync_folder(folder: Path) -> Path:
    """A SyncNet whose weights are drawn: what it says is arbitrary, but always the same."""
    torch.manual_seed(0)
    compact.save(folder, CompactSyncNet(CompactConfig(4, 16)).eval(), {})
    return folder
