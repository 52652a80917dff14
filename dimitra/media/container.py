"""Opening and probing untrusted media files: what may be decoded at all, and under which limits.

Only local files (or bytes) of a few well-known containers are opened. Playlists, stream
descriptions and anything else that makes the demuxer open further resources are refused: the
input reaches the demuxer as an already opened file, every protocol is switched off, and the
demuxers are on a list.
"""

from __future__ import annotations

import io
import math
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO

import av
from av.container import InputContainer
from av.error import ArgumentError, FFmpegError, InvalidDataError
from av.stream import Disposition, Stream

from dimitra.clips import ClipError, Reason

Source = Path | str | bytes
"""A local file, or a file's content in memory."""

_DEMUXERS = {
    "mov": "mov,mp4,m4a,3gp,3g2,mj2",
    "matroska": "matroska,webm",
    "avi": "avi",
    "wav": "wav",
    "flac": "flac",
    "mp3": "mp3",
    "ogg": "ogg",
    "aac": "aac",
}
_EXTENSIONS = {
    ".mp4": "mov",
    ".m4v": "mov",
    ".mov": "mov",
    ".m4a": "mov",
    ".3gp": "mov",
    ".mkv": "matroska",
    ".mka": "matroska",
    ".webm": "matroska",
    ".avi": "avi",
    ".wav": "wav",
    ".flac": "flac",
    ".mp3": "mp3",
    ".ogg": "ogg",
    ".oga": "ogg",
    ".opus": "ogg",
    ".aac": "aac",
}
_PLAYLIST_STARTS = (b"#EXTM3U", b"ffconcat", b"<?xml", b"<MPD", b"v=0", b"[playlist]", b"RTSP")
_OPTIONS = {
    "format_whitelist": ",".join(_DEMUXERS.values()),
    "protocol_whitelist": "none",
    "enable_drefs": "0",
    "use_absolute_path": "0",
}


@dataclass(frozen=True)
class MediaLimits:
    """Bounds on what is decoded.

    Attributes:
        min_duration_s: shortest clip, seconds.
        max_duration_s: longest file, seconds.
        max_pixels: largest frame, width times height.
        max_bytes: largest file.
    """

    min_duration_s: float = 0.0
    max_duration_s: float = 7200.0
    max_pixels: int = 7680 * 4320
    max_bytes: int = 4_000_000_000


DEFAULT_LIMITS = MediaLimits()


@dataclass(frozen=True)
class MediaInfo:
    """What a file says about itself; times count from the file's first presented moment.

    Attributes:
        container: demuxer family: ``mov``, ``matroska``, ``avi``, ``wav``, ``flac``, ``mp3``, ...
        duration_s: of the longest stream, seconds.
        video_codec: for example ``h264``; None without video.
        width: displayed width in pixels (rotation and pixel aspect applied); 0 without video.
        height: displayed height in pixels; 0 without video.
        fps: average frame rate; 0 without video.
        audio_codec: for example ``aac``; None without sound.
        sample_rate_hz: 0 without sound.
        channels: 0 without sound.
    """

    container: str
    duration_s: float
    video_codec: str | None
    width: int
    height: int
    fps: float
    audio_codec: str | None
    sample_rate_hz: int
    channels: int


def source_name(source: Source) -> str:
    """How messages call the source: the file's name, or the size of the bytes."""
    return f"<{len(source)} bytes>" if isinstance(source, bytes) else Path(source).name


def video_stream(container: InputContainer) -> av.VideoStream | None:
    """First video stream that is not a cover picture."""
    for stream in container.streams.video:
        if not stream.disposition & Disposition.attached_pic:
            return stream
    return None


def audio_stream(container: InputContainer) -> av.AudioStream | None:
    """First sound stream."""
    return next(iter(container.streams.audio), None)


def origin_s(container: InputContainer) -> float:
    """Presentation time that counts as second 0: the start of the earliest stream.

    Files cut out of a longer recording may begin at any time stamp. A negative start (decoder
    priming) counts as 0.
    """
    start = container.start_time
    return 0.0 if start is None else max(0.0, start / av.time_base)


