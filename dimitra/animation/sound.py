"""Reading a recording of any length: decoded as it comes, kept in files, never whole in memory."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

import av
import numpy as np
import soxr
from av.error import FFmpegError
from numpy.typing import NDArray

from dimitra.animation.errors import AnimationError
from dimitra.animation.input_names import input_name
from dimitra.animation.settings import SHORTEST_S
from dimitra.clips import ClipError
from dimitra.media.audio import mono
from dimitra.media.container import (
    MediaLimits,
    Source,
    audio_stream,
    open_media,
    origin_s,
    stream_duration_s,
)
from dimitra.media.limits import check_sound
from dimitra.speech.features import SAMPLE_RATE_HZ, VIDEO_FPS

PLAYBACK_RATE_HZ = 48_000
"""Of the sound that the video gets."""
SILENT_RMS = 1e-4
"""Level below which a recording is silent, of full scale; the corpora's limit too."""
SAMPLES_PER_FRAME = SAMPLE_RATE_HZ // VIDEO_FPS
BLOCK = 1 << 20
"""Samples looked at at once."""

_GAP_S = 0.005
"""As in ``dimitra.media.audio``: time stamps are trusted to this."""


@dataclass(frozen=True, eq=False)
class Sound:
    """A decoded recording.

    Attributes:
        name: of the file, for messages.
        frames: T, of the video.
        samples: [640 T], 16 kHz mono in -1..1, a file in memory's place.
        playback: [M], 48 kHz mono, 16 bits, likewise.
    """

    name: str
    frames: int
    samples: NDArray[np.float32]
    playback: NDArray[np.int16]

    @property
    def duration_s(self) -> float:
        """Length of the video."""
        return self.frames / VIDEO_FPS


Decoded: TypeAlias = Callable[[float, float | None], None]
"""Told how many seconds are decoded, and of how many where the file says so."""


def read_sound(source: Source, folder: Path, limits: MediaLimits, decoded: Decoded) -> Sound:
    """Decode a recording, or the sound of a video.

    On the clock of ``dimitra.media.audio.read_audio``: time before the stream begins and gaps in it
    are silent, channels are averaged.

    Args:
        source: path or bytes.
        folder: for the decoded samples: 0.58 GB an hour.
        limits: bounds on what is opened.
        decoded: is told of progress.

    Raises:
        AnimationError: no sound, damaged, silent, too short or too long.
    """
    name = input_name(source)
    try:
        speech = folder / "speech.f32"
        playback = folder / "playback.s16"
        with speech.open("wb") as one, playback.open("wb") as other:
            lanes = (
                _Lane(SAMPLE_RATE_HZ, one, np.float32),
                _Lane(PLAYBACK_RATE_HZ, other, np.int16),
            )
            _decode(source, name, limits, lanes, decoded)
    except ClipError as error:
        raise AnimationError(error.message) from None
    samples: NDArray[np.float32] = _mapped(speech, np.float32)
    seconds = len(samples) / SAMPLE_RATE_HZ
    if seconds < SHORTEST_S:
        raise AnimationError(
            f"{name} lasts {1000 * seconds:.0f} ms, need at least {1000 * SHORTEST_S:.0f}; give a "
            "recording with at least a word in it"
        )
    level = rms(samples)
    if level < SILENT_RMS:
        raise AnimationError(
            f"{name} is silent: its level (RMS) is {level:.1e} of full scale, need at least "
            f"{SILENT_RMS:.0e}; check that the microphone was on, and that the two channels of a "
            "stereo recording do not cancel each other"
        )
    frames = max(1, math.ceil(seconds * VIDEO_FPS - 0.5 - 1e-6))
    _resize(speech, 4 * frames * SAMPLES_PER_FRAME)
    return Sound(name, frames, _mapped(speech, np.float32), _mapped(playback, np.int16))


def rms(samples: NDArray[np.float32]) -> float:
    """Root of the mean square, block by block."""
    total = 0.0
    for start in range(0, len(samples), BLOCK):
        block = samples[start : start + BLOCK].astype(np.float64)
        total += float(block @ block)
    return math.sqrt(total / max(1, len(samples)))


def _mapped(file: Path, kind: Any) -> NDArray[Any]:
    """A file of numbers as an array that the system reads as it is needed."""
    if file.stat().st_size == 0:
        return np.zeros(0, kind)
    return np.memmap(file, kind, "r")


