"""Writing a film frame by frame: H.264 and AAC in mp4, whole or not there at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO

import av
import numpy as np
from av.container import OutputContainer
from av.video.reformatter import Interpolation
from numpy.typing import NDArray

SOUND_BIT_RATE = 96_000
_AUDIO_BLOCK = 1024
_BT601, _LIMITED = 6, 1
_FLAGS = (
    Interpolation.BICUBIC
    | Interpolation.ACCURATE_RND
    | Interpolation.FULL_CHR_H_INT
    | Interpolation.FULL_CHR_H_INP
    | Interpolation.BITEXACT
)


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """A file that takes its name only when all of it is written.

    It is written beside ``path`` and renamed at the end; an error or Ctrl-C removes it and leaves
    what was at ``path`` as it was.

    Raises:
        OSError: the folder cannot be written, or the disk is full.
    """
    descriptor, name = tempfile.mkstemp(".part", f".{path.name}.", path.parent)
    try:
        with os.fdopen(descriptor, "w+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        mask = os.umask(0)
        os.umask(mask)
        Path(name).chmod(0o666 & ~mask)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def write_film(
    file: BinaryIO,
    frames: Iterable[NDArray[np.uint8]],
    size: int,
    fps: int,
    sound: NDArray[np.int16],
    sample_rate_hz: int,
    crf: int,
    preset: str,
    metadata: Mapping[str, str],
) -> None:
    """Encode frames as they come, with their sound beside them, the same bytes for the same input.

    Args:
        file: open for writing, seekable.
        frames: [S, S, 3] RGB each.
        size: S, even.
        fps: frames per second.
        sound: [N] mono; what lasts longer than the frames is cut off.
        sample_rate_hz: of ``sound``.
        crf: x264's quality, 0 (lossless) to 51.
        preset: x264's speed preset.
        metadata: mp4 tags.

    Raises:
        ValueError: a frame has another size.
        OSError: the file cannot be written.
    """
    options = {"fflags": "+bitexact", "movflags": "+use_metadata_tags"}
    with av.open(file, "w", format="mp4", options=options) as container:
        container.metadata.update(metadata)
        video = container.add_stream(
            "libx264",
            rate=fps,
            options={
                "crf": str(crf),
                "preset": preset,
                "flags": "+bitexact",
                "x264-params": "threads=1:cpu-independent=1",
            },
        )
        video.codec_context.colorspace = _BT601
        video.codec_context.color_range = _LIMITED
        video.width, video.height, video.pix_fmt = size, size, "yuv420p"
        video.codec_context.thread_count = 1
        video.codec_context.time_base = Fraction(1, fps)
        voice = _Voice(container, sound, sample_rate_hz)
        count = 0
        for count, picture in enumerate(frames, start=1):
            if picture.shape != (size, size, 3):
                raise ValueError(f"frame {count} is {picture.shape}, expected {(size, size, 3)}")
            rgb = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
            frame = rgb.reformat(
                format="yuv420p",
                dst_colorspace="smpte170m",
                dst_color_range=_LIMITED,
                interpolation=_FLAGS,
            )
            frame.pts, frame.time_base = count - 1, Fraction(1, fps)
            container.mux(video.encode(frame))
            voice.write(round(count * sample_rate_hz / fps))
        container.mux(video.encode(None))
        voice.finish()


class _Voice:
    """The sound of a film, muxed as far as its picture has come."""

    def __init__(
        self, container: OutputContainer, sound: NDArray[np.int16], sample_rate_hz: int
    ) -> None:
        self._container = container
        self._sound = sound
        self._rate = sample_rate_hz
        self._at = 0
        self._stop = 0
        self._stream = container.add_stream(
            "aac", rate=sample_rate_hz, options={"flags": "+bitexact"}, layout="mono"
        )
        self._stream.codec_context.bit_rate = SOUND_BIT_RATE
        self._stream.codec_context.thread_count = 1

    def write(self, stop: int) -> None:
        """Whole blocks of the samples before ``stop``."""
        self._stop = min(stop, len(self._sound))
        while self._at + _AUDIO_BLOCK <= self._stop:
            self._mux(self._at + _AUDIO_BLOCK)

    def finish(self) -> None:
        """The last samples, and what the encoder holds back."""
        if self._at < self._stop:
            self._mux(self._stop)
        self._container.mux(self._stream.encode(None))

    def _mux(self, stop: int) -> None:
        block = self._sound[self._at : stop].astype(np.float32) / np.float32(32767.0)
        frame = av.AudioFrame.from_ndarray(block[None], format="fltp", layout="mono")
        frame.sample_rate = self._rate
        frame.pts, frame.time_base = self._at, Fraction(1, self._rate)
        self._container.mux(self._stream.encode(frame))
        self._at = stop
