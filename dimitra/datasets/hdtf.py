"""The layout of HDTF: ``videos/<name>_<index>.mp4``, and lists of what was cut from which video.

``*_annotion_time.txt`` (the data set's own spelling) gives the intervals of every video, one line
each: ``<name>.mp4 MM:SS-MM:SS ...``. The clips cut from them are numbered in that order. A clip
that a list promises and that is not there is reported. ``transcripts/<name>_<index>.txt`` holds
the words, where there are any.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from dimitra.clips import ClipError, Reason
from dimitra.datasets.listing import (
    BadFile,
    LayoutError,
    Listing,
    SourceClip,
    bad_file_id,
    clip_id_of,
    found_below,
    listing,
    shown,
)
from dimitra.media.source import open_regular

_CLIP = re.compile(r"^(?P<name>.+)_(?P<index>\d+)\.mp4$", re.IGNORECASE)
_POLITICIAN = re.compile(r"^((?:[A-Z]+_)?(?:WDA|WRA)_.*?\D)\d+$")
_LIST = "_annotion_time.txt"
_MAX_TRANSCRIPT_BYTES = 1_000_000


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
        LayoutError: a list is no text, or a line is not of the form
            ``<name>.mp4 MM:SS-MM:SS ...``.
    """
    for path in sorted(root.glob(f"*{_LIST}")):
        try:
            with open_regular(path, path.name) as file:
                lines = file.read().decode("utf-8").splitlines()
        except ClipError as error:
            raise LayoutError(f"{path}: {error.message}") from None
        except UnicodeDecodeError as error:
            raise LayoutError(f"{path} is not UTF-8: {error}") from None
        for number, line in enumerate(lines, start=1):
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
    """Words of a clip; None where there are none.

    Raises:
        ClipError: BAD_TRANSCRIPT.
    """
    file = root / "transcripts" / path.with_suffix(".txt")
    if not os.path.lexists(file):
        return None
    name = f"transcripts/{file.name}"
    try:
        with open_regular(file, name) as opened:
            data = opened.read(_MAX_TRANSCRIPT_BYTES + 1)
        text = data.decode("utf-8")
    except ClipError as error:
        raise ClipError(Reason.BAD_TRANSCRIPT, error.message) from None
    except UnicodeDecodeError as error:
        raise ClipError(Reason.BAD_TRANSCRIPT, f"{name} is not UTF-8: {error.reason}") from None
    if len(data) > _MAX_TRANSCRIPT_BYTES:
        raise ClipError(
            Reason.BAD_TRANSCRIPT, f"{name} has more than {_MAX_TRANSCRIPT_BYTES} bytes"
        )
    return " ".join(text.split()) or None


def read(root: Path, dataset: str, *, outside_links: bool = False) -> Listing:
    """List an HDTF folder.

    Args:
        root: folder that holds ``videos/``, the lists and perhaps ``transcripts/``.
        dataset: its name, which begins every clip id.
        outside_links: accept links to files outside of ``root``.

    Raises:
        LayoutError: there is no ``videos/`` below ``root``, or a list is ill formed.
    """
    clips: list[SourceClip] = []
    bad: list[BadFile] = []
    listed: set[tuple[str, int]] = set()
    for found in found_below(root, "videos", outside_links=outside_links):
        path, match = found.path, _CLIP.match(found.path.name)
        formed = match is not None and len(path.parts) == 1
        if found.folder and not formed:
            continue
        if match is not None and formed:
            listed.add((match["name"], int(match["index"])))
        reason, message, transcript = found.reason, found.message, None
        if reason is None and not formed:
            reason = Reason.WRONG_EXTENSION
            message = f"videos/{shown(path)} is not of the form videos/<name>_<index>.mp4"
        if reason is None:
            try:
                transcript = _transcript(root, path)
            except ClipError as error:
                reason, message = error.reason, error.message
        if match is not None and reason is None:
            clips.append(
                SourceClip(
                    clip_id=clip_id_of(dataset, path),
                    identity=identity_of(match["name"]),
                    source_video=match["name"],
                    path=f"videos/{path}",
                    transcript=transcript,
                )
            )
        elif reason is not None:
            bad.append(BadFile(bad_file_id(dataset, path), f"videos/{path}", reason, message))
    for source, video, index in _promised(root):
        prefixed = f"{source.removesuffix(_LIST)}_{video}"
        if not {(video, index), (prefixed, index)} & listed:
            missing = PurePosixPath(f"{video}_{index}.mp4")
            message = f"{source} promises videos/{missing}, which is not there"
            name = bad_file_id(dataset, missing)
            bad.append(BadFile(name, f"videos/{missing}", Reason.MISSING_FILE, message))
    return listing(dataset, clips, bad)
