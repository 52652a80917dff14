"""VoxCeleb2's face boxes, ``txt/<identity>/<video>/<clip>.txt``: read, and checked against the frame.

The boxes belong to the frames of the original recording, which the release does not hold: its mp4
files are cut out of them already. They are therefore no crop, but evidence: a box that cannot have
been in the picture tells of a damaged file, or of one that belongs to another release.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from dimitra.clips import ClipError, Reason
from dimitra.datasets.listing import BadFile, Listing, bad_file_id
from dimitra.media.source import open_regular

FOLDER = "txt"
_COLUMNS = ["FRAME", "X", "Y", "W", "H"]
_MAX_BYTES = 16_000_000
_MAX_HEADER_LINES = 20


class FaceBox(NamedTuple):
    """A face in one frame: left, top, width and height in shares of the frame's sides."""

    frame: int
    x: float
    y: float
    w: float
    h: float


@dataclass(frozen=True)
class FaceBoxes:
    """Content of one file.

    Attributes:
        header: name to value of the lines above the table (``Identity``, ``Reference``,
            ``Offset``, ``FV Conf``, ``ASD Conf``), as they stand.
        boxes: one a frame; frames count at 25 fps from the start of the original recording.
    """

    header: dict[str, str]
    boxes: tuple[FaceBox, ...]


def refusal(x: float, y: float, w: float, h: float) -> str | None:
    """Why a box, in shares of the frame's sides, cannot be that of a face; None if it can.

    A face at the border may reach beyond it; its middle may not. A box has a size, and no side
    twice as long as the frame's.
    """
    if not all(map(math.isfinite, (x, y, w, h))):
        return "is not of finite numbers"
    if w <= 0.0 or h <= 0.0:
        return f"has no size (width {w:g}, height {h:g})"
    if w > 2.0 or h > 2.0:
        return f"has more than twice the frame's size (width {w:g}, height {h:g}): pixels?"
    middle_x, middle_y = x + w / 2, y + h / 2
    if not (0.0 <= middle_x <= 1.0 and 0.0 <= middle_y <= 1.0):
        return f"lies outside the frame (its middle is at {middle_x:.3f}, {middle_y:.3f})"
    return None


def _row(line: str, place: str) -> FaceBox:
    words = line.split()
    try:
        number, (x, y, w, h) = int(words[0]), map(float, words[1:])
    except (ValueError, IndexError):
        raise _bad(f"{place}: {line.strip()[:80]!r} is not of the form FRAME X Y W H") from None
    why = refusal(x, y, w, h)
    if why is not None:
        raise _bad(
            f"{place}: the face box X={x:g} Y={y:g} W={w:g} H={h:g} of frame {number} {why}; "
            "VoxCeleb2 gives them in shares of the frame, 0 to 1"
        )
    return FaceBox(number, x, y, w, h)


def _bad(message: str) -> ClipError:
    return ClipError(Reason.BAD_ANNOTATION, f"{message}. Copy the file again, or remove it")


def parse(text: str, name: str) -> FaceBoxes:
    """Read the content of one file.

    Args:
        text: header lines ``Name : value``, then a table of FRAME X Y W H, tab-separated.
        name: how messages call the file.

    Raises:
        ClipError: BAD_ANNOTATION, naming the line and its values.
    """
    lines = text.splitlines()
    heads = (n for n, line in enumerate(lines[:_MAX_HEADER_LINES]) if line.split() == _COLUMNS)
    begin = next(heads, None)
    if begin is None:
        raise _bad(f"{name} has no line FRAME X Y W H")
    header = {}
    for line in lines[:begin]:
        key, separator, value = line.partition(":")
        if separator:
            header[key.strip()] = value.strip()
    boxes: list[FaceBox] = []
    for number, line in enumerate(lines[begin + 1 :], start=begin + 2):
        if not line.strip():
            continue
        box = _row(line, f"{name}:{number}")
        if boxes and box.frame <= boxes[-1].frame:
            raise _bad(f"{name}:{number}: frame {box.frame} follows frame {boxes[-1].frame}")
        boxes.append(box)
    if not boxes:
        raise _bad(f"{name} has no box")
    return FaceBoxes(header, tuple(boxes))


def read_boxes(path: Path, name: str) -> FaceBoxes:
    """Read one file.

    Raises:
        ClipError: BAD_ANNOTATION.
    """
    try:
        with open_regular(path, name) as file:
            data = file.read(_MAX_BYTES + 1)
        text = data.decode("utf-8-sig")
    except ClipError as error:
        raise _bad(error.message) from None
    except UnicodeDecodeError as error:
        raise _bad(f"{name} is not UTF-8: {error.reason}") from None
    if len(data) > _MAX_BYTES:
        raise _bad(f"{name} has more than {_MAX_BYTES} bytes")
    return parse(text, name)


def check_boxes(root: Path, dataset: str, found: Listing) -> tuple[Listing, int]:
    """Set the clips aside whose file of boxes cannot be right.

    Args:
        root: the dataset's folder.
        dataset: its name.
        found: what it holds; paths of clips begin with ``mp4/``.

    Returns:
        the listing with these clips among its bad files, and the number of files read.
    """
    if not (root / FOLDER).is_dir():
        return found, 0
    clips, bad, count = [], list(found.bad), 0
    for clip in found.clips:
        below = PurePosixPath(*PurePosixPath(clip.path).parts[1:])
        name = f"{FOLDER}/{below.with_suffix('.txt')}"
        if not os.path.lexists(root / name):
            clips.append(clip)
            continue
        count += 1
        try:
            read_boxes(root / name, name)
        except ClipError as error:
            identifier = bad_file_id(dataset, below)
            bad.append(BadFile(identifier, clip.path, error.reason, error.message))
        else:
            clips.append(clip)
    ordered = tuple(sorted(bad, key=lambda file: file.clip_id))
    return replace(found, clips=tuple(clips), bad=ordered), count
