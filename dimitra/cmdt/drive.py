"""What drives a clip's motion: its speech features, phonemes and transcript features."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dimitra.cmdt.feature_windows import FeatureSpan

FPS = 25
PHONEME_IDS = 64
"""Size of the model's table of phonemes; ids are below it."""


@dataclass(frozen=True, eq=False)
class Drive:
    """The speech of a clip of T frames, as ``speech.npz`` and ``text.npz`` hold it.

    Attributes:
        features: [S, D] float16 speech features at ``rate_hz``.
        rate_hz: features a second.
        phonemes: [T] int16 phoneme id of each frame.
        text_tokens: [K, L, E] float16 text features of each stretch of the transcript's grid.
        text_mask: [K, L] bool, True for the real tokens.
        text_start_s: [K] start of each stretch, seconds, ascending from 0.
    """

    features: NDArray[np.float16]
    rate_hz: float
    phonemes: NDArray[np.int16]
    text_tokens: NDArray[np.float16]
    text_mask: NDArray[np.bool_]
    text_start_s: NDArray[np.float32]

    @classmethod
    def from_arrays(cls, speech: Mapping[str, Any], text: Mapping[str, Any]) -> Drive:
        """From the arrays of ``speech.npz`` and ``text.npz``."""
        return cls(
            features=speech["features"],
            rate_hz=float(speech["rate_hz"]),
            phonemes=speech["phonemes"],
            text_tokens=text["tokens"],
            text_mask=text["mask"],
            text_start_s=text["start_s"],
        )

    @property
    def frames(self) -> int:
        return len(self.phonemes)

    def window(self, start: int, frames: int, speech_window: int) -> DriveWindow:
        """The drive of frames ``start`` to ``start + frames``.

        The text is the stretch that holds the middle of the window.

        Raises:
            ValueError: the window leaves the clip.
        """
        if start < 0 or frames < 1 or start + frames > self.frames:
            raise ValueError(
                f"a window of {frames} frames at {start} leaves a clip of {self.frames} frames"
            )
        middle_s = (start + frames / 2) / FPS
        stretch = max(int(np.searchsorted(self.text_start_s, middle_s, side="right")) - 1, 0)
        return DriveWindow(
            speech=FeatureSpan.of(self.features, self.rate_hz, frames, speech_window, start),
            phonemes=torch.from_numpy(self.phonemes[start : start + frames].astype(np.int64)),
            text=torch.from_numpy(self.text_tokens[stretch][self.text_mask[stretch]]),
        )


@dataclass(frozen=True, eq=False)
class DriveWindow:
    """The drive of one window of N frames.

    Attributes:
        speech: the features around each frame.
        phonemes: [N] int64.
        text: [L, E] float16, real tokens only.
    """

    speech: FeatureSpan
    phonemes: Tensor
    text: Tensor
