from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import av
import numpy as np
import pytest

from dimitra.media.kept_frames import KeptFrames
from dimitra.media.mp4 import encode_mp4
from dimitra.media.video import iterate_frames, luma, to_rgb

COUNT, SIDE = 12, 128


class Film:
    """Counts how often it is decoded."""

    def __init__(self, fps: float = 25.0) -> None:
        ramp = np.arange(SIDE, dtype=np.uint8)
        self._fps = fps
        self._data = encode_mp4(
            [np.broadcast_to(ramp[:, None, None] + 9 * t, (SIDE, SIDE, 3)) for t in range(COUNT)]
        )
        self.begun = 0

    def __call__(self) -> Iterator[av.VideoFrame]:
        self.begun += 1
        return iterate_frames(self._data, fps=self._fps)


def _frame_bytes() -> int:
    """What a decoded frame takes: 12 bits a pixel, and the decoder's padding."""
    size = sum(plane.buffer_size for plane in next(Film()()).planes)
    assert 1.5 * SIDE**2 <= size <= 2.5 * SIDE**2
    return size


@pytest.mark.parametrize(("room", "times"), [(COUNT, 1), (COUNT - 1, 3), (0, 3)])
def test_passes_see_the_same_frames_decoded_as_often_as_memory_wants(room: int, times: int) -> None:
    film = Film()
    kept = KeptFrames(film, room * _frame_bytes())
    passes = [np.stack([to_rgb(frame) for frame in kept]) for _ in range(3)]
    assert film.begun == times
    assert passes[0].shape == (COUNT, SIDE, SIDE, 3)
    assert all(np.array_equal(one, passes[0]) for one in passes[1:])
    assert len(np.unique(passes[0], axis=0)) == COUNT


def test_a_frame_that_is_shown_twice_is_kept_once() -> None:
    film = Film(fps=50.0)
    kept = KeptFrames(film, COUNT * _frame_bytes())
    assert [sum(1 for _ in kept) for _ in range(2)] == [2 * COUNT] * 2
    assert film.begun == 1


def test_a_pass_that_stops_early_keeps_nothing() -> None:
    film = Film()
    kept = KeptFrames(film, COUNT * _frame_bytes())
    assert len(list(islice(kept, 5))) == 5
    assert len(list(kept)) == COUNT
    assert film.begun == 2


def test_luma_is_the_green_of_a_grey_picture_without_a_copy() -> None:
    for frame in Film()():
        grey = luma(frame).astype(np.float64)
        assert grey.shape == (SIDE, SIDE)
        # Limited range: 16 is black, 235 white.
        assert np.abs((grey - 16) * 255 / 219 - to_rgb(frame)[..., 1]).max() < 2.5
        assert np.shares_memory(luma(frame), luma(frame))


def test_luma_of_rgb_is_refused() -> None:
    frame = av.VideoFrame.from_ndarray(np.zeros((4, 4, 3), np.uint8), format="rgb24")
    with pytest.raises(ValueError, match="rgb24"):
        luma(frame)
