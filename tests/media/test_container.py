from __future__ import annotations

import io
import os
import struct
import zlib
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile

from dimitra.clips import ClipError, Reason
from dimitra.media.audio import encode_flac, read_audio
from dimitra.media.container import (
    MediaLimits,
    duration_s,
    frame_count,
    inspect,
    open_media,
    probe,
)
from dimitra.media.mp4 import encode_mp4
from dimitra.media.video import read_video
from tests.faults.films import film, hum, noise

FRAMES = 40


def _clip(seconds: float = FRAMES / 25, sound: bool = True) -> bytes:
    count = round(seconds * 25)
    ramp = np.arange(64 * 96 * 3).reshape(64, 96, 3) % 251
    frames = [((ramp + 5 * i) % 256).astype(np.uint8) for i in range(count)]
    tone = 0.3 * np.sin(np.arange(count * 640) * 0.05).astype(np.float32)
    return encode_mp4(frames, audio=tone if sound else None)


def _png() -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        crc = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", crc)

    header = struct.pack(">IIBBBBB", 8, 8, 8, 2, 0, 0, 0)
    rows = zlib.compress(b"".join(b"\0" + bytes(24) for _ in range(8)))
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    )


def _wav() -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, np.zeros(16_000), 16_000, format="WAV")
    return buffer.getvalue()


def _mp3() -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, 0.1 * np.sin(np.arange(32_000) * 0.1), 16_000, format="MP3")
    return buffer.getvalue()


def _matroska() -> bytes:
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="matroska") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        for _ in range(50):
            image = np.zeros((64, 64, 3), np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
    return buffer.getvalue()


GOOD = _clip()
BAD = {
    "empty.mp4": (b"", Reason.EMPTY_FILE),
    "noise.mp4": (np.random.default_rng(1).bytes(50_000), Reason.NOT_MEDIA),
    "zeros.mp4": (bytes(50_000), Reason.NOT_MEDIA),
    "page.mp4": (b"\n<!DOCTYPE html><html><body>Not found</body></html>" * 9, Reason.NOT_MEDIA),
    "letter.mp4": (b"Dear reader, this is no video at all.\n" * 40, Reason.NOT_MEDIA),
    "half.mp4": (GOOD[: len(GOOD) // 2], Reason.TRUNCATED),
    "head.mp4": (GOOD[:40], Reason.TRUNCATED),
    "still.mp4": (_png(), Reason.WRONG_EXTENSION),
    "song.mp4": (_mp3(), Reason.WRONG_EXTENSION),
    "speech.mp4": (_wav(), Reason.WRONG_EXTENSION),
    "speech.mp3": (_wav(), Reason.WRONG_EXTENSION),
    "film.avi": (GOOD, Reason.WRONG_EXTENSION),
    "matroska.mp4": (_matroska(), Reason.WRONG_EXTENSION),
    "list.mp4": (b"#EXTM3U\n#EXTINF:10,\nfile:///etc/hostname\n", Reason.REFUSED_MEDIA),
    "list.m3u8": (b"#EXTM3U\n#EXTINF:10,\nhttp://localhost/a.ts\n", Reason.REFUSED_MEDIA),
    "list.txt": (b"ffconcat version 1.0\nfile /etc/hostname\n", Reason.REFUSED_MEDIA),
    "call.sdp": (b"v=0\no=- 0 0 IN IP4 127.0.0.1\n", Reason.REFUSED_MEDIA),
    "speech.flac": (encode_flac(np.zeros(32_000, np.float32)), Reason.NO_VIDEO),
    "silent.mp4": (_clip(sound=False), Reason.NO_AUDIO),
    "blink.mp4": (_clip(0.2), Reason.TOO_SHORT),
    "lecture.mp4": (_clip(6.0), Reason.TOO_LONG),
}


@pytest.mark.parametrize("name", BAD)
def test_every_bad_file_has_its_reason_and_is_named(tmp_path: Path, name: str) -> None:
    content, reason = BAD[name]
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ClipError) as caught:
        probe(path, MediaLimits(min_duration_s=1.0, max_duration_s=5.0))
    assert caught.value.reason is reason, caught.value.message
    assert name in caught.value.message


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ClipError, match="gone.mp4") as caught:
        probe(tmp_path / "gone.mp4")
    assert caught.value.reason is Reason.MISSING_FILE


@pytest.mark.parametrize(
    "limits",
    [
        MediaLimits(max_bytes=len(GOOD) - 1),
        MediaLimits(max_pixels=64 * 96 - 1),
        MediaLimits(max_side=95),
        MediaLimits(max_frames=FRAMES - 1),
    ],
)
def test_sizes_over_the_limit_are_refused_before_decoding(limits: MediaLimits) -> None:
    for reader in (probe, lambda data, limits: read_video(data, limits=limits)):
        with pytest.raises(ClipError) as caught:
            reader(GOOD, limits)
        assert caught.value.reason is Reason.TOO_LARGE


def test_a_file_longer_than_it_says_stops_at_the_limit() -> None:
    limits = MediaLimits(max_duration_s=1.0)
    for reader in (read_video, read_audio):
        with pytest.raises(ClipError) as caught:
            reader(GOOD, limits=limits)
        assert caught.value.reason is Reason.TOO_LONG


def test_probe_agrees_with_what_was_encoded() -> None:
    info = probe(GOOD)
    assert (info.container, info.video_codec, info.audio_codec) == ("mov", "h264", "aac")
    assert (info.width, info.height, info.fps) == (96, 64, 25.0)
    assert (info.sample_rate_hz, info.channels) == (16_000, 1)
    assert info.duration_s == pytest.approx(FRAMES / 25, abs=1e-3)


def test_streams_that_are_not_asked_for_are_not_required() -> None:
    assert probe(_clip(sound=False), audio=False).audio_codec is None
    flac = encode_flac(np.zeros(32_000, np.float32))
    assert probe(flac, video=False).duration_s == pytest.approx(2.0)


def test_a_cut_file_with_its_index_first_is_found_by_its_box_sizes(tmp_path: Path) -> None:
    path = tmp_path / "fast.mp4"
    with av.open(str(path), "w", options={"movflags": "faststart"}) as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        noise = np.random.default_rng(0)
        for _ in range(50):
            image = noise.integers(0, 256, (64, 96, 3), dtype=np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
    probe(path, audio=False)
    path.write_bytes(path.read_bytes()[:-20_000])
    with pytest.raises(ClipError) as caught:
        probe(path, audio=False)
    assert caught.value.reason is Reason.TRUNCATED


def test_no_protocol_is_open_to_a_container() -> None:
    with open_media(GOOD) as container:
        assert container.options["protocol_whitelist"] == "none"


@pytest.mark.parametrize(
    ("duration", "count"), [(8.0, 200), (7.99, 200), (7.97, 199), (0.0, 0), (0.04, 1)]
)
def test_frame_count_counts_centres(duration: float, count: int) -> None:
    centres = [(i + 0.5) / 25 for i in range(300)]
    assert frame_count(duration, 25) == count == sum(c < duration for c in centres)


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        (MediaLimits(max_streams=1), Reason.TOO_MANY_STREAMS),
        (MediaLimits(max_fps=24.9), Reason.BAD_FRAME_RATE),
        (MediaLimits(min_fps=25.1), Reason.BAD_FRAME_RATE),
        (MediaLimits(max_sample_rate_hz=15_999), Reason.BAD_SOUND),
        (MediaLimits(min_sample_rate_hz=16_001), Reason.BAD_SOUND),
        (MediaLimits(max_channels=0), Reason.BAD_SOUND),
    ],
)
def test_every_limit_has_its_code(limits: MediaLimits, reason: Reason) -> None:
    for reader in (probe, inspect):
        with pytest.raises(ClipError) as caught:
            reader(GOOD, limits)
        assert caught.value.reason is reason