@contextmanager
def open_media(source: Source, limits: MediaLimits = DEFAULT_LIMITS) -> Iterator[InputContainer]:
    """Open a file for decoding, under ``limits``.

    Args:
        source: path or bytes.
        limits: bounds on size, checked before anything is parsed.

    Yields:
        the opened container.

    Raises:
        ClipError: EMPTY_FILE, MISSING_FILE, TOO_LARGE, NOT_MEDIA, TRUNCATED, WRONG_EXTENSION or
            REFUSED_MEDIA.
    """
    name = source_name(source)
    with _open_file(source, name) as file:
        size = file.seek(0, io.SEEK_END)
        file.seek(0)
        if size == 0:
            raise ClipError(Reason.EMPTY_FILE, f"{name} has no bytes")
        if size > limits.max_bytes:
            raise ClipError(
                Reason.TOO_LARGE,
                f"{name} has {size} bytes, limits.max_bytes is {limits.max_bytes}",
            )
        head = file.read(64)
        expected = None if isinstance(source, bytes) else _EXTENSIONS.get(_suffix(source))
        if head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(_PLAYLIST_STARTS):
            raise ClipError(
                Reason.REFUSED_MEDIA,
                f"{name} is a playlist or stream description ({head[:16]!r}); give the media "
                "file itself",
            )
        file.seek(0)
        try:
            container = av.open(file, mode="r", options=dict(_OPTIONS))
        except ArgumentError:
            raise _unlisted(name, expected, head) from None
        except FFmpegError as error:
            raise _unreadable(name, expected, head, error) from None
        try:
            family = _family(container)
            if expected is not None and family != expected:
                raise ClipError(
                    Reason.WRONG_EXTENSION,
                    f"{name} holds {family} data, but its extension says {expected}; rename it",
                )
            _check_complete(file, family, size, name)
            yield container
        finally:
            container.close()


def probe(
    source: Source,
    limits: MediaLimits = DEFAULT_LIMITS,
    *,
    video: bool = True,
    audio: bool = True,
) -> MediaInfo:
    """Read a file's headers and check them against ``limits``; no frame is decoded.

    Args:
        source: path or bytes.
        limits: bounds.
        video: a video stream is required.
        audio: a sound stream is required.

    Raises:
        ClipError: what ``open_media`` raises, and NO_VIDEO, NO_AUDIO, TOO_SHORT, TOO_LONG,
            TOO_LARGE (frame size).
    """
    name = source_name(source)
    with open_media(source, limits) as container:
        picture, sound = video_stream(container), audio_stream(container)
        if video and picture is None:
            raise ClipError(Reason.NO_VIDEO, f"{name} has no video stream")
        if audio and sound is None:
            raise ClipError(Reason.NO_AUDIO, f"{name} has no sound stream")
        width, height = (0, 0) if picture is None else displayed_size(picture)
        if picture is not None and video:
            check_pixels(picture.codec_context.width, picture.codec_context.height, limits, name)
        duration = duration_s(container)
        if not limits.min_duration_s <= duration:
            raise ClipError(
                Reason.TOO_SHORT,
                f"{name} lasts {duration:.3f} s, limits.min_duration_s is {limits.min_duration_s}",
            )
        if duration > limits.max_duration_s:
            raise ClipError(
                Reason.TOO_LONG,
                f"{name} lasts {duration:.3f} s, limits.max_duration_s is {limits.max_duration_s}",
            )
        rate = None if picture is None else picture.average_rate
        return MediaInfo(
            container=_family(container),
            duration_s=duration,
            video_codec=None if picture is None else picture.codec_context.name,
            width=width,
            height=height,
            fps=float(rate) if rate else 0.0,
            audio_codec=None if sound is None else sound.codec_context.name,
            sample_rate_hz=0 if sound is None else sound.codec_context.sample_rate,
            channels=0 if sound is None else sound.codec_context.channels,
        )


def check_pixels(width: int, height: int, limits: MediaLimits, name: str) -> None:
    """Refuse frames that are empty or larger than ``limits.max_pixels``.

    Raises:
        ClipError: NO_VIDEO or TOO_LARGE.
    """
    if width < 1 or height < 1:
        raise ClipError(Reason.NO_VIDEO, f"{name} declares a frame size of {width}x{height}")
    if width * height > limits.max_pixels:
        raise ClipError(
            Reason.TOO_LARGE,
            f"{name} has frames of {width}x{height} = {width * height} pixels, "
            f"limits.max_pixels is {limits.max_pixels}",
        )


