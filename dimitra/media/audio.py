"""Decoding of sound to mono at a fixed rate, and FLAC."""

from __future__ import annotations

import io

import av
import numpy as np
import soundfile
import soxr
from av.error import FFmpegError
from numpy.typing import NDArray

from dimitra.clips import ClipError, Reason
from dimitra.media.container import (
    DEFAULT_LIMITS,
    MediaLimits,
    Source,
    audio_stream,
    open_media,
    origin_s,
    source_name,
    stream_duration_s,
)

SAMPLE_RATE_HZ = 16_000
"""Rate of every clip's sound after ``crop``."""

_GAP_S = 0.005
_FULL_SCALE = 32768.0


def read_audio(
    source: Source,
    start_s: float = 0.0,
    end_s: float | None = None,
    rate: int = SAMPLE_RATE_HZ,
    limits: MediaLimits = DEFAULT_LIMITS,
) -> NDArray[np.float32]:
    """Decode sound as mono at ``rate``, placed by presentation time.

    Sample 0 is heard at ``start_s`` seconds after the file's origin (the start of its earliest
    stream): the same clock as ``dimitra.media.video.iterate_frames``. Time before the stream
    begins and gaps in it are silent. Resampled with soxr's HQ filter.

    Args:
        source: path or bytes, of a video or of a sound file.
        start_s: seconds after the file's origin.
        end_s: likewise; None for the end of the sound.
        rate: hertz.
        limits: bounds on duration and file size.

    Returns:
        ``[N]`` in -1..1; shorter than ``(end_s - start_s) * rate`` where the sound ends before
        ``end_s``.

    Raises:
        ClipError: what ``open_media`` raises, and NO_AUDIO, TOO_LONG, DECODE_ERROR.
        ValueError: ``end_s`` does not lie after ``start_s``.
    """
    if start_s < 0 or (end_s is not None and end_s <= start_s):
        raise ValueError(f"start_s = {start_s}, end_s = {end_s}: need 0 <= start_s < end_s")
    name = source_name(source)
    with open_media(source, limits) as container:
        stream = audio_stream(container)
        if stream is None:
            raise ClipError(Reason.NO_AUDIO, f"{name} has no sound stream")
        stream.codec_context.thread_count = 1
        native = stream.codec_context.sample_rate
        if native < 1:
            raise ClipError(Reason.DECODE_ERROR, f"{name} declares a sample rate of {native} Hz")
        origin = origin_s(container)
        if start_s > 1.0:
            # A second of run-in: codecs with overlapping blocks need their predecessors.
            container.seek(round((origin + start_s - 1.0) * av.time_base), backward=True)
        declared = stream_duration_s(container, stream)
        if declared is not None and container.format.name.startswith("mov"):
            # An mp4 pads its last block; only its edit list tells where the sound ends.
            end_s = declared if end_s is None else min(end_s, max(declared, start_s))
        track = _Track(native, rate, start_s, end_s, limits, name)
        try:
            for frame in container.decode(stream):
                time = None if frame.time is None else frame.time - origin
                if frame.sample_rate != native:
                    raise ClipError(
                        Reason.DECODE_ERROR,
                        f"{name}: the sample rate changes from {native} to {frame.sample_rate} Hz",
                    )
                track.add(mono(frame), time)
                if track.full:
                    break
        except FFmpegError as error:
            raise ClipError(
                Reason.DECODE_ERROR, f"{name}: sound cannot be decoded: {error.strerror}"
            ) from None
    return track.finish()


def mono(frame: av.AudioFrame) -> NDArray[np.float32]:
    """Mean over the channels of a decoded block, ``[N]`` in -1..1."""
    samples = frame.to_ndarray()
    if not frame.format.is_planar:
        samples = samples.reshape(-1, frame.layout.nb_channels).T
    if samples.dtype == np.uint8:
        samples = (samples.astype(np.float32) - 128.0) / 128.0
    elif np.issubdtype(samples.dtype, np.signedinteger):
        samples = samples / 2.0 ** (8 * samples.itemsize - 1)
    mean = samples[0] if len(samples) == 1 else samples.mean(axis=0)
    return np.asarray(mean, dtype=np.float32)


