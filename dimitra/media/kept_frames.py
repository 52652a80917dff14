"""Frames of a piece of video that several passes look at."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import av


class KeptFrames:
    """Decoded once where the frames fit in memory, in every pass where they do not.

    The frames are kept as they were decoded, in most videos 1.5 bytes a pixel.

    Args:
        decode: begins the decoding; the same frames each time.
        max_bytes: bound on what is kept.
    """

    def __init__(self, decode: Callable[[], Iterator[av.VideoFrame]], max_bytes: int) -> None:
        self._decode = decode
        self._max_bytes = max_bytes
        self._kept: list[av.VideoFrame] | None = None

    def __iter__(self) -> Iterator[av.VideoFrame]:
        """The frames, from the first on; do not write into them."""
        if self._kept is not None:
            yield from self._kept
            return
        kept: list[av.VideoFrame] = []
        size, last = 0, None
        for frame in self._decode():
            if frame is not last:
                size += sum(plane.buffer_size for plane in frame.planes)
                last = frame
            if size <= self._max_bytes:
                kept.append(frame)
            else:
                kept.clear()
            yield frame
        if size <= self._max_bytes:
            self._kept = kept
