"""A video as it is measured: square frames of 256 pixels, 25 a second, with landmarks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dimitra.clips import ClipError, Reason
from dimitra.media.source import open_regular
from dimitra.media.video import iterate_frames, to_rgb
from dimitra.metrics.landmarks_distance import LandmarkTrack

SIZE = 256
"""Side of the frames that are measured (the paper's supplement), pixels."""
NOT_SQUARE = "not_square"
_MOST_BYTES = 2_000_000_000
"""Of a video, which is held in memory."""

Picture = NDArray[np.uint8]


class VideoError(Exception):
    """A video cannot be measured; becomes a row with the code ``outcome``."""

    def __init__(self, outcome: str, message: str) -> None:
        super().__init__(message)
        self.outcome = outcome
        self.message = message


def square(frame: Picture, name: str) -> Picture:
    """A frame at 256x256; one of that size stays as it is.

    Raises:
        VideoError: it is not square, and so no face crop.
    """
    height, width = frame.shape[:2]
    if (height, width) == (SIZE, SIZE):
        return frame
    if height != width:
        raise VideoError(
            NOT_SQUARE,
            f"{name} has frames of {width}x{height}; face crops are square: use --crop, which cuts "
            "the face out of each video",
        )
    picture = Image.fromarray(frame).resize((SIZE, SIZE), Image.Resampling.BICUBIC)
    return np.asarray(picture)


@dataclass(frozen=True)
class Film:
    """A video ready to be measured.

    Attributes:
        name: of the file, for messages.
        data: bytes of the file, or of its face crop.
        track: landmarks of every frame at 25 a second.
    """

    name: str
    data: bytes
    track: LandmarkTrack

    def frames(self) -> Iterator[Picture]:
        """RGB ``[256, 256, 3]``, 25 a second."""
        return (square(to_rgb(frame), self.name) for frame in iterate_frames(self.data))

    def first(self, count: int) -> LandmarkTrack:
        """The track of the first frames."""
        return LandmarkTrack(self.track.points[:count], self.track.found[:count])


def read_file(path: Path) -> bytes:
    """The bytes of a regular file.

    Raises:
        ClipError: no such file, no regular file, not readable, or too large.
    """
    with open_regular(path, path.name) as file:
        data = file.read(_MOST_BYTES + 1)
    if len(data) > _MOST_BYTES:
        raise ClipError(Reason.TOO_LARGE, f"{path.name} has more than {_MOST_BYTES} bytes; cut it")
    return data
