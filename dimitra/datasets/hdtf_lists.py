"""HDTF's public lists: which intervals of which videos are clips, and where the videos are.

``*_annotion_time.txt`` (the dataset's own spelling): ``<name>.mp4 MM:SS-MM:SS ...``, one video a
line; its clips are numbered in the order of the intervals. ``*_video_url.txt``: ``<name> <url>``.
The three parts RD, WDA and WRA are the files' prefixes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from dimitra.datasets.listing import LayoutError
from dimitra.datasets.text_lists import read_text

TIMES = "_annotion_time.txt"
URLS = "_video_url.txt"
PARTS = ("RD", "WDA", "WRA")
_INTERVAL = re.compile(r"(?:(\d+):)?(\d+):(\d\d)-(?:(\d+):)?(\d+):(\d\d)")
_POLITICIAN = re.compile(r"^((?:[A-Z]+_)?(?:WDA|WRA)_.*?\D)\d+$")


@dataclass(frozen=True)
class AnnotatedVideo:
    """A video of the lists.

    Attributes:
        part: prefix of its list: ``RD``, ``WDA``, ``WRA``, or that of a user's own.
        name: as in the list, without extension.
        intervals: start and end of each clip, whole seconds.
        source: name of the list.
    """

    part: str
    name: str
    intervals: tuple[tuple[int, int], ...]
    source: str

    @property
    def key(self) -> str:
        """Name that is unique over all parts; HDTF's downloaders call their files so."""
        return f"{self.part}_{self.name}" if self.part in PARTS else self.name


def identity_of(name: str) -> str:
    """Who speaks in a video: its name.

    The WDA and WRA parts number several videos of one politician (``WRA_JohnDoe0``); there the
    number is dropped. In RD (``RD_Radio10``) every number is another person.
    """
    match = _POLITICIAN.match(name)
    return match.group(1) if match else name


def _seconds(hours: str | None, minutes: str, seconds: str) -> int:
    return int(hours or 0) * 3600 + int(minutes) * 60 + int(seconds)


def _interval(word: str, place: str) -> tuple[int, int]:
    found = _INTERVAL.fullmatch(word)
    if found is None:
        raise LayoutError(f"{place}: {word!r} is not of the form MM:SS-MM:SS")
    begin, end = _seconds(*found.group(1, 2, 3)), _seconds(*found.group(4, 5, 6))
    if end <= begin or int(found[3]) > 59 or int(found[6]) > 59:
        raise LayoutError(f"{place}: the interval {word} does not end after its start")
    return begin, end


def read_annotations(root: Path) -> dict[str, AnnotatedVideo]:
    """Videos that the lists of a folder name, by ``AnnotatedVideo.key``; empty without a list.

    Intervals of one video may overlap: those of ``WRA_MittRomney`` do in the public list.

    Raises:
        LayoutError: a list is no text, a line is not of the form ``<name>.mp4 MM:SS-MM:SS ...``,
            or a video is named twice.
    """
    videos: dict[str, AnnotatedVideo] = {}
    for path in sorted(root.glob(f"*{TIMES}")):
        for number, line in enumerate(read_text(path).splitlines(), start=1):
            words = line.split()
            if not words:
                continue
            place = f"{path}:{number}"
            if len(words) == 1:
                raise LayoutError(
                    f"{place}: {line!r} is not of the form <name>.mp4 MM:SS-MM:SS ..."
                )
            video = AnnotatedVideo(
                path.name.removesuffix(TIMES),
                words[0].removesuffix(".mp4"),
                tuple(_interval(word, place) for word in words[1:]),
                path.name,
            )
            if video.key in videos:
                raise LayoutError(f"{place}: {video.name} is named a second time")
            videos[video.key] = video
    return videos


def read_urls(root: Path) -> dict[str, str]:
    """Addresses of the videos, by the same key as ``read_annotations``.

    Raises:
        LayoutError: a list is no text, or a line is not of the form ``<name> <url>``.
    """
    urls = {}
    for path in sorted(root.glob(f"*{URLS}")):
        part = path.name.removesuffix(URLS)
        for number, line in enumerate(read_text(path).splitlines(), start=1):
            words = line.split()
            if not words:
                continue
            if len(words) != 2 or "://" not in words[1]:
                raise LayoutError(f"{path}:{number}: {line!r} is not of the form <name> <url>")
            video = AnnotatedVideo(part, words[0].removesuffix(".mp4"), (), path.name)
            urls[video.key] = words[1]
    return urls


def of_file(stem: str, videos: dict[str, AnnotatedVideo]) -> AnnotatedVideo | None:
    """Video of the lists whose name a file has, with or without its part before it."""
    if stem in videos:
        return videos[stem]
    return next((videos[key] for part in PARTS if (key := f"{part}_{stem}") in videos), None)
