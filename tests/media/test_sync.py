"""Sound and picture stay together: flash against click over ten seconds, really decoded.

Truth is the file's own: a flash begins with an input frame whose time stamp is known, and a click
is heard at that instant. After resampling to 25 fps the flash may be half a frame away from it,
which is the least that any resampling can promise, and no more.
"""

from __future__ import annotations

import functools
import math
import struct
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import pytest

from dimitra.media.audio import encode_flac, read_audio
from dimitra.media.video import read_video
from tests.media.films import (
    KINDS,
    Kind,
    click_times,
    clicks,
    constant,
    events,
    film,
    flash_onsets,
    variable,
)

DURATION_S = 10.2
RATES = {
    "23.976": Fraction(24_000, 1001),
    "25": Fraction(25),
    "29.97": Fraction(30_000, 1001),
    "30": Fraction(30),
    "50": Fraction(50),
    "60": Fraction(60),
}
HALF_FRAME_S = 0.020
HEARD_S = 0.0001
"""How well the test tells when it hears a click."""
TICK_S = {"mp4": 0.0, "mov": 0.0, "mkv": 0.001, "webm": 0.001}
"""Unit of the container's time stamps, which the file itself rounds both streams to."""


def _times(rate: str) -> list[Fraction]:
    return variable(DURATION_S) if rate == "vfr" else constant(RATES[rate], DURATION_S)


@functools.cache
def _film(container: str, rate: str, video_late_s: float = 0.0, audio_late_s: float = 0.0) -> bytes:
    times = _times(rate)
    at = [time + Fraction(str(video_late_s)) for time in events(times)]
    length = DURATION_S + video_late_s - audio_late_s
    return film(
        KINDS[container],
        times,
        at,
        video_late_s=video_late_s,
        audio_late_s=audio_late_s,
        audio_s=length,
    )


def _check(
    data: bytes,
    expected: Sequence[Fraction],
    start_s: float = 0.0,
    end_s: float | None = None,
    tick_s: float = 0.0,
    sound: bytes | None = None,
) -> None:
    """Every event is seen, heard, and both within half a frame of each other.

    Args:
        data: the film.
        expected: the events that lie in the piece, after the file's origin.
        start_s: of the piece.
        end_s: likewise.
        tick_s: unit of the container's time stamps.
        sound: a file of its own.
    """
    brightness = read_video(data, start_s, end_s).mean(axis=(1, 2, 3))
    heard = click_times(read_audio(sound or data, start_s, end_s))
    seen = flash_onsets(brightness)
    truth = [float(instant) - start_s for instant in expected]
    assert len(seen) == len(heard) == len(truth) > 2
    assert np.abs(np.array(heard) - truth).max() < tick_s + HEARD_S
    apart = np.array(seen) / 25 - np.array(heard)
    assert np.abs(apart).max() <= HALF_FRAME_S + tick_s + HEARD_S
    if not tick_s:
        # Exactly: the first output frame whose middle has the lit input frame on display.
        begin = Fraction(str(start_s))
        assert seen == [math.ceil((one - begin) * 25 - Fraction(1, 2)) for one in expected]


@pytest.mark.parametrize("container", KINDS)
@pytest.mark.parametrize("rate", [*RATES, "vfr"])
def test_every_rate_in_every_container(container: str, rate: str) -> None:
    _check(_film(container, rate), events(_times(rate)), tick_s=TICK_S[container])


@pytest.mark.parametrize("rate", RATES)
def test_a_container_without_time_stamps(rate: str) -> None:
    """AVI counts frames and samples; its rate is constant."""
    kind = Kind("avi", "mpeg4", "pcm_s16le", 1 / RATES[rate])
    times = _times(rate)
    _check(film(kind, times, events(times)), events(times))


