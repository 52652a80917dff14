"""A SyncNet with its preprocessing, ready to embed videos and sounds."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dimitra.sync.mfcc import mfcc
from dimitra.sync.pictures import FACE_SIZE, MOUTH_SIZE, Region, boxes_of, cut, whole
from dimitra.sync.protocol import SHORTEST, WINDOW, SyncScore, score, sound_windows, window_count

_BATCH = 16
"""Windows at once; fixed, because the last bits depend on it."""


class Network(Protocol):
    """The published SyncNet or the compact one."""

    def sound(self, mfcc: Tensor) -> Tensor:
        """MFCC ``[B, 13, 20]`` to ``[B, D]``."""
        ...

    def lips(self, pictures: Tensor) -> Tensor:
        """RGB pictures ``[B, 5, H, W, 3]`` to ``[B, D]``."""
        ...


class TooShortError(ValueError):
    """A clip has too few windows for the protocol; the message says how many, and the limit."""


@dataclass(frozen=True)
class SyncEvaluator:
    """Embeds and scores.

    Attributes:
        network: in evaluation mode, on the CPU.
        region: of the frame that it sees.
    """

    network: Network
    region: Region

    def lips(
        self,
        frames: Iterable[NDArray[np.uint8]],
        landmarks: NDArray[np.floating],
        found: NDArray[np.bool_],
    ) -> NDArray[np.float32]:
        """Embeddings ``[T - 5, D]`` of a video's windows, a few frames in memory at a time.

        Args:
            frames: RGB ``[H, W, 3]``, T of them at 25 a second.
            landmarks: ``[T, 68, 2]`` pixels.
            found: ``[T]``, at least one.

        Raises:
            TooShortError: fewer than 6 frames.
        """
        if self.region == "frame":
            pictures = whole(frames)
        else:
            size = MOUTH_SIZE if self.region == "mouth" else FACE_SIZE
            pictures = cut(frames, boxes_of(landmarks, found, self.region), size)
        embedded: list[NDArray[np.float32]] = []
        recent: deque[NDArray[np.uint8]] = deque(maxlen=WINDOW)
        waiting: list[NDArray[np.uint8]] = []
        count = max(0, len(found) - WINDOW)
        made = 0
        for picture in pictures:
            recent.append(picture)
            if len(recent) == WINDOW and made < count:
                waiting.append(np.stack(recent))
                made += 1
            if len(waiting) == _BATCH or (waiting and made == count):
                embedded.append(self._lips(waiting))
                waiting = []
        if not embedded:
            raise TooShortError(f"{len(found)} frames make no window of {WINDOW}")
        return np.concatenate(embedded)

    def _lips(self, windows: list[NDArray[np.uint8]]) -> NDArray[np.float32]:
        with torch.inference_mode():
            return self.network.lips(torch.from_numpy(np.stack(windows))).numpy()

    def sound(self, samples: NDArray[np.float32], frames: int) -> NDArray[np.float32]:
        """Embeddings ``[N, D]`` of a sound's windows, N as ``window_count`` has it.

        Args:
            samples: ``[N]`` mono at 16 kHz, in -1..1.
            frames: of the video that it belongs to.

        Raises:
            TooShortError: fewer than 31 windows.
        """
        count = window_count(frames, len(samples))
        if count < SHORTEST:
            raise TooShortError(
                f"{count} windows of sound and video, SyncNet's protocol needs {SHORTEST}"
            )
        windows = torch.from_numpy(sound_windows(mfcc(samples), count))
        with torch.inference_mode():
            parts = [self.network.sound(one) for one in torch.split(windows, _BATCH)]
        return torch.cat(parts).numpy()


def score_of(lips: NDArray[np.float32], sound: NDArray[np.float32]) -> SyncScore:
    """Score of a video and a sound that may differ in length: the windows that both have.

    Raises:
        TooShortError: fewer than 31 windows.
    """
    count = min(len(lips), len(sound))
    if count < SHORTEST:
        raise TooShortError(f"{count} windows, SyncNet's protocol needs {SHORTEST}")
    return score(lips[:count], sound[:count])