class _Track:
    """Lays decoded blocks on one time line and resamples them as they come."""

    def __init__(
        self,
        native: int,
        rate: int,
        start_s: float,
        end_s: float | None,
        limits: MediaLimits,
        name: str,
    ) -> None:
        self._native = native
        self._rate = rate
        self._first = round(start_s * native)
        self._stop = None if end_s is None else round(end_s * native)
        self._limit = round((start_s + limits.max_duration_s) * native)
        self._limits = limits
        self._name = name
        self._next = self._first
        self._expected: int | None = None
        self._resampler = soxr.ResampleStream(native, rate, 1, dtype="float32", quality="HQ")
        self._parts: list[NDArray[np.float32]] = []
        self.full = False

    def add(self, block: NDArray[np.float32], time_s: float | None) -> None:
        """Append a block that is heard at ``time_s`` (None: right after the one before)."""
        begin = self._expected if time_s is None else round(time_s * self._native)
        if begin is None:
            begin = 0
        if self._expected is not None and abs(begin - self._expected) <= _GAP_S * self._native:
            begin = self._expected
        self._expected = begin + len(block)
        if begin > self._next:
            self._check(begin)
            self._write(np.zeros(begin - self._next, dtype=np.float32))
        self._write(block[max(0, self._next - begin) :])
        self._check(self._next)

    def finish(self) -> NDArray[np.float32]:
        """Samples at the output rate."""
        length = round((self._next - self._first) * self._rate / self._native)
        self._parts.append(self._resampler.resample_chunk(np.zeros(0, np.float32), last=True))
        samples = np.concatenate(self._parts)[:length]
        return np.pad(samples, (0, length - len(samples))).astype(np.float32)

    def _check(self, position: int) -> None:
        if position > self._limit:
            raise ClipError(
                Reason.TOO_LONG,
                f"{self._name} has more than {position / self._native:.1f} s of sound, "
                f"limits.max_duration_s is {self._limits.max_duration_s}",
            )

    def _write(self, block: NDArray[np.float32]) -> None:
        if self._stop is not None and self._next + len(block) >= self._stop:
            block = block[: self._stop - self._next]
            self.full = True
        self._next += len(block)
        self._parts.append(self._resampler.resample_chunk(block))


def encode_flac(samples: NDArray[np.float32], rate: int = SAMPLE_RATE_HZ) -> bytes:
    """Encode mono samples as 16-bit FLAC; values outside -1..1 are clipped.

    Args:
        samples: ``[N]``.
        rate: hertz.

    Raises:
        ValueError: the samples are not 1-D, not finite, or none.
    """
    if samples.ndim != 1 or not samples.size or not np.isfinite(samples).all():
        raise ValueError(f"samples of shape {samples.shape}: need [N] finite values, N > 0")
    scaled = np.clip(np.rint(samples * _FULL_SCALE), -_FULL_SCALE, _FULL_SCALE - 1)
    buffer = io.BytesIO()
    soundfile.write(buffer, scaled.astype(np.int16), rate, format="FLAC", subtype="PCM_16")
    return buffer.getvalue()


def decode_flac(data: bytes) -> tuple[NDArray[np.float32], int]:
    """Decode ``encode_flac``.

    Returns:
        ``[N]`` in -1..1, and the rate in hertz.

    Raises:
        ClipError: NOT_MEDIA, the bytes are no mono FLAC.
    """
    try:
        samples, rate = soundfile.read(io.BytesIO(data), dtype="float32", always_2d=True)
    except soundfile.LibsndfileError as error:
        raise ClipError(Reason.NOT_MEDIA, f"<{len(data)} bytes> are no FLAC: {error}") from None
    if samples.shape[1] != 1:
        raise ClipError(Reason.NOT_MEDIA, f"FLAC has {samples.shape[1]} channels, need 1")
    return np.ascontiguousarray(samples[:, 0], dtype=np.float32), int(rate)
