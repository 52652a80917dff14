"""Films and sounds, good and odd ones, made with the encoders at hand."""

from __future__ import annotations

import functools
import io
import tempfile
from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray
from skimage import data

from dimitra.media.mp4 import encode_mp4

Picture = NDArray[np.uint8]

RATE = 16_000
X264 = {"preset": "ultrafast", "x264-params": "threads=1"}


def hum(seconds: float, level: float = 0.2) -> NDArray[np.float32]:
    return (level * np.sin(np.arange(round(seconds * RATE)) * 0.06)).astype(np.float32)


def portrait(frames: int = 30) -> list[Picture]:
    """A real face that moves a little."""
    photo = data.astronaut()
    phase = np.linspace(0, 2 * np.pi, frames)
    places = np.stack([60 + 14 * np.sin(phase), 6 + 5 * np.cos(2 * phase)], 1).round().astype(int)
    return [np.ascontiguousarray(photo[y : y + 300, x : x + 320]) for x, y in places]


def wall(frames: int = 30, grey: int = 90, size: tuple[int, int] = (300, 320)) -> list[Picture]:
    return [np.full((*size, 3), grey, np.uint8)] * frames


def noise(frames: int, size: tuple[int, int] = (64, 96), seed: int = 0) -> list[Picture]:
    random = np.random.default_rng(seed)
    return [random.integers(0, 256, (*size, 3), dtype=np.uint8) for _ in range(frames)]


def talk(frames: Sequence[Picture], sound: NDArray[np.float32] | None = None) -> bytes:
    """An mp4 as datasets have them; by default with a hum of the same length."""
    return encode_mp4(frames, audio=hum(len(frames) / 25) if sound is None else sound, crf=15)


@functools.cache
def good() -> bytes:
    return talk(portrait())


@functools.cache
def small() -> bytes:
    """A valid clip of 2 s without a face, quick to make and large enough to be cut."""
    return talk(noise(50))


def film(
    pictures: Iterable[Picture],
    codec: str = "libx264",
    container: str = "mp4",
    fps: int | Fraction = 25,
    times: Sequence[int] | None = None,
    pixels: str = "yuv420p",
    options: dict[str, str] | None = None,
    muxer: dict[str, str] | None = None,
    aspect: Fraction | None = None,
    sound: NDArray[np.float32] | None = None,
    sound_codec: str = "aac",
    sound_rate: int = RATE,
    layout: str = "mono",
    sound_format: str = "fltp",
    extra: Callable[[av.container.OutputContainer], None] | None = None,
) -> bytes:
    """A film with every knob that a test turns.

    Args:
        times: presentation times in milliseconds; by default one frame every ``1 / fps`` s.
        sound: ``[N]`` samples in -1..1, the same for all channels.
        extra: adds a stream of its own.
    """
    pictures = list(pictures)
    # The muxer opens a file a second time to move its index to the front.
    with (
        tempfile.NamedTemporaryFile() as file,
        av.open(file.name, "w", format=container, options=muxer or {}) as out,
    ):
        stream = None
        if pictures:
            stream = out.add_stream(codec, rate=fps, options=X264 if options is None else options)
            stream.height, stream.width = pictures[0].shape[:2]
            stream.pix_fmt = pixels
            stream.codec_context.thread_count = 1
            if aspect is not None:
                stream.codec_context.sample_aspect_ratio = aspect
            stream.codec_context.time_base = Fraction(1, 1000) if times else 1 / Fraction(fps)
        track = None
        if sound is not None:
            track = out.add_stream(sound_codec, rate=sound_rate, layout=layout)
            track.codec_context.format = sound_format
        if extra is not None:
            extra(out)
        for index, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts = index if times is None else times[index]
            frame.time_base = stream.codec_context.time_base
            out.mux(stream.encode(frame))
        if stream is not None:
            out.mux(stream.encode(None))
        if track is not None:
            _add_sound(out, track, sound, sound_rate, layout, sound_format)
        out.close()
        return Path(file.name).read_bytes()


def _add_sound(out, track, sound, rate, layout, sample_format) -> None:  # type: ignore[no-untyped-def]
    channels = av.AudioLayout(layout).nb_channels
    for begin in range(0, len(sound), 1024):
        block = sound[begin : begin + 1024]
        if sample_format.startswith("s16"):
            block = (block * 32767).astype(np.int16)
        planar = np.repeat(block[None], channels, axis=0)
        samples = planar if sample_format.endswith("p") else planar.T.reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(samples), format=sample_format, layout=layout
        )
        frame.sample_rate, frame.pts, frame.time_base = rate, begin, Fraction(1, rate)
        out.mux(track.encode(frame))
    out.mux(track.encode(None))


def joined(first: Sequence[Picture], second: Sequence[Picture]) -> bytes:
    """One H.264 stream whose frame size changes in the middle, with a hum."""
    inline = {"preset": "ultrafast", "x264-params": "threads=1:repeat-headers=1:annexb=1:bframes=0"}
    packets = []
    for pictures in (first, second):
        height, width = pictures[0].shape[:2]
        coder = av.CodecContext.create("libx264", "w")
        coder.width, coder.height, coder.pix_fmt = width, height, "yuv420p"
        coder.time_base, coder.framerate = Fraction(1, 25), Fraction(25)
        coder.options, coder.thread_count = inline, 1
        for picture in pictures:
            packets += coder.encode(av.VideoFrame.from_ndarray(picture, format="rgb24"))
        packets += coder.encode(None)
    raw = b"".join(bytes(packet) for packet in packets)
    buffer = io.BytesIO()
    with (
        av.open(io.BytesIO(raw), format="h264") as source,
        av.open(buffer, "w", format="mp4") as out,
    ):
        stream = out.add_stream_from_template(source.streams.video[0])
        track = out.add_stream("aac", rate=RATE, layout="mono")
        index = 0
        for packet in source.demux(source.streams.video[0]):
            if not packet.size:
                continue
            packet.stream, packet.time_base = stream, Fraction(1, 25)
            packet.pts = packet.dts = index
            packet.duration = 1
            index += 1
            out.mux(packet)
        _add_sound(out, track, hum(index / 25), RATE, "mono", "fltp")
    return buffer.getvalue()


def sound_file(container: str, codec: str, seconds: float = 2.0, **knobs: object) -> bytes:
    return film([], container=container, sound=hum(seconds), sound_codec=codec, **knobs)  # type: ignore[arg-type]


def picture_file(container: str, codec: str, frames: int, pixels: str) -> bytes:
    """A GIF, PNG, APNG or the like."""
    return film(
        noise(frames, (48, 48)), codec=codec, container=container, pixels=pixels, options={}
    )
