"""The layout of HDTF: ``videos/<name>_<index>.mp4``, and lists of what was cut from which video.

``*_annotion_time.txt`` (the data set's own spelling) gives the intervals of every video, one line
each: ``<name>.mp4 MM:SS-MM:SS ...``. The clips cut from them are numbered in that order. A clip
that a list promises and that is not there is reported. ``transcripts/<name>_<index>.txt`` holds
the words, where there are any.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from dimitra.clips import Reason
from dimitra.datasets.listing import (
    BadFile,
    LayoutError,
    Listing,
    SourceClip,
    bad_file_id,
    clip_id_of,
    files_below,
    listing,
)

_CLIP = re.compile(r"^(?P<name>.+)_(?P<index>\d+)\.mp4$", re.IGNORECASE)
_POLITICIAN = re.compile(r"^((?:[A-Z]+_)?(?:WDA|WRA)_.*?\D)\d+$")
_LIST = "_annotion_time.txt"


def identity_of(name: str) -> str:
    """Who speaks in a video: its name.

    The WDA and WRA parts number several videos of one politician (``WRA_JohnDoe0``); there the
    number is dropped. In RD (``RD_Radio10``) every number is another person.
    """
    match = _POLITICIAN.match(name)
    return match.group(1) if match else name


def _promised(root: Path) -> Iterator[tuple[str, str, int]]:
    """(list, video, index) of every interval that the lists of the dataset name.

    Raises:
        LayoutError: a line is not of the form ``<name>.mp4 MM:SS-MM:SS ...``.
    """
    for path in sorted(root.glob(f"*{_LIST}")):
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            words = line.split()
            if not words:
                continue
            if len(words) == 1 or not all(":" in word and "-" in word for word in words[1:]):
                raise LayoutError(
                    f"{path}:{number}: {line!r} is not of the form <name>.mp4 MM:SS-MM:SS ..."
                )
            name = words[0].removesuffix(".mp4")
            yield from ((path.name, name, index) for index in range(len(words) - 1))


def _transcript(root: Path, path: PurePosixPath) -> str | None:
    file = root / "transcripts" / path.with_suffix(".txt")
    if not file.is_file():
        return None
    return " ".join(file.read_text(encoding="utf-8").split()) or None


def read(root: Path, dataset: str) -> Listing:
    """List an HDTF folder.

    Args:
        root: folder that holds ``videos/``, the lists and perhaps ``transcripts/``.
        dataset: its name, which begins every clip id.

    Raises:
        LayoutError: there is no ``videos/`` below ``root``, or a list is ill formed.
    """
    clips: list[SourceClip] = []
    bad: list[BadFile] = []
    found: set[tuple[str, int]] = set()
    for path in files_below(root / "videos"):
        match = _CLIP.match(path.name)
        if match is None or len(path.parts) != 1:
            message = f"videos/{path} is not of the form videos/<name>_<index>.mp4"
            name = bad_file_id(dataset, path)
            bad.append(BadFile(name, f"videos/{path}", Reason.WRONG_EXTENSION, message))
            continue
        video = match["name"]
        found.add((video, int(match["index"])))
        clips.append(
            SourceClip(
                clip_id=clip_id_of(dataset, path),
                identity=identity_of(video),
                source_video=video,
                path=f"videos/{path}",
                transcript=_transcript(root, path),
            )
        )
    for source, video, index in _promised(root):
        prefixed = f"{source.removesuffix(_LIST)}_{video}"
        if not {(video, index), (prefixed, index)} & found:
            missing = PurePosixPath(f"{video}_{index}.mp4")
            message = f"{source} promises videos/{missing}, which is not there"
            name = bad_file_id(dataset, missing)
            bad.append(BadFile(name, f"videos/{missing}", Reason.MISSING_FILE, message))
    return listing(dataset, clips, bad)
