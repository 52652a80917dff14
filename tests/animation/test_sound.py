import io
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from dimitra.animation.errors import AnimationError
from dimitra.animation.settings import read_settings
from dimitra.animation.sound import Sound, read_sound
from dimitra.media.audio import read_audio
from dimitra.media.mp4 import encode_mp4
from tests.animation.toy import SAMPLE, wav
from tests.speech.signals import boats

LIMITS = read_settings(SAMPLE).limits


def aiff(samples: NDArray[np.floating[Any]]) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, 16_000, format="AIFF")
    return buffer.getvalue()


def read(source: bytes | Path, folder: Path) -> Sound:
    return read_sound(source, folder, LIMITS, lambda *_: None)


def encoded(kind: str, codec: str, rate: int = 44_100) -> bytes:
    """Half a minute of a voice and its echo on the other channel, in a container."""
    voice = np.tile(boats().samples, 3)
    both = np.stack([voice, 0.5 * np.roll(voice, 300)])
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=kind) as container:
        stream = container.add_stream(codec, rate=rate, layout="stereo")
        frame = av.AudioFrame.from_ndarray(both.astype(np.float32), format="fltp", layout="stereo")
        frame.sample_rate = 16_000
        for piece in av.AudioResampler(stream.format, "stereo", rate).resample(frame):
            container.mux(stream.encode(piece))
        container.mux(stream.encode(None))
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("kind", "codec", "rate"),
    [
        ("wav", "pcm_s16le", 44_100),
        ("wav", "pcm_s24le", 96_000),
        ("wav", "pcm_u8", 8_000),
        ("flac", "flac", 48_000),
        ("mp3", "libmp3lame", 44_100),
        ("mp4", "aac", 48_000),
        ("ogg", "libopus", 48_000),
        ("matroska", "pcm_f32le", 22_050),
        ("aiff", "pcm_s16be", 44_100),
        ("au", "pcm_s16be", 22_050),
        ("caf", "pcm_s16le", 48_000),
    ],
)
def test_any_format_gives_what_the_corpus_reader_gives(
    tmp_path: Path, kind: str, codec: str, rate: int
) -> None:
    data = encoded(kind, codec, rate)
    sound = read(data, tmp_path)
    whole = read_audio(data, limits=LIMITS)
    kept = min(len(whole), len(sound.samples))
    assert abs(len(whole) - kept) <= 320
    assert np.array_equal(sound.samples[:kept], whole[:kept])
    assert not sound.samples[kept:].any()
    assert len(sound.samples) == 640 * sound.frames
    assert len(sound.playback) == pytest.approx(3 * len(whole), abs=3)


def test_every_extension_of_these_containers_is_read(tmp_path: Path) -> None:
    for suffix, kind in (
        ("aif", "AIFF"),
        ("aifc", "AIFF"),
        ("au", "AU"),
        ("snd", "AU"),
        ("caf", "CAF"),
    ):
        file = tmp_path / f"speech.{suffix}"
        soundfile.write(file, boats().samples, 16_000, format=kind, subtype="PCM_16")
        assert np.allclose(
            read(file, tmp_path).samples[:16_000], boats().samples[:16_000], atol=1e-3
        )


def test_a_video_gives_its_sound(tmp_path: Path) -> None:
    frames = [np.zeros((64, 64, 3), np.uint8)] * 77
    data = encode_mp4(frames, audio=boats().samples)
    assert np.array_equal(read(data, tmp_path).samples, read_audio(data)[: 77 * 640])


def test_ninety_six_kilohertz_in_stereo(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    both = 0.1 * rng.normal(size=(96_000, 2))
    sound = read(wav(both, 96_000, "PCM_24"), tmp_path)
    assert (sound.frames, len(sound.playback)) == (25, 48_000)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (wav(np.zeros(16_000)), r"is silent: its level \(RMS\) is 0.0e\+00 of full scale, need at"),
        (
            wav(np.stack([boats().samples, -boats().samples], axis=1)),
            r"is silent.*channels of a stereo recording do not cancel each other",
        ),
        (wav(0.1 * np.ones(480)), "lasts 30 ms, need at least 200; give a recording with at least"),
        (wav(np.full(16_000, np.nan), kind="FLOAT"), "holds samples that are no numbers"),
        (b"", "has no bytes"),
        (b"what a day it was" * 10, "is no media file"),
        (wav(boats().samples)[:30_000], r"declares \d+ bytes but has 30000; copy it again"),
        (aiff(boats().samples)[:30_000], r"declares \d+ bytes but has 30000; copy it again"),
        (encode_mp4([np.zeros((64, 64, 3), np.uint8)] * 25), "has no sound; give a recording"),
    ],
)
def test_what_cannot_be_heard(tmp_path: Path, data: bytes, message: str) -> None:
    file = tmp_path / "speech.wav"
    file.write_bytes(data)
    for start, suffix in ((data[4:8] == b"ftyp", "mp4"), (data[:4] == b"FORM", "aiff")):
        if start:
            file = file.rename(tmp_path / f"speech.{suffix}")
    with pytest.raises(AnimationError, match=rf"speech\.\w+ {message}"):
        read(file, tmp_path)


@pytest.mark.parametrize(("place", "name"), [(".", "."), ("/", "/"), ("/tmp", "tmp")])  # noqa: S108
def test_a_folder_is_no_recording(tmp_path: Path, place: str, name: str) -> None:
    with pytest.raises(AnimationError, match=rf"^{re.escape(name)} is a folder, not a file"):
        read(Path(place), tmp_path)


def test_a_recording_over_the_limit(tmp_path: Path) -> None:
    short = replace(LIMITS, max_duration_s=2.0)
    with pytest.raises(AnimationError, match=r"limits.max_duration_s is 2"):
        read_sound(wav(boats().samples), tmp_path, short, lambda *_: None)


def test_an_hour_is_read_piece_by_piece(tmp_path: Path) -> None:
    file = tmp_path / "hour.flac"
    minute = np.tile(boats().samples, 20)[: 60 * 16_000]
    with soundfile.SoundFile(file, "w", 16_000, 1, format="FLAC") as writer:
        for _ in range(60):
            writer.write(minute)
    done: list[float] = []
    sound = read_sound(file, tmp_path, LIMITS, lambda now, _: done.append(now))
    assert sound.frames == 90_000
    assert isinstance(sound.samples, np.memmap)
    assert np.allclose(sound.samples[-960_000:], minute, atol=1e-4)
    assert done == sorted(done)
    assert done[-1] == 3600.0
