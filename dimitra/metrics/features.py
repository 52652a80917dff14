"""Features of pictures and of short clips, by a network of one's own in ONNX.

FID asks for Inception v3's features of single frames, FVD for I3D's of 16 frames. Neither network
is at hand here; any that takes RGB in -1..1, ``[N, 3, H, W]`` or ``[N, 3, 16, H, W]``, and gives
``[N, D]`` will do. Numbers of different networks do not compare.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

CLIP_FRAMES = 16
"""Frames of a clip of FVD."""


class FeatureNetwork:
    """A network from pictures, or from clips of 16 frames, to features; on one thread of the CPU.

    Args:
        path: an ONNX file, or a folder that holds one.
        clips: it takes clips.

    Raises:
        ValueError: no such file, or it takes something else.
    """

    def __init__(self, path: Path, *, clips: bool) -> None:
        import onnxruntime

        found = sorted(path.glob("*.onnx")) if path.is_dir() else [path]
        if len(found) != 1 or not found[0].is_file():
            raise ValueError(f"{path} is no ONNX file, and no folder that holds a single one")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session: Any = onnxruntime.InferenceSession(
            str(found[0]), options, providers=["CPUExecutionProvider"]
        )
        taken = self._session.get_inputs()[0]
        wanted = [3, CLIP_FRAMES] if clips else [3]
        *front, height, width = taken.shape[1:]
        sides = [side for side in (height, width) if isinstance(side, int) and side > 0]
        if front != wanted or len(sides) != 2:
            shown = ", ".join(map(str, ["N", *wanted, "H", "W"]))
            raise ValueError(f"{found[0].name} takes {list(taken.shape)}, need [{shown}]")
        self._input: str = taken.name
        self._size = (width, height)
        self._clips = clips

    def features(self, frames: Iterable[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Features ``[N, D]`` of N frames ``[H, W, 3]``, or of clips of 16, one after the other.

        Frames that are left over make no clip.
        """
        pictures = (self._picture(frame) for frame in frames)
        batches = _blocks(pictures) if self._clips else (one[None] for one in pictures)
        found = [self._session.run(None, {self._input: batch})[0] for batch in batches]
        if not found:
            return np.zeros((0, 0), np.float32)
        return np.concatenate(found).astype(np.float32).reshape(len(found), -1)

    def _picture(self, frame: NDArray[np.uint8]) -> NDArray[np.float32]:
        """``[3, H, W]`` in -1..1 at the network's size."""
        picture = Image.fromarray(frame).resize(self._size, Image.Resampling.BILINEAR)
        values = np.asarray(picture, dtype=np.float32) / 127.5 - 1.0
        return np.ascontiguousarray(values.transpose(2, 0, 1))


def _blocks(pictures: Iterable[NDArray[np.float32]]) -> Iterator[NDArray[np.float32]]:
    """``[1, 3, 16, H, W]`` each."""
    block: list[NDArray[np.float32]] = []
    for picture in pictures:
        block.append(picture)
        if len(block) == CLIP_FRAMES:
            yield np.stack(block, axis=1)[None]
            block = []
