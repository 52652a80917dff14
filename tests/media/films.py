"""Films whose flashes and clicks happen at known instants, in many containers and rates."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction

import av
import numpy as np
from numpy.typing import NDArray

SIZE = 64
LIT_S = 0.16
"""How long a flash lasts."""
BURST_S = 0.012
"""Width of a click."""
TONE_HZ = 1500.0

Picture = Callable[[bool], NDArray[np.uint8]]


@dataclass(frozen=True)
class Kind:
    """A container with its codecs, and the unit of its video's time stamps."""

    container: str
    video: str
    audio: str
    base: Fraction
    rate_hz: int = 48_000
    options: tuple[tuple[str, str], ...] = ()


KINDS = {
    "mp4": Kind("mp4", "libx264", "aac", Fraction(1, 90_000), 44_100, (("bf", "3"),)),
    "mov": Kind("mov", "libx264", "pcm_s16le", Fraction(1, 90_000)),
    "mkv": Kind("matroska", "libx264", "aac", Fraction(1, 1000), 44_100, (("bf", "3"),)),
    "webm": Kind("webm", "libvpx", "libopus", Fraction(1, 1000)),
}


def constant(rate: Fraction, duration_s: float) -> list[Fraction]:
    """When the frames of a constant rate appear."""
    return [index / rate for index in range(int(duration_s * rate))]


def variable(duration_s: float, seed: int = 5) -> list[Fraction]:
    """Whole milliseconds, 12 to 90 apart, as phones and screen recorders write them."""
    steps = np.random.default_rng(seed).integers(12, 90, int(duration_s * 90))
    times = np.concatenate([[0], np.cumsum(steps)])
    return [Fraction(int(time), 1000) for time in times if time < duration_s * 1000]


def events(times: Sequence[Fraction], count: int = 9) -> list[Fraction]:
    """Instants, spread over the film, at which one of its frames appears."""
    last = float(times[-1])
    aims = np.linspace(0.9, last - 0.8, count)
    return [min(times, key=lambda time: abs(float(time) - aim)) for aim in aims]


def plain(lit: bool) -> NDArray[np.uint8]:
    return np.full((SIZE, SIZE, 3), 235 if lit else 20, np.uint8)


def clicks(at: Sequence[Fraction], duration_s: float, rate_hz: int) -> NDArray[np.float32]:
    """Tone bursts whose envelopes are centred on the instants, and a quiet hum beneath."""
    time = np.arange(round(duration_s * rate_hz)) / rate_hz
    sound = 0.002 * np.sin(2 * np.pi * 120 * time)
    for instant in at:
        away = time - float(instant)
        sound += (
            0.8 * np.exp(-0.5 * (away / (BURST_S / 2)) ** 2) * np.cos(2 * np.pi * TONE_HZ * away)
        )
    return sound.astype(np.float32)


def film(
    kind: Kind,
    times: Sequence[Fraction],
    at: Sequence[Fraction],
    *,
    video_late_s: float = 0.0,
    audio_late_s: float = 0.0,
    audio_s: float | None = None,
    picture: Picture = plain,
) -> bytes:
    """Flash and click together at the instants ``at``, of the clock that both streams share.

    Args:
        kind: container and codecs.
        times: when the frames appear, before ``video_late_s`` is added.
        at: on that same clock: a frame of ``times`` plus ``video_late_s`` each.
        video_late_s: the video's first time stamp.
        audio_late_s: the sound's first time stamp.
        audio_s: length of the sound; by default it ends with the video.
        picture: of a lit and of a dark frame.
    """
    late, quiet = Fraction(video_late_s).limit_denominator(1000), audio_late_s
    last = float(times[-1] + late) + float(times[-1] - times[-2])
    lit = [any(0 <= time + late - one < LIT_S for one in at) for time in times]
    pictures = {flag: picture(flag) for flag in (False, True)}
    height, width = pictures[False].shape[:2]
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=kind.container) as file:
        rate = Fraction(len(times) - 1) / (times[-1] - times[0])
        video = file.add_stream(kind.video, rate=rate.limit_denominator(1001))
        video.options = {"crf": "14", "b": "2M", **dict(kind.options)}
        video.width, video.height, video.pix_fmt = width, height, "yuv420p"
        video.codec_context.time_base = kind.base
        video.codec_context.thread_count = 1
        sound = file.add_stream(kind.audio, rate=kind.rate_hz, layout="mono")
        for time, flag in zip(times, lit, strict=True):
            frame = av.VideoFrame.from_ndarray(pictures[flag], format="rgb24")
            frame.time_base, frame.pts = kind.base, round((time + late) / kind.base)
            file.mux(video.encode(frame))
        file.mux(video.encode(None))
        length = last - quiet if audio_s is None else audio_s
        samples = clicks([one - Fraction(quiet) for one in at], length, kind.rate_hz)
        shape = sound.codec_context.format.name
        block = sound.codec_context.frame_size or 960
        for begin in range(0, len(samples), block):
            part = samples[None, begin : begin + block]
            if "s16" in shape:
                part = np.rint(part * 32_767).astype(np.int16)
            piece = av.AudioFrame.from_ndarray(
                np.ascontiguousarray(part), format=shape, layout="mono"
            )
            piece.sample_rate, piece.time_base = kind.rate_hz, Fraction(1, kind.rate_hz)
            piece.pts = begin + round(quiet * kind.rate_hz)
            file.mux(sound.encode(piece))
        file.mux(sound.encode(None))
    return buffer.getvalue()


def flash_onsets(brightness: NDArray[np.floating]) -> list[int]:
    """Frames in which the picture turns bright."""
    middle = (brightness.min() + brightness.max()) / 2
    bright = brightness > middle
    return [int(index) for index in np.flatnonzero(bright[1:] & ~bright[:-1]) + 1]


def click_times(samples: NDArray[np.float32], rate_hz: int = 16_000) -> list[float]:
    """Centres of the clicks' energy, seconds."""
    power = np.convolve(samples.astype(np.float64) ** 2, np.ones(16), "same")
    loud = power > 0.1 * power.max()
    edges = np.flatnonzero(np.diff(np.concatenate([[0], loud, [0]])))
    starts, ends = edges[::2], edges[1::2]
    groups: list[list[int]] = []
    for start, end in zip(starts, ends, strict=True):
        if groups and start - groups[-1][1] < 0.05 * rate_hz:
            groups[-1][1] = end
        else:
            groups.append([start, end])
    pad = round(0.012 * rate_hz)
    centres = []
    for start, end in groups:
        low, high = max(0, start - pad), min(len(samples), end + pad)
        energy = samples[low:high].astype(np.float64) ** 2
        centres.append(float((np.arange(low, high) * energy).sum() / energy.sum()) / rate_hz)
    return centres
