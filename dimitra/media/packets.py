"""Packets of a media file: how many there are and what time they cover, without decoding."""

from __future__ import annotations

from dataclasses import dataclass

from av.container import InputContainer
from av.error import FFmpegError

from dimitra.clips import ClipError, Reason
from dimitra.media.limits import MediaLimits, check_duration, check_frames

_TRUNCATION_S = 0.5
_DECLARING = ("mov", "matroska", "avi", "flac")
"""Containers whose declared durations are measured, not guessed from a bit rate."""


@dataclass
class Span:
    """Packets of a stream, and the time they cover after the file's origin."""

    packets: int
    begin_s: float
    end_s: float


def measure(
    container: InputContainer, origin_s: float, limits: MediaLimits, name: str
) -> dict[int, Span]:
    """Read every packet.

    Args:
        container: just opened.
        origin_s: presentation time that counts as second 0.
        limits: ``max_frames`` and ``max_duration_s`` count.
        name: of the file, for messages.

    Returns:
        one span for each stream that has a packet, by the stream's index.

    Raises:
        ClipError: TOO_LARGE, TOO_LONG or DECODE_ERROR.
    """
    spans: dict[int, Span] = {}
    try:
        for packet in container.demux():
            if packet.size == 0 or packet.time_base is None:
                continue
            stamp = packet.dts if packet.pts is None else packet.pts
            begin = 0.0 if stamp is None else float(stamp * packet.time_base) - origin_s
            end = begin + float((packet.duration or 0) * packet.time_base)
            span = spans.setdefault(packet.stream.index, Span(0, begin, end))
            span.packets += 1
            span.begin_s, span.end_s = min(span.begin_s, begin), max(span.end_s, end)
            check_frames(span.packets, limits, name)
            check_duration(max(end, limits.min_duration_s), limits, name)
    except FFmpegError as error:
        raise ClipError(
            Reason.DECODE_ERROR,
            f"{name} cannot be read to its end: {error.strerror}; copy it again",
        ) from None
    return spans


def check_end(declared: float | None, end: float, family: str, what: str, name: str) -> None:
    """Refuse data that end earlier than the headers of the file promise.

    Args:
        declared: seconds after the origin; None where the file does not say.
        end: of the packets, likewise.
        family: of the container.
        what: that ends, for messages.
        name: of the file, for messages.

    Raises:
        ClipError: TRUNCATED.
    """
    if declared is not None and family in _DECLARING and end < declared - _TRUNCATION_S:
        raise ClipError(
            Reason.TRUNCATED,
            f"{name} promises {what} until {declared:.2f} s but its data end at {end:.2f} s; "
            "copy it again",
        )
