"""Bounds on untrusted media: how large, long, fast and many-streamed a file may be."""

from __future__ import annotations

from dataclasses import dataclass

from dimitra.clips import ClipError, Reason


@dataclass(frozen=True)
class MediaLimits:
    """Bounds on what is opened and decoded.

    Attributes:
        min_duration_s: shortest clip, seconds.
        max_duration_s: longest file, seconds.
        max_pixels: largest frame, width times height.
        max_side: largest width and largest height of a frame.
        max_bytes: largest file.
        min_fps: lowest average frame rate.
        max_fps: highest average frame rate.
        max_frames: most frames or packets in one stream of a file.
        max_streams: most streams in a file, of any kind.
        min_sample_rate_hz: lowest sample rate of sound.
        max_sample_rate_hz: highest sample rate of sound.
        max_channels: most channels of sound.
    """

    min_duration_s: float = 0.0
    max_duration_s: float = 7200.0
    max_pixels: int = 7680 * 4320
    max_side: int = 8192
    max_bytes: int = 4_000_000_000
    min_fps: float = 1.0
    max_fps: float = 240.0
    max_frames: int = 1_000_000
    max_streams: int = 16
    min_sample_rate_hz: int = 4_000
    max_sample_rate_hz: int = 192_000
    max_channels: int = 16


DEFAULT_LIMITS = MediaLimits()


def check_pixels(width: int, height: int, limits: MediaLimits, name: str) -> None:
    """Refuse frames that are empty or larger than the limits.

    Args:
        width: pixels.
        height: pixels.
        limits: ``max_side`` and ``max_pixels`` count.
        name: of the file, for messages.

    Raises:
        ClipError: NO_VIDEO or TOO_LARGE.
    """
    if width < 1 or height < 1:
        raise ClipError(Reason.NO_VIDEO, f"{name} declares a frame size of {width}x{height}")
    if max(width, height) > limits.max_side:
        raise ClipError(
            Reason.TOO_LARGE,
            f"{name} has frames of {width}x{height}, limits.max_side is {limits.max_side} pixels",
        )
    if width * height > limits.max_pixels:
        raise ClipError(
            Reason.TOO_LARGE,
            f"{name} has frames of {width}x{height} = {width * height} pixels, "
            f"limits.max_pixels is {limits.max_pixels}",
        )


def check_frame_rate(fps: float, limits: MediaLimits, name: str) -> None:
    """Refuse an average frame rate outside of the limits.

    Raises:
        ClipError: BAD_FRAME_RATE.
    """
    if not limits.min_fps <= fps <= limits.max_fps:
        raise ClipError(
            Reason.BAD_FRAME_RATE,
            f"{name} has {fps:.6g} frames a second, limits.min_fps is {limits.min_fps:g} and "
            f"limits.max_fps {limits.max_fps:g}",
        )


def check_sound(sample_rate_hz: int, channels: int, limits: MediaLimits, name: str) -> None:
    """Refuse sound with an impossible sample rate or too many channels.

    Raises:
        ClipError: BAD_SOUND.
    """
    if not limits.min_sample_rate_hz <= sample_rate_hz <= limits.max_sample_rate_hz:
        raise ClipError(
            Reason.BAD_SOUND,
            f"{name} declares a sample rate of {sample_rate_hz} Hz, limits.min_sample_rate_hz is "
            f"{limits.min_sample_rate_hz} and limits.max_sample_rate_hz "
            f"{limits.max_sample_rate_hz}",
        )
    if not 1 <= channels <= limits.max_channels:
        raise ClipError(
            Reason.BAD_SOUND,
            f"{name} has {channels} channels of sound, limits.max_channels is "
            f"{limits.max_channels}",
        )


def check_duration(duration_s: float, limits: MediaLimits, name: str) -> None:
    """Refuse what is shorter or longer than the limits.

    Raises:
        ClipError: TOO_SHORT or TOO_LONG.
    """
    if duration_s < limits.min_duration_s:
        raise ClipError(
            Reason.TOO_SHORT,
            f"{name} lasts {duration_s:.3f} s, limits.min_duration_s is {limits.min_duration_s}",
        )
    if duration_s > limits.max_duration_s:
        raise ClipError(
            Reason.TOO_LONG,
            f"{name} lasts {duration_s:.3f} s, limits.max_duration_s is {limits.max_duration_s}",
        )


def check_streams(count: int, limits: MediaLimits, name: str) -> None:
    """Refuse a file with more streams than the limit.

    Raises:
        ClipError: TOO_MANY_STREAMS.
    """
    if count > limits.max_streams:
        raise ClipError(
            Reason.TOO_MANY_STREAMS,
            f"{name} has {count} streams or more, limits.max_streams is {limits.max_streams}; "
            "keep one of picture and one of sound",
        )


def check_frames(count: int, limits: MediaLimits, name: str) -> None:
    """Refuse a stream with more frames than the limit.

    Raises:
        ClipError: TOO_LARGE.
    """
    if count > limits.max_frames:
        raise ClipError(
            Reason.TOO_LARGE,
            f"{name} has a stream of {count} frames or more, limits.max_frames is "
            f"{limits.max_frames}",
        )
