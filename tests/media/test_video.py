from __future__ import annotations

import hashlib
import io
from fractions import Fraction

import av
import decord
import numpy as np
import pytest
from numpy.typing import NDArray

from dimitra.clips import ClipError, Reason
from dimitra.media.audio import read_audio
from dimitra.media.mp4 import encode_mp4
from dimitra.media.video import iterate_frames, read_video, scaler, to_rgb

SIZE = 64
FLASH_S = (1.0, 2.2, 3.0)
RATE = 44_100


def _times(kind: str, duration: float = 4.0) -> list[Fraction]:
    if kind == "vfr":
        rng = np.random.default_rng(3)
        milliseconds = np.cumsum(rng.integers(15, 70, 400))
        steady = [Fraction(int(m), 1000) for m in milliseconds if m < duration * 1000]
        flashes = [Fraction(round(1000 * s), 1000) for s in FLASH_S]
        return sorted({Fraction(0), *steady, *flashes})
    rate = {"25": Fraction(25), "30": Fraction(30), "29.97": Fraction(30000, 1001)}[kind]
    return [index / rate for index in range(int(duration * rate))]


def _flash_and_click(kind: str, offset_s: float = 0.0, container: str = "mp4") -> bytes:
    """White for 0.2 s from each flash on, and a click at the same instants."""
    buffer = io.BytesIO()
    base = Fraction(1, 90_000)
    with av.open(buffer, "w", format=container) as file:
        video = file.add_stream("libx264", rate=30, options={"crf": "10"})
        video.width = video.height = SIZE
        video.pix_fmt = "yuv420p"
        video.codec_context.time_base = base
        sound = file.add_stream("aac", rate=RATE, layout="mono")
        for time in _times(kind):
            lit = any(flash <= float(time) + 1e-9 < flash + 0.2 for flash in FLASH_S)
            image = np.full((SIZE, SIZE, 3), 255 if lit else 0, np.uint8)
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.time_base = base
            frame.pts = round((float(time) + offset_s) / base)
            file.mux(video.encode(frame))
        file.mux(video.encode(None))
        samples = np.zeros(RATE * 4, np.float32)
        for flash in FLASH_S:
            begin = round(flash * RATE)
            samples[begin : begin + 200] = 0.9 * (-1.0) ** (np.arange(200) // 10)
        for begin in range(0, len(samples), 1024):
            block = av.AudioFrame.from_ndarray(
                samples[None, begin : begin + 1024], format="fltp", layout="mono"
            )
            block.sample_rate = RATE
            block.time_base = Fraction(1, RATE)
            block.pts = begin + round(offset_s * RATE)
            file.mux(sound.encode(block))
        file.mux(sound.encode(None))
    return buffer.getvalue()


def _onsets(level: NDArray[np.float64], rate: float) -> list[float]:
    loud = level > 0.5 * level.max()
    rises = np.flatnonzero(loud[1:] & ~loud[:-1]) + 1
    apart = [int(r) for i, r in enumerate(rises) if i == 0 or r - rises[i - 1] > 0.3 * rate]
    return [r / rate for r in apart]


@pytest.mark.parametrize("kind", ["25", "30", "29.97", "vfr"])
@pytest.mark.parametrize(("offset_s", "container"), [(0.0, "mp4"), (7.3, "matroska")])
@pytest.mark.parametrize("start_s", [0.0, 1.6])
def test_flash_and_click_stay_together(
    kind: str, offset_s: float, container: str, start_s: float
) -> None:
    data = _flash_and_click(kind, offset_s, container)
    brightness = read_video(data, start_s).mean(axis=(1, 2, 3))
    envelope = np.abs(read_audio(data, start_s)).astype(np.float64)
    flashes, clicks = _onsets(brightness, 25), _onsets(envelope, 16_000)
    expected = [flash - start_s for flash in FLASH_S if flash > start_s]
    # The stored frame may itself come up to one input frame late at 29.97 fps.
    late = 0.034 if kind == "29.97" else 0.0
    assert clicks == pytest.approx(expected, abs=0.004)
    assert len(flashes) == len(expected)
    for flash, true in zip(flashes, expected, strict=True):
        assert -0.0201 <= flash - true <= 0.0201 + late


@pytest.mark.parametrize("kind", ["25", "30", "29.97", "vfr"])
def test_duration_is_kept(kind: str) -> None:
    assert len(read_video(_flash_and_click(kind))) == pytest.approx(100, abs=1)


def _film(count: int = 30, height: int = 48, width: int = 80) -> NDArray[np.uint8]:
    y, x = np.mgrid[:height, :width]
    frames = [
        np.stack([x * 2 + t, y * 3 + 2 * t, 128 + 0 * x], axis=-1) % 256 for t in range(count)
    ]
    return np.stack(frames).astype(np.uint8)


def test_encoding_twice_gives_equal_bytes_without_versions_or_times() -> None:
    tone = 0.2 * np.sin(np.arange(30 * 640) * 0.07).astype(np.float32)
    first, second = (
        encode_mp4(_film(), audio=tone, metadata={"comment": "generated"}) for _ in range(2)
    )
    assert hashlib.sha256(first).digest() == hashlib.sha256(second).digest()
    assert b"Lavf" not in first
    assert b"Lavc" not in first
    with av.open(io.BytesIO(first)) as container:
        assert container.metadata["comment"] == "generated"
        assert "creation_time" not in container.metadata


def test_x264_obeys_the_parameters_that_make_bytes_independent_of_the_machine() -> None:
    av.logging.set_level(av.logging.WARNING)
    try:
        with av.logging.Capture(local=False) as messages:
            data = encode_mp4(_film())
    finally:
        av.logging.set_level(None)
    assert not [text for _, _, text in messages if "option" in text]
    assert b" threads=1 " in data[data.index(b"x264 - core") :][:1200]


def test_reading_agrees_with_decord(tmp_path: object) -> None:
    data = encode_mp4(_film(), crf=1)
    ours = read_video(data)
    theirs = decord.VideoReader(io.BytesIO(data)).get_batch(range(30)).asnumpy()
    assert ours.shape == theirs.shape == (30, 48, 80, 3)
    assert np.abs(ours.astype(int) - theirs.astype(int)).mean() < 1.5


def test_encoding_keeps_the_picture() -> None:
    y, x = np.mgrid[:64, :64]
    picture = np.stack([2 * x + 60, 2 * y + 60, 128 + 0 * x], axis=-1).astype(np.uint8)
    again = read_video(encode_mp4([picture] * 10, crf=5))
    assert np.abs(again.astype(int) - picture).mean() < 1.5


def test_frames_that_were_decoded_encode_as_if_they_were_fresh() -> None:
    data = encode_mp4(_film(), preset="veryfast")
    again = encode_mp4(iterate_frames(data))
    with av.open(io.BytesIO(again)) as container:
        keys = sum(packet.is_keyframe for packet in container.demux(video=0))
    assert keys == 1
    assert read_video(again).shape == (30, 48, 80, 3)


def test_a_piece_is_the_same_as_the_piece_of_the_whole() -> None:
    data = encode_mp4(_film(75))
    assert np.array_equal(read_video(data, 1.0, 2.0), read_video(data)[25:50])


def test_a_rotated_video_comes_upright() -> None:
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as file:
        stream = file.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        stream.set_display_rotation(90)
        image = np.zeros((64, 96, 3), np.uint8)
        image[:, :48] = 255
        for index in range(10):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, 25)
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    data = buffer.getvalue()
    with av.open(io.BytesIO(data)) as file:
        rotation = next(file.decode(video=0)).rotation
    frames = read_video(data)
    assert frames.shape == (10, 96, 64, 3)
    upright = np.rot90(image, rotation // 90)
    assert np.abs(frames[5].astype(int) - upright).mean() < 3


def test_damage_inside_a_file_is_an_error_of_the_clip() -> None:
    data = bytearray(encode_mp4(_film(100, 96, 96), crf=10))
    at = data.index(b"mdat")
    data[at + 4000 : at + 60_000] = bytes(56_000)
    try:
        frames = read_video(bytes(data))
    except ClipError as error:
        assert error.reason in (Reason.DECODE_ERROR, Reason.TRUNCATED)  # noqa: PT017
    else:
        assert len(frames) == 100


def test_wrong_input_to_the_encoder_is_named() -> None:
    with pytest.raises(ValueError, match="no frames"):
        encode_mp4([])
    with pytest.raises(ValueError, match="even sizes"):
        encode_mp4([np.zeros((33, 32, 3), np.uint8)])
    with pytest.raises(ValueError, match="frame 1"):
        encode_mp4([np.zeros((32, 32, 3), np.uint8), np.zeros((32, 64, 3), np.uint8)])


def test_an_empty_interval_is_refused() -> None:
    with pytest.raises(ValueError, match="start_s"):
        read_video(encode_mp4(_film()), 1.0, 1.0)


def test_a_crop_filter_takes_the_pixels_it_says() -> None:
    frame = next(iterate_frames(encode_mp4(_film(), crf=0)))
    cut = scaler(frame, "crop=32:16:8:4")(frame)
    assert np.abs(to_rgb(cut).astype(int) - to_rgb(frame)[4:20, 8:40].astype(int)).max() <= 12