def displayed_size(stream: av.VideoStream) -> tuple[int, int]:
    """Width and height as shown: pixel aspect applied (rotation is known only per frame)."""
    context = stream.codec_context
    aspect = stream.sample_aspect_ratio or Fraction(1)
    return max(1, round(context.width * aspect)), context.height


def stream_duration_s(container: InputContainer, stream: Stream | None) -> float | None:
    """End of a stream, seconds after the file's origin; None where the file does not say."""
    if stream is None or stream.duration is None or stream.time_base is None:
        return None
    start = 0 if stream.start_time is None else stream.start_time
    return max(0.0, float((start + stream.duration) * stream.time_base) - origin_s(container))


def duration_s(container: InputContainer) -> float:
    """Duration of the longest stream in seconds; 0 where the file does not say."""
    ends = [stream_duration_s(container, stream) for stream in container.streams]
    known = [end for end in ends if end is not None]
    if known:
        return max(known)
    return 0.0 if container.duration is None else max(0.0, container.duration / av.time_base)


def _suffix(source: Path | str) -> str:
    return Path(source).suffix.lower()


@contextmanager
def _open_file(source: Source, name: str) -> Iterator[BinaryIO]:
    if isinstance(source, bytes):
        yield io.BytesIO(source)
        return
    path = Path(source)
    if not path.is_file():
        raise ClipError(Reason.MISSING_FILE, f"{name} is not a file")
    with path.open("rb") as file:
        yield file


def _family(container: InputContainer) -> str:
    names = container.format.name
    return next((key for key, value in _DEMUXERS.items() if value == names), names)


def _unlisted(name: str, expected: str | None, head: bytes) -> ClipError:
    if expected is not None:
        return ClipError(
            Reason.WRONG_EXTENSION,
            f"{name} does not hold {expected} data as its extension says (it begins with "
            f"{head[:8]!r})",
        )
    return ClipError(
        Reason.REFUSED_MEDIA,
        f"{name} is in a container that is not accepted; accepted are {', '.join(_DEMUXERS)}",
    )


def _unreadable(name: str, expected: str | None, head: bytes, error: FFmpegError) -> ClipError:
    family = _sniff(head)
    detail = error.strerror or type(error).__name__
    if expected is not None and family not in (None, expected):
        return _unlisted(name, expected, head)
    if family is not None and isinstance(error, InvalidDataError | EOFError):
        return ClipError(
            Reason.TRUNCATED, f"{name} begins as {family} data but its index is missing: {detail}"
        )
    return ClipError(Reason.NOT_MEDIA, f"{name} is no media file: {detail}")


def _sniff(head: bytes) -> str | None:
    if head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free"):
        return "mov"
    if head.startswith(b"\x1a\x45\xdf\xa3"):
        return "matroska"
    if head.startswith(b"RIFF"):
        return {b"AVI ": "avi", b"WAVE": "wav"}.get(head[8:12])
    starts = {b"fLaC": "flac", b"OggS": "ogg", b"ID3": "mp3"}
    return next((family for start, family in starts.items() if head.startswith(start)), None)


def _check_complete(file: BinaryIO, family: str, size: int, name: str) -> None:
    """Compare the sizes declared by the outermost boxes with the bytes that are there."""
    position = file.tell()
    needed = 0
    if family == "mov":
        needed = _mov_extent(file, size)
    elif family in ("avi", "wav"):
        file.seek(4)
        declared = struct.unpack("<I", file.read(4))[0]
        # Writers that cannot seek back leave 0 or all ones.
        needed = 0 if declared in (0, 0xFFFFFFFF) else 8 + declared
    file.seek(position)
    if needed > size:
        raise ClipError(
            Reason.TRUNCATED, f"{name} declares {needed} bytes but has {size}; copy it again"
        )


def _mov_extent(file: BinaryIO, size: int) -> int:
    """End of the last top-level box of an ISO base media file (ISO/IEC 14496-12, 4.2)."""
    position = 0
    while position + 8 <= size:
        file.seek(position)
        header = file.read(16)
        length = struct.unpack(">I", header[:4])[0]
        if length == 1 and len(header) == 16:
            length = struct.unpack(">Q", header[8:16])[0]
        if length == 0:
            return size
        if length < 8:
            return position
        position += length
    return position


def frame_count(duration: float, fps: float) -> int:
    """Number of frames at ``fps`` whose centre lies within ``duration`` seconds."""
    return max(0, math.ceil(duration * fps - 0.5 - 1e-6))
