"""What a dataset's layout says before a file is opened: clips, and files that cannot be."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from dimitra.clips import CLIP_ID_PATTERN, Reason, check_clip_id

_OTHER = re.compile(r"[^a-z0-9_-]")
_MAX_LENGTH = 128


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
    """A file, or a promised file, that cannot be a clip."""

    clip_id: str
    path: str
    reason: Reason
    message: str


@dataclass(frozen=True)
class Listing:
    """Everything that a dataset's folder holds; both parts sorted by clip id."""

    clips: tuple[SourceClip, ...]
    bad: tuple[BadFile, ...]


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


def files_below(folder: Path) -> list[PurePosixPath]:
    """Files and links below a folder, relative to it, sorted; hidden ones are left out.

    A link whose target is gone is among them, so that it is counted as missing.

    Raises:
        LayoutError: there is no such folder.
    """
    if not folder.is_dir():
        raise LayoutError(f"{folder} is not a folder; is the dataset there, and its layout right?")
    found = (
        PurePosixPath(path.relative_to(folder).as_posix())
        for path in folder.rglob("*")
        if path.is_file() or path.is_symlink()
    )
    return sorted(path for path in found if not any(part.startswith(".") for part in path.parts))


def listing(dataset: str, clips: Iterable[SourceClip], bad: Sequence[BadFile]) -> Listing:
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
                    f"{clip.path} has the clip id {clip.clip_id} of {first.path}; rename one",
                )
            )
    return Listing(tuple(kept.values()), tuple(sorted(refused, key=lambda file: file.clip_id)))