def test_limits_are_the_last_value_that_passes() -> None:
    exact = MediaLimits(
        min_duration_s=1.6,
        max_duration_s=1.664,  # AAC's last block
        max_pixels=64 * 96,
        max_side=96,
        max_bytes=len(GOOD),
        min_fps=25.0,
        max_fps=25.0,
        max_frames=FRAMES,
        max_streams=2,
        min_sample_rate_hz=16_000,
        max_sample_rate_hz=16_000,
        max_channels=1,
    )
    assert inspect(GOOD, exact) == inspect(GOOD) == probe(GOOD, exact)
    assert len(read_video(GOOD, limits=exact)) == FRAMES


def test_a_pipe_and_a_folder_are_no_files(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")
    (tmp_path / "folder.mp4").mkdir()
    (tmp_path / "link.mp4").symlink_to("pipe.mp4")
    for name in ("pipe.mp4", "folder.mp4", "link.mp4"):
        with pytest.raises(ClipError, match=name) as caught:
            probe(tmp_path / name)
        assert caught.value.reason is Reason.NOT_A_FILE


def test_a_film_without_a_declared_duration_is_measured() -> None:
    pictures = [np.full((64, 96, 3), 5 * i, np.uint8) for i in range(50)]
    live = film(pictures, container="matroska", sound=hum(2.0), muxer={"live": "1"})
    with open_media(live) as container:
        assert duration_s(container) == 0
    for reader in (probe, inspect):
        assert reader(live).duration_s == pytest.approx(2.0, abs=0.1)
        with pytest.raises(ClipError) as caught:
            reader(live, MediaLimits(max_duration_s=1.5))
        assert caught.value.reason is Reason.TOO_LONG


def test_a_matroska_film_that_is_cut_is_found_by_its_packets() -> None:
    whole = film(noise(50), container="matroska", sound=hum(2.0))
    assert probe(whole[: len(whole) // 2]).duration_s == pytest.approx(2.0, abs=0.1)
    with pytest.raises(ClipError, match="promises") as caught:
        inspect(whole[: len(whole) // 2])
    assert caught.value.reason is Reason.TRUNCATED


def test_an_attachment_is_a_stream_like_others() -> None:
    def attach(out: av.container.OutputContainer) -> None:
        for number in range(20):
            out.add_attachment(f"font{number}.ttf", "application/x-truetype-font", b"font" * 9)

    data = film(noise(30), container="matroska", sound=hum(1.2), extra=attach)
    with pytest.raises(ClipError, match="22 streams") as caught:
        inspect(data)
    assert caught.value.reason is Reason.TOO_MANY_STREAMS
    inspect(data, MediaLimits(max_streams=22))


def test_tags_that_are_no_utf_8_do_no_harm() -> None:
    data = GOOD.replace(b"SoundHandler", b"S\xe9\xff\x80dHandler")
    assert data != GOOD
    assert inspect(data) == inspect(GOOD)


def test_a_frame_that_the_decoder_marks_as_damaged_is_refused() -> None:
    data = bytearray(GOOD)
    at = data.index(b"mdat")
    middle = (at + int.from_bytes(data[at - 4 : at], "big")) // 2
    assert len(read_video(bytes(data))) == FRAMES
    data[middle : middle + 300] = bytes(300)
    with pytest.raises(ClipError) as caught:
        read_video(bytes(data))
    assert caught.value.reason is Reason.DECODE_ERROR
