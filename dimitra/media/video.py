"""Decoding of video at a fixed frame rate."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, cast

import av
import numpy as np
from av.filter import Graph
from av.video.reformatter import Interpolation
from numpy.typing import NDArray

from dimitra.clips import ClipError, Reason
from dimitra.media.container import (
    DEFAULT_LIMITS,
    MediaLimits,
    Source,
    source_name,
    stream_duration_s,
)
from dimitra.media.frame_times import open_video, shown_frames

FPS = 25
"""Frame rate of every clip after ``crop``, frames per second."""

SCALING = "bicubic+accurate_rnd+full_chroma_int+full_chroma_inp+bitexact"
"""swscale flags: bicubic (its support grows when shrinking, so it does not alias), the same
bytes on every CPU."""

_TRUNCATION_S = 0.5
_TIME_EPSILON_S = 1e-6
LUMA_FIRST = frozenset(
    ("gray", "yuv420p", "yuv422p", "yuv444p", "yuvj420p", "yuvj422p", "yuvj444p")
)
"""Pixel formats whose first plane is the brightness, a byte a pixel."""
_FLAGS = (
    Interpolation.BICUBIC
    | Interpolation.ACCURATE_RND
    | Interpolation.FULL_CHR_H_INT
    | Interpolation.FULL_CHR_H_INP
    | Interpolation.BITEXACT
)


def iterate_frames(
    source: Source,
    start_s: float = 0.0,
    end_s: float | None = None,
    fps: float = FPS,
    limits: MediaLimits = DEFAULT_LIMITS,
) -> Iterator[av.VideoFrame]:
    """Decode one frame at a time, resampled to ``fps`` by presentation time.

    Output frame ``i`` is the input frame on display at ``start_s + (i + 0.5) / fps`` seconds
    after the file's origin (the start of its earliest stream), so sound read from the same
    ``start_s`` is in step whatever the frame rate, its variation or the streams' start times.
    Before the first input frame, that frame is shown.

    Args:
        source: path or bytes.
        start_s: seconds after the file's origin.
        end_s: likewise; None for the end of the video.
        fps: output frames per second.
        limits: bounds on frame size, duration and file size.

    Yields:
        upright frames with square pixels, in the file's own pixel format. The same object may
        come several times; do not write into it.

    Raises:
        ClipError: what ``open_media`` raises, and NO_VIDEO, TOO_LARGE, TOO_LONG, TRUNCATED,
            DECODE_ERROR.
        ValueError: ``end_s`` does not lie after ``start_s``.
    """
    if start_s < 0 or (end_s is not None and end_s <= start_s):
        raise ValueError(f"start_s = {start_s}, end_s = {end_s}: need 0 <= start_s < end_s")
    name = source_name(source)
    with open_video(source, limits) as (container, stream):
        declared = stream_duration_s(container, stream)
        index = 0
        stop = math.inf if end_s is None else end_s
        end = 0.0
        decoded = shown_frames(source, container, stream, start_s, limits, _uprighter(stream))
        for frame, begin, end in decoded:
            if end_s is None and begin > limits.max_duration_s:
                raise ClipError(
                    Reason.TOO_LONG,
                    f"{name} goes on after {begin:.1f} s, limits.max_duration_s is "
                    f"{limits.max_duration_s}",
                )
            centre = start_s + (index + 0.5) / fps
            while centre < min(end, stop) - _TIME_EPSILON_S:
                yield frame
                index += 1
                centre = start_s + (index + 0.5) / fps
            if centre >= stop - _TIME_EPSILON_S:
                return
        promised = min(stop, declared) if declared is not None else 0.0
        if end < promised - _TRUNCATION_S:
            raise ClipError(
                Reason.TRUNCATED,
                f"{name} promises video until {promised:.2f} s but its last frame ends at "
                f"{end:.2f} s; copy it again",
            )


def read_video(
    source: Source,
    start_s: float = 0.0,
    end_s: float | None = None,
    fps: float = FPS,
    limits: MediaLimits = DEFAULT_LIMITS,
) -> NDArray[np.uint8]:
    """Decode a whole piece of video into memory; see ``iterate_frames``.

    Returns:
        ``[T, H, W, 3]`` RGB.

    Raises:
        ClipError: as ``iterate_frames``, and TOO_SHORT where no frame lies in the piece.
    """
    frames: list[NDArray[np.uint8]] = []
    last: av.VideoFrame | None = None
    for frame in iterate_frames(source, start_s, end_s, fps, limits):
        frames.append(frames[-1] if frame is last else to_rgb(frame))
        last = frame
    if not frames:
        raise ClipError(
            Reason.TOO_SHORT,
            f"{source_name(source)} has no frame between {start_s} s and {end_s} s",
        )
    return np.stack(frames)


def to_rgb(frame: av.VideoFrame) -> NDArray[np.uint8]:
    """Frame as ``[H, W, 3]`` RGB, converted with the colour matrix the frame declares."""
    array = frame.reformat(format="rgb24", interpolation=_FLAGS).to_ndarray()
    return np.ascontiguousarray(array, dtype=np.uint8)


def luma(frame: av.VideoFrame) -> NDArray[np.uint8]:
    """Brightness of a grey or planar 8-bit YUV frame, without a copy.

    Returns:
        ``[H, W]``, a view of the frame's memory.

    Raises:
        ValueError: the frame has another pixel format.
    """
    if frame.format.name not in LUMA_FIRST:
        raise ValueError(f"frame is {frame.format.name}, need one of {sorted(LUMA_FIRST)}")
    plane = frame.planes[0]
    rows = np.frombuffer(memoryview(cast("Any", plane)), np.uint8).reshape(-1, plane.line_size)
    return np.asarray(rows[: frame.height, : frame.width], np.uint8)


def scaler(template: av.VideoFrame, filters: str) -> Callable[[av.VideoFrame], av.VideoFrame]:
    """Compile a chain of libavfilter filters for frames like ``template``.

    Args:
        template: fixes the frame size and pixel format.
        filters: comma-separated chain, for example ``"crop=200:200:4:8,scale=256:256"``.

    Returns:
        a function from one frame to one frame.
    """
    graph = Graph()
    graph.threads = 1
    source = (
        f"video_size={template.width}x{template.height}:pix_fmt={template.format.name}:"
        f"time_base=1/1000:pixel_aspect=1/1:colorspace={int(template.colorspace)}:"
        f"range={int(template.color_range)}"
    )
    nodes = [graph.add("buffer", source)]
    for part in filters.split(","):
        kind, _, arguments = part.partition("=")
        nodes.append(graph.add(kind, arguments or None))
    nodes.append(graph.add("buffersink"))
    graph.link_nodes(*nodes).configure()

    def apply(frame: av.VideoFrame) -> av.VideoFrame:
        graph.vpush(frame)
        return graph.vpull()

    return apply


def _uprighter(stream: av.VideoStream) -> Callable[[av.VideoFrame], av.VideoFrame]:
    """What turns each frame of a stream upright, with square pixels."""
    upright: Callable[[av.VideoFrame], av.VideoFrame] | None = None
    shape: tuple[object, ...] = ()

    def turned(frame: av.VideoFrame) -> av.VideoFrame:
        nonlocal upright, shape
        aspect = float(stream.sample_aspect_ratio or 1)
        layout = (frame.width, frame.height, frame.format.name, frame.rotation)
        if layout != shape:
            upright, shape = _upright(frame, aspect), layout
        return frame if upright is None else upright(frame)

    return turned


def _upright(
    frame: av.VideoFrame, aspect: float
) -> Callable[[av.VideoFrame], av.VideoFrame] | None:
    """Filter that undoes the display rotation and makes pixels square; None if not needed."""
    steps = {
        90: ["transpose=cclock"],
        180: ["hflip", "vflip"],
        -180: ["hflip", "vflip"],
        270: ["transpose=clock"],
        -90: ["transpose=clock"],
    }.get(frame.rotation, [])
    if abs(aspect - 1.0) > 1e-3:
        width = max(2, 2 * round(frame.width * aspect / 2))
        steps = [f"scale={width}:{frame.height}:flags={SCALING}", *steps]
    return scaler(frame, ",".join(steps)) if steps else None