def _resize(file: Path, size: int) -> None:
    """Cut a file off, or append zeros."""
    with file.open("r+b") as opened:
        opened.truncate(size)


def _decode(
    source: Source,
    name: str,
    limits: MediaLimits,
    lanes: tuple[_Lane, ...],
    decoded: Decoded,
) -> None:
    with open_media(source, limits) as container:
        stream = audio_stream(container)
        if stream is None:
            raise AnimationError(f"{name} has no sound; give a recording of speech")
        stream.codec_context.thread_count = 1
        native = stream.codec_context.sample_rate
        check_sound(native, stream.codec_context.channels, limits, name)
        declared = stream_duration_s(container, stream)
        # An mp4 pads its last block; only its edit list tells where the sound ends.
        ends = declared is not None and container.format.name.startswith("mov")
        stop = round((declared or 0.0) * native) if ends else None
        for lane in lanes:
            lane.begin(native)
        place = 0
        try:
            for begin, block in _blocks(container, stream, native, name):
                if not np.isfinite(block).all():
                    raise AnimationError(
                        f"{name} holds samples that are no numbers; export it again"
                    )
                missing = max(0, begin - place)
                if missing + place > limits.max_duration_s * native:
                    _too_long(name, (missing + place) / native, limits)
                new = block[max(0, place - begin) :]
                for lane in lanes:
                    lane.skip(missing)
                place += missing
                if stop is not None:
                    new = new[: max(0, stop - place)]
                for lane in lanes:
                    lane.write(new)
                place += len(new)
                if place > limits.max_duration_s * native:
                    _too_long(name, place / native, limits)
                decoded(place / native, declared)
                if stop is not None and place >= stop:
                    break
        except FFmpegError as error:
            raise AnimationError(
                f"{name}: the sound cannot be decoded ({error.strerror}); export it again, as WAV "
                "or FLAC"
            ) from None
        for lane in lanes:
            lane.finish(place)
        decoded(place / native, place / native)


def _too_long(name: str, seconds: float, limits: MediaLimits) -> None:
    raise AnimationError(
        f"{name} has more than {seconds:.0f} s of sound, limits.max_duration_s is "
        f"{limits.max_duration_s:g}; cut it into pieces"
    )


def _blocks(
    container: av.container.InputContainer, stream: av.AudioStream, native: int, name: str
) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Decoded blocks [N], mono, and the sample at which each begins."""
    origin = origin_s(container)
    expected: int | None = None
    for frame in container.decode(stream):
        if frame.sample_rate != native:
            raise AnimationError(
                f"{name}: the sample rate changes from {native} to {frame.sample_rate} Hz; export "
                "it again at one rate"
            )
        begin = expected if frame.time is None else round((frame.time - origin) * native)
        if begin is None:
            begin = 0
        if expected is not None and abs(begin - expected) <= _GAP_S * native:
            begin = expected
        block = mono(frame)
        expected = begin + len(block)
        yield begin, block


class _Lane:
    """One rate: resamples blocks as they come, and appends them to a file."""

    def __init__(self, rate_hz: int, file: BinaryIO, kind: Any) -> None:
        self._rate = rate_hz
        self._file = file
        self._kind = kind
        self._native = rate_hz
        self._resampler: Any = None

    def begin(self, native: int) -> None:
        """The rate at which samples will come, hertz."""
        self._native = native
        self._resampler = soxr.ResampleStream(native, self._rate, 1, dtype="float32", quality="HQ")

    def skip(self, count: int) -> None:
        """Silence of ``count`` samples at the native rate."""
        for start in range(0, count, BLOCK):
            self.write(np.zeros(min(BLOCK, count - start), np.float32))

    def write(self, block: NDArray[np.float32]) -> None:
        """Samples [N] at the native rate."""
        self._append(self._resampler.resample_chunk(block))

    def finish(self, count: int) -> None:
        """What the resampler holds back; the file then has the length of ``count`` samples."""
        self._append(self._resampler.resample_chunk(np.zeros(0, np.float32), last=True))
        length = round(count * self._rate / self._native)
        self._file.truncate(length * np.dtype(self._kind).itemsize)

    def _append(self, samples: NDArray[np.float32]) -> None:
        if self._kind is np.int16:
            samples = np.rint(np.clip(samples, -1.0, 1.0) * 32767.0)
        self._file.write(samples.astype(self._kind).tobytes())
