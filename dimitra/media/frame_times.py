"""When every frame of a video is on display, at the video's own frame rate."""

from __future__ import annotations

import math

import av
import numpy as np
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

_EPSILON_S = 1e-6


def frame_times(
    source: Source,
    start_s: float = 0.0,
    end_s: float | None = None,
    limits: MediaLimits = DEFAULT_LIMITS,
) -> Float[NDArray[np.float64], "frames 2"]:
    """When the frames of a video appear and are replaced, seconds after the file's origin.

    The clock is that of ``video.iterate_frames``, and so are the frames: those that a decoder
    gives, whatever the headers promise.

    Args:
        source: path or bytes.
        start_s: seconds after the file's origin; earlier frames are left out.
        end_s: likewise; None for the end of the video.
        limits: bounds.

    Raises:
        ClipError: what ``open_media`` raises, and NO_VIDEO, TOO_LARGE, TOO_SHORT, DECODE_ERROR.
    """
    name = source_name(source)
    begins: list[float] = []
    with open_media(source, limits) as container:
        stream = video_stream(container)
        if stream is None:
            raise ClipError(Reason.NO_VIDEO, f"{name} has no video stream")
        check_pixels(stream.codec_context.width, stream.codec_context.height, limits, name)
        stream.codec_context.thread_count = 1
        origin = origin_s(container)
        step = 1.0 / float(stream.average_rate or 25)
        time, last = -step, step
        stop = math.inf if end_s is None else end_s
        if start_s > 0.0:
            container.seek(round((origin + start_s) * av.time_base), backward=True)
        try:
            for frame in decoded_frames(container, stream, limits, name):
                time = time + step if frame.pts is None else frame.time - origin
                last = float((frame.duration or 0) * (frame.time_base or 0)) or step
                begins.append(time)
                if time >= stop:
                    break
        except FFmpegError as error:
            raise ClipError(
                Reason.DECODE_ERROR,
                f"{name}: video after {max(time, 0.0):.2f} s cannot be decoded: {error.strerror}",
            ) from None
    ends = [*begins[1:], begins[-1] + last] if begins else []
    times = np.array([begins, ends], np.float64).reshape(2, -1).T
    kept = (times[:, 1] > start_s + _EPSILON_S) & (times[:, 0] < stop - _EPSILON_S)
    if not kept.any():
        raise ClipError(Reason.TOO_SHORT, f"{name} has no frame between {start_s} s and {end_s} s")
    return times[kept]
