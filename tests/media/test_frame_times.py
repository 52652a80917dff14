"""A video's own clock, against the frames that are shown."""

from __future__ import annotations

import io
import struct
from fractions import Fraction

import av
import numpy as np
import pytest

from dimitra.clips import ClipError, Reason
from dimitra.media.frame_times import frame_times
from dimitra.media.mp4 import encode_mp4
from dimitra.media.video import iterate_frames, to_rgb


def _numbered(count: int) -> list[np.ndarray]:
    return [np.full((64, 64, 3), 20 + 5 * number, np.uint8) for number in range(count)]


def _variable(stamps_ms: list[int]) -> bytes:
    """Frames at given times, of which the first need not be zero."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="matroska") as container:
        stream = container.add_stream("libx264", rate=30)
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        for stamp, picture in zip(stamps_ms, _numbered(len(stamps_ms)), strict=True):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = stamp, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return buffer.getvalue()


@pytest.mark.parametrize("fps", [25, 30, 60])
def test_a_constant_rate(fps: int) -> None:
    times = frame_times(encode_mp4(_numbered(40), fps=fps))
    expected = np.arange(40) / fps
    np.testing.assert_allclose(times[:, 0], expected, atol=1e-4)
    np.testing.assert_allclose(times[:, 1], expected + 1 / fps, atol=1e-4)


def test_a_variable_rate_and_the_frames_that_are_shown() -> None:
    stamps = [0, 33, 66, 200, 210, 350, 400, 420, 640]
    data = _variable(stamps)
    times = frame_times(data)
    np.testing.assert_allclose(times[:, 0], np.array(stamps) / 1000, atol=1e-3)
    np.testing.assert_allclose(times[:-1, 1], times[1:, 0])
    for index, frame in enumerate(iterate_frames(data, fps=25)):
        number = round((int(to_rgb(frame).mean()) - 20) / 5)
        at = (index + 0.5) / 25
        assert times[number, 0] <= at < times[number, 1] + 1e-3


def test_a_piece_of_a_longer_video() -> None:
    data = encode_mp4(_numbered(45), fps=30)
    times = frame_times(data, 0.5, 1.0)
    np.testing.assert_allclose(times[:, 0], np.arange(15, 30) / 30, atol=1e-4)
    with pytest.raises(ClipError, match="no frame between 9.0 s and None s") as caught:
        frame_times(data, 9.0)
    assert caught.value.reason is Reason.TOO_SHORT


@pytest.mark.parametrize("start_s", [0.0, 0.46])
def test_an_edit_list_that_begins_between_two_frames(start_s: float) -> None:
    """Cut without encoding at 0.52 s: the frame of 8/15 s appears 13 ms later, and so do all."""
    data = bytearray(encode_mp4(_numbered(45), fps=30))
    at = data.index(b"elst") + 8
    count, duration, media = struct.unpack_from(">IIi", data, at)
    assert count == 1
    base = struct.unpack_from(">I", data, data.index(b"mdhd") + 16)[0]
    struct.pack_into(">Ii", data, at + 4, duration - 520, media + round(0.52 * base))
    times = frame_times(bytes(data), start_s, None if not start_s else 0.73)
    shown = np.arange(16, 45) / 30 - 0.52
    if start_s:
        shown = shown[(shown + 1 / 30 > start_s) & (shown < 0.73)]
    np.testing.assert_allclose(times[:, 0], shown, atol=1e-3)
    np.testing.assert_allclose(times[:, 1], shown + 1 / 30, atol=1e-3)
