"""A clip of the crop stage, its frames decoded ahead in blocks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dimitra.media.video import iterate_frames, to_rgb
from dimitra.shards import Members, read_npz

BLOCK = 250
"""Frames that an encoder is shown at once: bounds the memory of long clips."""
AHEAD = 1500
"""Frames of a clip that may be decoded ahead: 300 MB at 256x256."""


@dataclass(frozen=True)
class Seen:
    """A clip read ahead.

    Attributes:
        track: what the crop stage measured.
        parts: what the crop stage wrote.
        blocks: its frames, ``[T, H, W, 3]`` RGB each; None where they are decoded one by one.
    """

    track: Mapping[str, NDArray[Any]]
    parts: Members
    blocks: list[torch.Tensor] | None

    def frames(self) -> Iterable[torch.Tensor]:
        """The clip's frames, in the same blocks whether they were decoded ahead or not."""
        return blocks_of(self.parts["mp4"]) if self.blocks is None else self.blocks


def see(parts: Members, *, decode: bool) -> Seen:
    """Read a clip, and decode one of at most ``AHEAD`` frames where ``decode`` asks for it."""
    track = read_npz(parts["track.npz"])
    short = decode and len(track["landmarks"]) <= AHEAD
    return Seen(track, parts, list(blocks_of(parts["mp4"])) if short else None)


def blocks_of(mp4: bytes) -> Iterator[torch.Tensor]:
    """RGB frames ``[T, H, W, 3]``, at most ``BLOCK`` at a time."""
    frames = iterate_frames(mp4)
    while block := [to_rgb(frame) for frame in islice(frames, BLOCK)]:
        yield torch.from_numpy(np.stack(block))
