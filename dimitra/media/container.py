"""Opening and probing untrusted media files: what may be decoded at all, and under which limits.

Only regular local files (or bytes) of a few well-known containers and codecs are opened.
Playlists, stream descriptions and anything else that makes the demuxer open further resources are
refused: the input reaches the demuxer as an already opened file, every protocol is switched off,
and demuxers and decoders are on a list.
"""

from __future__ import annotations

import io
import math
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO

import av
from av.container import InputContainer
from av.error import ArgumentError, FFmpegError, InvalidDataError
from av.stream import Disposition, Stream

from dimitra.clips import ClipError, Reason
from dimitra.media.boxes import check_boxes, sniff_boxes
from dimitra.media.formats import (
    AUDIO_DECODERS,
    DEMUXERS,
    EXTENSIONS,
    VIDEO_DECODERS,
    refuse_text,
    sniff,
)
from dimitra.media.limits import (
    DEFAULT_LIMITS,
    MediaLimits,
    check_duration,
    check_frame_rate,
    check_frames,
    check_pixels,
    check_sound,
    check_streams,
)
from dimitra.media.packets import check_end, measure
from dimitra.media.source import Source, open_source, source_name

__all__ = [
    "DEFAULT_LIMITS",
    "MediaInfo",
    "MediaLimits",
    "Source",
    "audio_stream",
    "check_pixels",
    "decoded_frames",
    "displayed_size",
    "duration_s",
    "frame_count",
    "inspect",
    "open_media",
    "origin_s",
    "probe",
    "source_name",
    "stream_duration_s",
    "video_stream",
]

