"""When every frame of a video is on display: the clock that pictures and tables share."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import av
import numpy as np
from av.container import InputContainer
from av.error import FFmpegError
from jaxtyping import Float
from numpy.typing import NDArray

from dimitra.clips import ClipError, Reason
from dimitra.media.container import (
    DEFAULT_LIMITS,
    MediaLimits,
    Source,
    check_pixels,
    decoded_frames,
    open_media,
    origin_s,
    source_name,
    video_stream,
)
from dimitra.media.edits import late_s

_EPSILON_S = 1e-6
_UNTOLD_FPS = 25
"""Frame rate of a stream that tells none, nor time stamps."""


class Shown(NamedTuple):
    """A frame, when it appears and when the next one replaces it, seconds after the origin."""

    frame: av.VideoFrame
    begin_s: float
    end_s: float


def frame_times(
    source: Source,
    start_s: float = 0.0,
    end_s: float | None = None,
    limits: MediaLimits = DEFAULT_LIMITS,
) -> Float[NDArray[np.float64], "frames 2"]:
    """When the frames of a video appear and are replaced, at the video's own frame rate.

    Clock and frames are those of ``video.iterate_frames``: those that a decoder gives, whatever
    the headers promise.

    Args:
        source: path or bytes.
        start_s: seconds after the file's origin; earlier frames are left out.
        end_s: likewise; None for the end of the video.
        limits: bounds.

    Raises:
        ClipError: what ``open_video`` raises, and TOO_LARGE, TOO_SHORT, DECODE_ERROR.
    """
    stop = math.inf if end_s is None else end_s
    shown: list[tuple[float, float]] = []
    with open_video(source, limits) as (container, stream):
        for _, begin, end in shown_frames(source, container, stream, start_s, limits):
            shown.append((begin, end))
            if end >= stop:
                break
    times = np.array(shown, np.float64).reshape(-1, 2)
    kept = (times[:, 1] > start_s + _EPSILON_S) & (times[:, 0] < stop - _EPSILON_S)
    if not kept.any():
        raise ClipError(
            Reason.TOO_SHORT,
            f"{source_name(source)} has no frame between {start_s} s and {end_s} s",
        )
    return times[kept]


@contextmanager
def open_video(
    source: Source, limits: MediaLimits
) -> Iterator[tuple[InputContainer, av.VideoStream]]:
    """Open a file and its picture for decoding, on one thread.

    Raises:
        ClipError: what ``open_media`` raises, and NO_VIDEO, TOO_LARGE.
    """
    name = source_name(source)
    with open_media(source, limits) as container:
        stream = video_stream(container)
        if stream is None:
            raise ClipError(Reason.NO_VIDEO, f"{name} has no video stream")
        check_pixels(stream.codec_context.width, stream.codec_context.height, limits, name)
        stream.codec_context.thread_count = 1
        yield container, stream


def shown_frames(
    source: Source,
    container: InputContainer,
    stream: av.VideoStream,
    start_s: float,
    limits: MediaLimits,
    change: Callable[[av.VideoFrame], av.VideoFrame] | None = None,
) -> Iterator[Shown]:
    """Frames from the last one at or before ``start_s`` on.

    Args:
        source: path or bytes.
        container: the same, opened by ``open_video``.
        stream: its picture.
        start_s: seconds after the file's origin.
        limits: as it was opened with.
        change: applied to every frame.

    Raises:
        ClipError: what ``open_media`` raises, and TOO_LARGE, DECODE_ERROR.
    """
    previous: Shown | None = None
    for frame, time, lasting in _decoded(source, container, stream, start_s, limits, change):
        if previous is not None and time > start_s:
            yield previous._replace(end_s=time)
        previous = Shown(frame, time, time + lasting)
    if previous is not None:
        yield previous


def _decoded(
    source: Source,
    container: InputContainer,
    stream: av.VideoStream,
    start_s: float,
    limits: MediaLimits,
    change: Callable[[av.VideoFrame], av.VideoFrame] | None,
) -> Iterator[tuple[av.VideoFrame, float, float]]:
    """Frames, when they appear and how long they mean to stay, from some before ``start_s`` on."""
    name = source_name(source)
    origin = origin_s(container) - late_s(source, container, limits)
    if start_s > 0.0:
        container.seek(round((origin + start_s) * av.time_base), backward=True)
    step = 1.0 / float(stream.average_rate or _UNTOLD_FPS)
    time = -step
    try:
        for frame in decoded_frames(container, stream, limits, name):
            time = time + step if frame.pts is None else frame.time - origin
            lasting = float((frame.duration or 0) * (frame.time_base or 0)) or step
            yield frame if change is None else change(frame), time, lasting
    except FFmpegError as error:
        raise ClipError(
            Reason.DECODE_ERROR,
            f"{name}: video after {max(time, 0.0):.2f} s cannot be decoded: {error.strerror}",
        ) from None
