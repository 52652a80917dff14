"""Windows of speech features around video frames, laid out where the model runs.

Neighbouring frames see nearly the same features: laid out, each feature stands up to 2 w + 1
times, and in twice the bytes. So the features travel once, as they are stored, with the places
that each frame sees; the windows are gathered on the device.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dimitra.speech.features import VIDEO_FPS

NOTHING = -1
"""Place of a feature that lies outside the clip."""


@dataclass(frozen=True, eq=False)
class FeatureSpan:
    """The features that one window of N frames sees.

    Attributes:
        rows: [R, D] features, from the first to the last that a frame sees.
        places: [N, 2 w + 1] int64, the row of each feature around a frame; ``NOTHING`` where the
            clip has none.
    """

    rows: NDArray[np.floating]
    places: NDArray[np.int64]

    @classmethod
    def of(
        cls,
        features: NDArray[np.floating],
        rate_hz: float,
        frames: int,
        window: int,
        start: int = 0,
    ) -> FeatureSpan:
        """The features around ``frames`` video frames of a clip.

        Frame ``i`` (at 25 fps) is centred on feature ``floor(i * rate / 25)``, which is ``2 i`` at
        50 Hz (DreamTalk, Ma et al. 2023).

        Args:
            features: [S, D], of the whole clip; ``rows`` is a part of it, not a copy.
            rate_hz: features per second.
            frames: N.
            window: w, features on either side of the centre.
            start: the first of the frames, counted from the start of the clip.
        """
        # The product is rounded first: 3 * (125 / 3) / 25 must not fall just below 5.
        times = np.arange(start, start + frames) * rate_hz / VIDEO_FPS
        centres = np.floor(np.round(times, 6)).astype(np.int64)
        places = centres[:, None] + np.arange(-window, window + 1)
        inside = (places >= 0) & (places < len(features))
        if not inside.any():
            return cls(features[:0], np.full_like(places, NOTHING))
        first, last = int(places[inside].min()), int(places[inside].max())
        return cls(features[first : last + 1], np.where(inside, places - first, NOTHING))


@dataclass(frozen=True, eq=False)
class FeatureWindows:
    """The features that a batch of windows sees.

    Attributes:
        rows: [1 + R, D], all spans end to end after a row of zeros.
        places: [B, N, 2 w + 1] int64, the row of each feature around a frame; 0 where there is
            none, and for frames that pad a shorter window.
    """

    rows: Tensor
    places: Tensor

    @classmethod
    def of(cls, spans: Sequence[FeatureSpan]) -> FeatureWindows:
        """Pack the spans of B windows, padded to the longest; on the CPU.

        Raises:
            ValueError: no spans, or of features of unequal widths.
        """
        widths = {span.rows.shape[1] for span in spans}
        if len(widths) != 1:
            raise ValueError(f"windows of one batch need speech features of one width: {widths}")
        count = sum(len(span.rows) for span in spans)
        rows = np.empty((1 + count, *widths), dtype=np.result_type(*(s.rows for s in spans)))
        rows[0] = 0
        shape = (len(spans), max(len(span.places) for span in spans), spans[0].places.shape[1])
        places = np.zeros(shape, dtype=np.int64)
        begin = 1
        for number, span in enumerate(spans):
            rows[begin : begin + len(span.rows)] = span.rows
            held = np.where(span.places == NOTHING, 0, span.places + begin)
            places[number, : len(held)] = held
            begin += len(span.rows)
        return cls(torch.from_numpy(rows), torch.from_numpy(places))

    def to(self, device: torch.device) -> FeatureWindows:
        return FeatureWindows(self.rows.to(device), self.places.to(device))

    def laid_out(self) -> Tensor:
        """[B, N, (2 w + 1) * D] float32, the features around each frame side by side."""
        windows, frames, _ = self.places.shape
        taken = self.rows.float().index_select(0, self.places.flatten())
        return taken.view(windows, frames, -1)