_OPTIONS = {
    "codec_whitelist": ",".join(sorted(VIDEO_DECODERS | AUDIO_DECODERS)),
    "protocol_whitelist": "none",
    "enable_drefs": "0",
    "use_absolute_path": "0",
}


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
def open_media(
    source: Source, limits: MediaLimits = DEFAULT_LIMITS, *, plain_stamps: bool = False
) -> Iterator[InputContainer]:
    """Open a file for decoding, under ``limits``.

    Args:
        source: path or bytes.
        limits: bounds on the file, its streams and frames; the size is checked before anything is
            parsed, the streams before anything is decoded.
        plain_stamps: the time stamps of an mp4 are those of its edit list, frames before and after
            it included, where the demuxer would drop them and move what is left.

    Yields:
        the opened container.

    Raises:
        ClipError: MISSING_FILE, UNREADABLE, NOT_A_FILE, EMPTY_FILE, TOO_LARGE, NOT_MEDIA,
            TRUNCATED, WRONG_EXTENSION, REFUSED_MEDIA, TOO_MANY_STREAMS or BAD_SOUND.
    """
    name = source_name(source)
    with open_source(source, name) as file:
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
        expected = None if isinstance(source, bytes) else EXTENSIONS.get(_suffix(source))
        refuse_text(head, name)
        accepted = list(DEMUXERS)
        if sniff_boxes(head):
            check_boxes(file, size, limits, name)
        else:
            accepted.remove("mov")  # its boxes have not been checked
        file.seek(0)
        options = _options(accepted, limits)
        if plain_stamps:
            options["advanced_editlist"] = "0"
        try:
            container = av.open(file, mode="r", options=options, metadata_errors="replace")
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
            if family in ("avi", "wav", "aiff"):
                _check_chunk(file, size, ">I" if family == "aiff" else "<I", name)
            _check_content(container, limits, name)
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
            BAD_FRAME_RATE.
    """
    name = source_name(source)
    with open_media(source, limits) as container:
        info = _info(container, limits, name, video=video, audio=audio)
    if info.duration_s > 0.0:
        check_duration(info.duration_s, limits, name)
        return info
    return inspect(source, limits, video=video, audio=audio)


def inspect(
    source: Source,
    limits: MediaLimits = DEFAULT_LIMITS,
    *,
    video: bool = True,
    audio: bool = True,
) -> MediaInfo:
    """Like ``probe``, and hold the headers against the packets that are there; none is decoded.

    Args:
        source: path or bytes.
        limits: bounds.
        video: a video stream is required.
        audio: a sound stream is required.

    Returns:
        as ``probe``; the duration is the measured one where the file declares none.

    Raises:
        ClipError: what ``probe`` raises, where the packets and not only the headers break a
            limit too, and TRUNCATED, DECODE_ERROR.
    """
    name = source_name(source)
    with open_media(source, limits) as container:
        info = _info(container, limits, name, video=video, audio=audio)
        check_duration(info.duration_s or limits.min_duration_s, limits, name)
        spans = measure(container, origin_s(container), limits, name)
        picture, sound = video_stream(container), audio_stream(container)
        if video and picture is not None and picture.index not in spans:
            raise ClipError(Reason.NO_VIDEO, f"{name} has a video stream without a frame")
        if audio and sound is not None and sound.index not in spans:
            raise ClipError(Reason.NO_AUDIO, f"{name} has a sound stream without a sample")
        end = max((span.end_s for span in spans.values()), default=0.0)
        for stream in (picture, sound):
            if stream is None or stream.index not in spans:
                continue
            declared = stream_duration_s(container, stream)
            if info.container == "avi" and stream is sound:
                continue
            check_end(declared, spans[stream.index].end_s, info.container, stream.type, name)
        check_end(duration_s(container), end, info.container, "file", name)
        check_duration(info.duration_s or end, limits, name)
        if picture is not None and picture.index in spans:
            span = spans[picture.index]
            if span.packets > 1 and span.end_s > span.begin_s:
                check_frame_rate(span.packets / (span.end_s - span.begin_s), limits, name)
    return replace(info, duration_s=info.duration_s or end)


def decoded_frames(
    container: InputContainer, stream: av.VideoStream, limits: MediaLimits, name: str
) -> Iterator[av.VideoFrame]:
    """Decode a video stream and let only whole frames within the limits through.

    A decoder fills a damaged frame with guesses and goes on; such a frame is an error here.

    Args:
        container: opened by ``open_media``.
        stream: of it.
        limits: bounds on the size and number of frames.
        name: of the file, for messages.

    Raises:
        ClipError: TOO_LARGE or DECODE_ERROR.
        FFmpegError: the decoder gives up.
    """
    for count, frame in enumerate(container.decode(stream), start=1):
        check_frames(count, limits, name)
        check_pixels(frame.width, frame.height, limits, name)
        if frame.is_corrupt:
            raise ClipError(
                Reason.DECODE_ERROR,
                f"{name}: video frame {count} is damaged; copy the file again",
            )
        yield frame


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


def _options(accepted: list[str], limits: MediaLimits) -> dict[str, str]:
    """Options of the demuxer, and of the decoders that it uses to look at the streams."""
    return (
        _OPTIONS
        | _decoder_options(limits)
        | {"format_whitelist": ",".join(DEMUXERS[family] for family in accepted)}
    )


def _decoder_options(limits: MediaLimits) -> dict[str, str]:
    # Decoders count whole blocks: each side rounded up to a multiple of 64, and a little more.
    return {"max_pixels": str(limits.max_pixels + 128 * limits.max_side)}


def _check_content(container: InputContainer, limits: MediaLimits, name: str) -> None:
    """Check every stream, and bind the limits to the decoders that will be used."""
    check_streams(len(container.streams), limits, name)
    for picture in container.streams.video:
        # The stubs leave out that a codec without a decoder has no context.
        if picture.codec_context is None or picture.codec_context.name not in VIDEO_DECODERS:
            if not picture.disposition & Disposition.attached_pic:
                raise _undecodable(picture, name)
            continue
        if not picture.disposition & Disposition.attached_pic:
            check_pixels(picture.codec_context.width, picture.codec_context.height, limits, name)
            check_pixels(*displayed_size(picture), limits, name)
        picture.codec_context.options = _decoder_options(limits)
    for sound in container.streams.audio:
        if sound.codec_context is None or sound.codec_context.name not in AUDIO_DECODERS:
            raise _undecodable(sound, name)
        check_sound(sound.codec_context.sample_rate, sound.codec_context.channels, limits, name)


def _undecodable(stream: Stream, name: str) -> ClipError:
    codec = "unknown" if stream.codec_context is None else stream.codec_context.name
    return ClipError(
        Reason.REFUSED_MEDIA,
        f"{name} has {stream.type} in the codec {codec}, which is not accepted; convert it to "
        "H.264 and AAC",
    )


def _info(
    container: InputContainer, limits: MediaLimits, name: str, *, video: bool, audio: bool
) -> MediaInfo:
    picture, sound = video_stream(container), audio_stream(container)
    if video and picture is None:
        raise ClipError(Reason.NO_VIDEO, f"{name} has no video stream")
    if audio and sound is None:
        raise ClipError(Reason.NO_AUDIO, f"{name} has no sound stream")
    width, height = (0, 0) if picture is None else displayed_size(picture)
    rate = None if picture is None else picture.average_rate
    if video and rate:
        check_frame_rate(float(rate), limits, name)
    return MediaInfo(
        container=_family(container),
        duration_s=duration_s(container),
        video_codec=None if picture is None else picture.codec_context.name,
        width=width,
        height=height,
        fps=float(rate) if rate else 0.0,
        audio_codec=None if sound is None else sound.codec_context.name,
        sample_rate_hz=0 if sound is None else sound.codec_context.sample_rate,
        channels=0 if sound is None else sound.codec_context.channels,
    )


def _family(container: InputContainer) -> str:
    names = container.format.name
    return next((key for key, value in DEMUXERS.items() if value == names), names)


def _unlisted(name: str, expected: str | None, head: bytes) -> ClipError:
    if expected is not None:
        return ClipError(
            Reason.WRONG_EXTENSION,
            f"{name} does not hold {expected} data as its extension says (it begins with "
            f"{head[:8]!r})",
        )
    return ClipError(
        Reason.REFUSED_MEDIA,
        f"{name} is in a container that is not accepted; accepted are {', '.join(DEMUXERS)}",
    )


def _unreadable(name: str, expected: str | None, head: bytes, error: FFmpegError) -> ClipError:
    family = sniff(head)
    detail = error.strerror or type(error).__name__
    if expected is not None and family not in (None, expected):
        return _unlisted(name, expected, head)
    if family is not None and isinstance(error, InvalidDataError | EOFError):
        return ClipError(
            Reason.TRUNCATED, f"{name} begins as {family} data but its index is missing: {detail}"
        )
    return ClipError(Reason.NOT_MEDIA, f"{name} is no media file: {detail}")


def _check_chunk(file: BinaryIO, size: int, form: str, name: str) -> None:
    """Compare the size that the outermost chunk declares with the bytes that are there.

    Args:
        file: RIFF or AIFF.
        size: its bytes.
        form: of the declared size, as ``struct`` has it.
        name: for messages.
    """
    position = file.tell()
    file.seek(4)
    declared = struct.unpack(form, file.read(4))[0]
    file.seek(position)
    # Writers that cannot seek back leave 0 or all ones.
    if declared not in (0, 0xFFFFFFFF) and 8 + declared > size:
        raise ClipError(
            Reason.TRUNCATED, f"{name} declares {8 + declared} bytes but has {size}; copy it again"
        )


def frame_count(duration: float, fps: float) -> int:
    """Number of frames at ``fps`` whose centre lies within ``duration`` seconds."""
    return max(0, math.ceil(duration * fps - 0.5 - 1e-6))
