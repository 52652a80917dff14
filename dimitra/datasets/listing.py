"""What a dataset's layout says before a file is opened: clips, and files that cannot be."""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from dimitra.clips import CLIP_ID_PATTERN, Reason, check_clip_id

_CLIP_SUFFIXES = frozenset((".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".m4a"))
_OTHER = re.compile(r"[^a-z0-9_-]")
_MAX_LENGTH = 128
_MAX_DEPTH = 64


class LayoutError(ValueError):
    """A dataset's folder does not have the layout that it is said to have."""


@dataclass(frozen=True)
class SourceClip:
    """A clip as its dataset's layout describes it.

    Attributes:
        clip_id: see ``clip_id_of``.
        identity: who speaks.
        source_video: the recording that the clip was cut from.
        path: the video file, relative to the dataset's folder.
        audio_path: a separate sound file, or None.
        transcript: the dataset's own text, or None.
        start_s: start of the clip in the file, seconds.
        end_s: its end, seconds; None for the end of the file.
    """

    clip_id: str
    identity: str
    source_video: str
    path: str
    audio_path: str | None = None
    transcript: str | None = None
    start_s: float = 0.0
    end_s: float | None = None


@dataclass(frozen=True)
class BadFile:
    """A file, or a promised file, that cannot be a clip.

    Attributes:
        clip_id: see ``bad_file_id``.
        path: relative to the dataset's folder.
        reason: the code of its row.
        message: for a person.
        present: there is something of that name; False where it is only promised.
    """

    clip_id: str
    path: str
    reason: Reason
    message: str
    present: bool = True


@dataclass(frozen=True)
class Listing:
    """Everything that a dataset's folder holds.

    Attributes:
        clips: sorted by clip id.
        bad: files that cannot be clips, sorted by clip id.
        others: number of files that the layout does not take for clips at all (notes, pictures).
    """

    clips: tuple[SourceClip, ...]
    bad: tuple[BadFile, ...]
    others: int = 0


def clip_id_of(dataset: str, path: PurePosixPath) -> str:
    """Clip id of a file: ``<dataset>-<path without extension>``, ``/`` as ``-``, lower case.

    Characters that shard keys cannot carry become ``_``; an id longer than 128 characters ends in
    a digest of the path.
    """
    text = "-".join((dataset, *path.with_suffix("").parts)).lower()
    text = _OTHER.sub("_", text)
    if len(text) > _MAX_LENGTH:
        text = f"{text[: _MAX_LENGTH - 17]}-{_digest(path)}"
    return check_clip_id(text) if CLIP_ID_PATTERN.match(text) else check_clip_id(f"x{text}")


def bad_file_id(dataset: str, path: PurePosixPath) -> str:
    """Id of a file that is no clip; differs from the id of every clip."""
    name = clip_id_of(dataset, path)[: _MAX_LENGTH - 17]
    return f"{name}-{_digest(path)}"


def _digest(path: PurePosixPath) -> str:
    """Of any name: one that is no UTF-8 reaches Python as lone surrogates."""
    return hashlib.sha256(str(path).encode("utf-8", "surrogatepass")).hexdigest()[:16]


def shown(path: PurePosixPath | str) -> str:
    """A path as messages write it: whatever is no UTF-8, or not printable, is escaped."""
    text = str(path).encode("utf-8", "backslashreplace").decode("utf-8")
    return text if text.isprintable() else ascii(text)[1:-1]


@dataclass(frozen=True)
class Found:
    """An entry of a dataset's folder.

    Attributes:
        path: relative to the folder that was listed.
        folder: it is a folder, with a name like that of a clip.
        reason: why it cannot be a clip; None for a file.
        message: likewise, for a person.
    """

    path: PurePosixPath
    folder: bool = False
    reason: Reason | None = None
    message: str = ""


def found_below(root: Path, name: str, *, outside_links: bool = False) -> list[Found]:
    """Everything below ``<root>/<name>`` that is, or is named like, a file; sorted by path.

    Folders are walked; those whose name is like that of a clip are among the result, and so are
    links whose target is gone, pipes and other special files: nothing is passed over in silence.
    Hidden files and folders alone are left out. Links to folders are not followed.

    Args:
        root: the dataset's folder.
        name: folder in it; ``.`` for itself.
        outside_links: accept links to files outside of ``root``.

    Raises:
        LayoutError: there is no such folder.
    """
    if not (root / name).is_dir():
        raise LayoutError(
            f"{root / name} is not a folder; is the dataset there, and its layout right?"
        )
    home = None if outside_links else root.resolve()
    found = _walk(root / name, PurePosixPath(), name, home)
    return sorted(found, key=lambda entry: entry.path)


def place(name: str, path: PurePosixPath) -> str:
    """Path of an entry relative to the dataset's folder, from that below ``name``."""
    return str(PurePosixPath(name) / path)


def _walk(folder: Path, below: PurePosixPath, name: str, home: Path | None) -> Iterator[Found]:
    try:
        with os.scandir(folder) as listed:
            entries = sorted(listed, key=lambda entry: entry.name)
    except PermissionError:
        message = f"{shown(place(name, below))} is a folder that may not be listed by this user"
        yield Found(below, reason=Reason.UNREADABLE, message=message)
        return
    for entry in entries:
        if entry.name.startswith("."):
            continue
        path = below / entry.name
        if entry.is_dir(follow_symlinks=False):
            if len(path.parts) > _MAX_DEPTH:
                message = f"{shown(place(name, path))} lies more than {_MAX_DEPTH} folders deep"
                yield Found(path, reason=Reason.NOT_A_FILE, message=message)
                continue
            yield from _walk(folder / entry.name, path, name, home)
            if path.suffix.lower() not in _CLIP_SUFFIXES:
                continue
            message = f"{shown(place(name, path))} is a folder"
            yield Found(path, True, Reason.NOT_A_FILE, message)
            continue
        yield _judge(entry, path, name, home)


def _judge(entry: os.DirEntry[str], path: PurePosixPath, name: str, home: Path | None) -> Found:
    """Whether an entry that is no folder can be a clip."""
    text = shown(place(name, path))
    if shown(path) != str(path) and not _is_utf8(path):
        return Found(path, False, Reason.BAD_NAME, f"the name {text} is not UTF-8; rename it")
    if entry.is_symlink():
        reason, message = _judge_target(Path(entry.path), text, home)
        return Found(path, False, reason, message)
    if entry.is_file(follow_symlinks=False):
        return Found(path)
    return Found(path, False, Reason.NOT_A_FILE, f"{text} is a pipe, socket or device")


def _is_utf8(path: PurePosixPath) -> bool:
    try:
        str(path).encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _judge_target(link: Path, text: str, home: Path | None) -> tuple[Reason | None, str]:
    try:
        target = link.resolve(strict=True)
        mode = target.stat().st_mode
    except PermissionError:
        return Reason.UNREADABLE, f"the target of the link {text} may not be read by this user"
    except (FileNotFoundError, NotADirectoryError, RuntimeError):
        return Reason.MISSING_FILE, f"{text} is a link whose target is gone, or a circle of links"
    if home is not None and not target.is_relative_to(home):
        return Reason.OUTSIDE_LINK, (
            f"{text} is a link that leads out of the dataset's folder; copy the file, or set "
            "outside_links of the dataset"
        )
    if not stat.S_ISREG(mode):
        return Reason.NOT_A_FILE, f"{text} is a link to a folder or to what is no file"
    return None, ""


def listing(
    dataset: str, clips: Iterable[SourceClip], bad: Sequence[BadFile], others: int = 0
) -> Listing:
    """Sort a dataset's clips, and set those aside whose id another one already has."""
    kept: dict[str, SourceClip] = {}
    refused = list(bad)
    for clip in sorted(clips, key=lambda clip: (clip.clip_id, clip.path)):
        first = kept.setdefault(clip.clip_id, clip)
        if first is not clip:
            refused.append(
                BadFile(
                    bad_file_id(dataset, PurePosixPath(clip.path)),
                    clip.path,
                    Reason.DUPLICATE_ID,
                    f"{shown(clip.path)} has the clip id {clip.clip_id} of {shown(first.path)}; "
                    "rename one",
                )
            )
    ordered = tuple(sorted(refused, key=lambda file: file.clip_id))
    return Listing(tuple(kept.values()), ordered, others)
