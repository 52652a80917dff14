"""Videos as raters get them: checked, copied under names that tell nothing, and the frozen one."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np

from dimitra.clips import ClipError, Reason
from dimitra.media.audio import SAMPLE_RATE_HZ, read_audio
from dimitra.media.container import MediaInfo, inspect
from dimitra.media.limits import MediaLimits
from dimitra.media.mp4 import Mp4Writer
from dimitra.media.video import FPS, iterate_frames, to_rgb

LIMITS = MediaLimits(min_duration_s=0.1, max_duration_s=300.0, max_bytes=500_000_000)
"""What a person can be asked to watch, and a browser to load."""
CODECS = frozenset(("h264", "vp8", "vp9", "av1"))
"""That browsers play without a licence question; MPEG-4 part 2 and H.265 are not among them."""


def check_video(path: Path) -> MediaInfo:
    """Whether a browser will play a file to its end.

    Raises:
        ClipError: damaged, over ``LIMITS``, or of a codec that browsers do not play.
    """
    info = inspect(path, LIMITS, audio=False)
    if info.video_codec not in CODECS:
        raise ClipError(
            Reason.REFUSED_MEDIA,
            f"{path.name} is {info.video_codec}, which browsers do not all play; convert it: "
            f"ffmpeg -i {path.name} -c:v libx264 -pix_fmt yuv420p -c:a aac new.mp4",
        )
    return info


def copy_video(source: Path, place: Path) -> None:
    """The same bytes, without the source's name, times and permissions."""
    shutil.copyfile(source, place)
    hide_times(place)


def hide_times(place: Path) -> None:
    """A time that is the same for all: ``Last-Modified`` would tell which were copied together."""
    os.utime(place, (0, 0))


def freeze(source: Path, place: Path) -> None:
    """Write a video's first frame, held as long as it lasts, with its own sound.

    Raises:
        ClipError: the source cannot be decoded.
    """
    count = 0
    first = None
    for frame in iterate_frames(source, limits=LIMITS):
        first = to_rgb(frame) if first is None else first
        count += 1
    if first is None:
        raise ClipError(Reason.TOO_SHORT, f"{source.name} has no frame")
    height, width = (size - size % 2 for size in first.shape[:2])
    picture = np.ascontiguousarray(first[:height, :width])
    sound = None
    if inspect(source, LIMITS, audio=False).audio_codec is not None:
        sound = read_audio(source, limits=LIMITS)[: count * SAMPLE_RATE_HZ // FPS]
    with (
        place.open("w+b") as file,
        Mp4Writer(
            file, width, height, FPS, None if sound is None else SAMPLE_RATE_HZ, crf=16
        ) as film,
    ):
        for _ in range(count):
            film.picture(picture)
        film.finish_picture()
        if sound is not None:
            film.sound(sound)
    hide_times(place)
