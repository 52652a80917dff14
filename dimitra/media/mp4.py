"""Deterministic encoding as H.264 and AAC in mp4, frame by frame or at once."""

from __future__ import annotations

import io
import itertools
from collections.abc import Iterable, Mapping
from fractions import Fraction
from types import TracebackType
from typing import BinaryIO

import av
import numpy as np
from av.video.frame import PictureType
from av.video.reformatter import Interpolation
from numpy.typing import NDArray

from dimitra.media.video import FPS

SOUND_BIT_RATE = 64_000
"""Of AAC, bits a second, unless told otherwise."""
BLOCK = 1024
"""Samples of a block of AAC."""


_BT601, _LIMITED = 6, 1
_FLAGS = (
    Interpolation.BICUBIC
    | Interpolation.ACCURATE_RND
    | Interpolation.FULL_CHR_H_INT
    | Interpolation.FULL_CHR_H_INP
    | Interpolation.BITEXACT
)


class Mp4Writer:
    """An mp4 that grows picture by picture; the same calls give the same bytes.

    x264 runs with one thread and CPU-independent decisions; the file holds no time stamp and no
    version of the muxer. Where it is left by an error, the file is closed as it is.

    Args:
        file: open for writing, seekable.
        width: pixels, even.
        height: pixels, even.
        fps: frames per second.
        sample_rate_hz: of the sound, or None for a silent file.
        crf: x264's quality, 0 (lossless) to 51.
        preset: x264's speed preset.
        metadata: mp4 tags (``title``, ``comment``, ``artist``, ``copyright``, ...).
        sound_bit_rate: bits a second.
        colours: a frame whose colour matrix and range the video declares; None for BT.601, limited.

    Raises:
        ValueError: a size is odd.
    """

    def __init__(
        self,
        file: BinaryIO,
        width: int,
        height: int,
        fps: int = FPS,
        sample_rate_hz: int | None = None,
        crf: int = 18,
        preset: str = "veryfast",
        metadata: Mapping[str, str] | None = None,
        sound_bit_rate: int = SOUND_BIT_RATE,
        colours: av.VideoFrame | None = None,
    ) -> None:
        if height % 2 or width % 2:
            raise ValueError(f"frames of {width}x{height}: H.264 in yuv420p needs even sizes")
        self.size = (height, width)
        self._fps = fps
        self._frames = 0
        self._open = True
        self._samples = 0
        self._rate = sample_rate_hz
        options = {"fflags": "+bitexact", "movflags": "+use_metadata_tags"}
        self._container = av.open(file, "w", format="mp4", options=options)
        self._container.metadata.update(metadata or {})
        self._video = self._container.add_stream(
            "libx264",
            rate=fps,
            options={
                "crf": str(crf),
                "preset": preset,
                "flags": "+bitexact",
                "x264-params": "threads=1:cpu-independent=1",
            },
        )
        context = self._video.codec_context
        context.colorspace = _BT601 if colours is None else colours.colorspace
        context.color_range = _LIMITED if colours is None else colours.color_range
        self._video.width, self._video.height, self._video.pix_fmt = width, height, "yuv420p"
        context.thread_count = 1
        context.time_base = Fraction(1, fps)
        self._sound = None
        if sample_rate_hz is not None:
            self._sound = self._container.add_stream(
                "aac", rate=sample_rate_hz, options={"flags": "+bitexact"}, layout="mono"
            )
            self._sound.codec_context.bit_rate = sound_bit_rate
            self._sound.codec_context.thread_count = 1

    def __enter__(self) -> Mp4Writer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                self.finish_picture()
                if self._sound is not None:
                    self._container.mux(self._sound.encode(None))
        finally:
            self._container.close()

    def picture(self, picture: NDArray[np.uint8] | av.VideoFrame) -> None:
        """Append a frame, [H, W, 3] RGB or decoded.

        Raises:
            ValueError: it has another size.
        """
        if _size(picture) != self.size:
            raise ValueError(
                f"frame {self._frames} has size {_size(picture)}, the first has {self.size}"
            )
        frame = _encodable(picture)
        frame.pts, frame.time_base = self._frames, Fraction(1, self._fps)
        self._container.mux(self._video.encode(frame))
        self._frames += 1

    def finish_picture(self) -> None:
        """No more frames come; sound may."""
        if self._open:
            self._open = False
            self._container.mux(self._video.encode(None))

    def sound(self, samples: NDArray[np.float32]) -> None:
        """Append samples [N] in -1..1; all but the last call bring whole ``BLOCK``s."""
        if self._sound is None or self._rate is None:
            raise ValueError("the file was opened without sound")
        for begin in range(0, len(samples), BLOCK):
            block = samples[None, begin : begin + BLOCK]
            frame = av.AudioFrame.from_ndarray(
                np.ascontiguousarray(block, dtype=np.float32), format="fltp", layout="mono"
            )
            frame.sample_rate = self._rate
            frame.pts, frame.time_base = self._samples, Fraction(1, self._rate)
            self._container.mux(self._sound.encode(frame))
            self._samples += block.shape[1]


def encode_mp4(
    frames: Iterable[NDArray[np.uint8] | av.VideoFrame],
    fps: int = FPS,
    audio: NDArray[np.float32] | None = None,
    sample_rate: int = 16_000,
    crf: int = 18,
    preset: str = "veryfast",
    metadata: Mapping[str, str] | None = None,
) -> bytes:
    """Encode H.264 (and AAC) in mp4, the same bytes for the same input; see ``Mp4Writer``.

    Args:
        frames: ``[H, W, 3]`` RGB arrays, or video frames; H and W even and constant.
        fps: frames per second.
        audio: ``[N]`` mono samples in -1..1, or None for a silent file.
        sample_rate: of ``audio``, hertz.
        crf: x264's quality, 0 (lossless) to 51.
        preset: x264's speed preset.
        metadata: mp4 tags.

    Returns:
        the file, the sound after the picture.

    Raises:
        ValueError: no frames, frames of odd or varying size, or audio that is not 1-D.
    """
    source = iter(frames)
    first = next(source, None)
    if first is None:
        raise ValueError("no frames to encode")
    if audio is not None and audio.ndim != 1:
        raise ValueError(f"audio has shape {audio.shape}, need [samples]")
    height, width = _size(first)
    buffer = io.BytesIO()
    with Mp4Writer(
        buffer,
        width,
        height,
        fps,
        None if audio is None else sample_rate,
        crf,
        preset,
        metadata,
        colours=first if isinstance(first, av.VideoFrame) else None,
    ) as writer:
        for picture in itertools.chain([first], source):
            writer.picture(picture)
        writer.finish_picture()
        if audio is not None:
            writer.sound(audio)
    return buffer.getvalue()


def _size(picture: NDArray[np.uint8] | av.VideoFrame) -> tuple[int, int]:
    if isinstance(picture, av.VideoFrame):
        return picture.height, picture.width
    return int(picture.shape[0]), int(picture.shape[1])


def _encodable(picture: NDArray[np.uint8] | av.VideoFrame) -> av.VideoFrame:
    if isinstance(picture, av.VideoFrame):
        frame = picture.reformat(format="yuv420p", interpolation=_FLAGS)
    else:
        rgb = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
        frame = rgb.reformat(
            format="yuv420p",
            dst_colorspace="smpte170m",
            dst_color_range=_LIMITED,
            interpolation=_FLAGS,
        )
    # A decoded frame remembers how it was coded; x264 would obey that instead of deciding.
    frame.pict_type = PictureType.NONE
    return frame
