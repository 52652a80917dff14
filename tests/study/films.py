"""Tiny films that tell, by the colour of their last frame, which method made them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dimitra.media.mp4 import Mp4Writer

FPS, FRAMES, SIDE, RATE_HZ = 25, 8, 64, 16_000
COLOURS = {
    "ours": (200, 30, 30),
    "sad": (30, 30, 200),
    "dream": (200, 200, 30),
    "truth": (30, 200, 30),
}
"""Of the last frame; films begin with a third of it, so the frozen truth is dark green."""


def film(method: str, clip: int, frames: int = FRAMES) -> list[NDArray[np.uint8]]:
    colour = np.array(COLOURS[method], float)
    shades = np.linspace(1 / 3, 1, frames)
    pictures = [np.tile((colour * shade).astype(np.uint8), (SIDE, SIDE, 1)) for shade in shades]
    for picture in pictures:
        picture[:8, : 8 + 8 * clip] = 128
    return pictures


def write(path: Path, method: str, clip: int, frames: int = FRAMES, *, sound: bool = True) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with (
        path.open("w+b") as file,
        Mp4Writer(file, SIDE, SIDE, FPS, RATE_HZ if sound else None, crf=10) as out,
    ):
        for picture in film(method, clip, frames):
            out.picture(picture)
        out.finish_picture()
        if sound:
            time = np.arange(frames * RATE_HZ // FPS) / RATE_HZ
            out.sound((0.1 * np.sin(2 * np.pi * 220 * time)).astype(np.float32))


def folders(root: Path, clips: int = 3, methods: tuple[str, ...] = tuple(COLOURS)) -> Path:
    """``root/METHOD/clipN.mp4`` of each method."""
    for method in methods:
        for clip in range(clips):
            write(root / method / f"clip{clip}.mp4", method, clip)
    return root