@pytest.mark.parametrize("container", KINDS)
@pytest.mark.parametrize("rate", ["29.97", "vfr"])
@pytest.mark.parametrize(("video_late_s", "audio_late_s"), [(0.48, 0.0), (0.0, 0.73), (7.3, 7.3)])
def test_streams_that_start_apart_or_late(
    container: str, rate: str, video_late_s: float, audio_late_s: float
) -> None:
    data = _film(container, rate, video_late_s, audio_late_s)
    start = min(video_late_s, audio_late_s)
    at = [
        time + Fraction(str(video_late_s)) - Fraction(str(start)) for time in events(_times(rate))
    ]
    if container == "mp4" and audio_late_s:
        # The muxer moves the start of sound ahead by the AAC encoder's run-in, 1,024 samples, and
        # rounds it to milliseconds; where both streams are late it becomes the file's origin.
        brightness = read_video(data).mean(axis=(1, 2, 3))
        heard = np.array(click_times(read_audio(data)))
        run_in = 1024 / 44_100 if start else 0.0
        assert np.abs(heard - [float(one) + run_in for one in at]).max() < 0.001 + HEARD_S
        apart = np.array(flash_onsets(brightness)) / 25 - heard
        assert np.abs(apart).max() <= HALF_FRAME_S + 0.001 + HEARD_S
        return
    _check(data, at, tick_s=TICK_S[container])


@pytest.mark.parametrize("container", ["mp4", "mkv", "webm"])
@pytest.mark.parametrize("rate", ["23.976", "vfr"])
@pytest.mark.parametrize(("start_s", "end_s"), [(1.6, None), (2.013, 7.7), (0.02, 9.99)])
def test_pieces(container: str, rate: str, start_s: float, end_s: float | None) -> None:
    inside = [
        time
        for time in events(_times(rate))
        if start_s + 0.02 < time < (DURATION_S if end_s is None else end_s - 0.05)
    ]
    _check(_film(container, rate), inside, start_s, end_s, TICK_S[container])


@pytest.mark.parametrize("container", ["mp4", "webm"])
@pytest.mark.parametrize("audio_s", [8.0, 13.0])
def test_sound_shorter_and_longer_than_the_picture(container: str, audio_s: float) -> None:
    times = _times("29.97")
    at = [instant for instant in events(times) if instant < audio_s - 0.1]
    data = film(KINDS[container], times, at, audio_s=audio_s)
    _check(data, at, tick_s=TICK_S[container])
    assert len(read_audio(data)) / 16_000 == pytest.approx(audio_s, abs=0.001)
    assert len(read_video(data)) == round(DURATION_S * 25 - 1)


def _move_edit(data: bytes, track: int, later: Fraction) -> bytes:
    """Let a track of an mp4 begin ``later`` in its media, by its edit list."""
    at = -1
    for _ in range(track + 1):
        at = data.index(b"elst", at + 1)
    count, duration, media = struct.unpack_from(">IIi", data, at + 8)
    assert (data[at + 4], count) == (0, 1)
    base = {0: 90_000, 1: 44_100}[track]
    edited = bytearray(data)
    struct.pack_into(
        ">Ii", edited, at + 12, duration - round(later * 1000), media + round(later * base)
    )
    return bytes(edited)


@pytest.mark.parametrize("rate", ["29.97", "vfr"])
@pytest.mark.parametrize(("picture", "sound"), [(0.0, 0.4), (0.5, 0.5), (0.62, 0.3), (0.311, 0.62)])
def test_edit_lists_that_begin_between_two_frames(rate: str, picture: float, sound: float) -> None:
    """As cutting without encoding leaves them: streams that begin inside a group of pictures."""
    skipped = Fraction(str(picture)), Fraction(str(sound))
    at = events(_times(rate))
    edited = _move_edit(_move_edit(_film("mp4", rate), 0, skipped[0]), 1, skipped[1])
    seen = flash_onsets(read_video(edited).mean(axis=(1, 2, 3)))
    heard = np.array(click_times(read_audio(edited)))
    assert np.abs(heard - [float(one - skipped[1]) for one in at]).max() < HEARD_S
    assert seen == [math.ceil((one - skipped[0]) * 25 - Fraction(1, 2)) for one in at]


@pytest.mark.parametrize("start_s", [0.0, 2.9])
def test_a_piece_of_an_edited_film(start_s: float) -> None:
    skipped = Fraction("0.62")
    edited = _move_edit(_move_edit(_film("mp4", "23.976"), 0, skipped), 1, skipped)
    at = [one - skipped for one in events(_times("23.976"))]
    _check(edited, [one for one in at if one > start_s + 0.02], start_s)


@pytest.mark.parametrize("rate", ["23.976", "60", "vfr"])
def test_a_sound_file_of_its_own(rate: str) -> None:
    at = events(_times(rate))
    sound = encode_flac(clicks(at, DURATION_S, 16_000))
    _check(_film("mp4", rate), at, sound=sound)
    inside = [time for time in at if time > 3.4]
    _check(_film("mp4", rate), inside, 3.37, sound=sound)
