"""Videos of one method: which files there are, and which clip each shows."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from dimitra.study.errors import StudyError

TYPES = {".mp4": "video/mp4", ".m4v": "video/mp4", ".webm": "video/webm"}
"""Suffixes that browsers play, and their media types."""


def list_videos(source: Path) -> dict[str, Path]:
    """Clip to file.

    Args:
        source: a folder, searched with all that is below; or a folder and a pattern of file names
            with one ``*`` (``videos/*-hp.mp4``), which stands for the clip.

    Returns:
        clip, which is the path below the folder without suffix (or what ``*`` stands for), to the
        file, in the order of clips.

    Raises:
        StudyError: no such folder, no video in it, a name that is no text, or two videos of a
            clip.
    """
    folder, before, after = source, "", ""
    if "*" in source.name:
        folder = source.parent
        before, _, after = source.name.partition("*")
        if "*" in after or "*" in str(folder):
            raise StudyError(f"{source}: one * in the file name stands for the clip, not more")
        if Path(f"x{after}").suffix.lower() not in TYPES:
            raise StudyError(f"{source}: a pattern ends in one of {', '.join(TYPES)}")
    if not folder.is_dir():
        raise StudyError(f"{folder} is no folder; name one with videos")
    found: dict[str, Path] = {}
    for path in sorted(folder.rglob("*")):
        name = path.name
        fits = name.startswith(before) and name.endswith(after) and len(name) > len(before + after)
        if path.suffix.lower() not in TYPES or not fits or not path.is_file():
            continue
        stem = name[len(before) : len(name) - len(after)] if after else path.stem
        clip = (path.parent.relative_to(folder) / stem).as_posix()
        if not clip.isprintable():
            raise StudyError(f"{str(path)!r}: the name cannot be written down; rename the file")
        if clip in found:
            raise StudyError(
                f"{found[clip]} and {path} are both of the clip {clip!r}; remove one of them"
            )
        found[clip] = path
    if not found:
        raise StudyError(f"{source} has no video ({', '.join(TYPES)}); look at the path")
    return found


def unmatched(ours: Mapping[str, Path], other: Mapping[str, Path]) -> tuple[list[str], list[str]]:
    """Clips that only we have, and clips that only the other has."""
    return sorted(ours.keys() - other.keys()), sorted(other.keys() - ours.keys())
