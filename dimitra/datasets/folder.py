"""A plain folder of videos, at any depth.

The identity is the first folder below the root, or, for a video at the top, its own name. The
recording is the file. ``<name>.txt`` beside a video holds its words. A sound file of its name
beside it is its sound, whether or not the video has some too: a listing opens no file.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from dimitra.clips import ClipError, Reason
from dimitra.datasets.listing import (
    BadFile,
    Found,
    Listing,
    SourceClip,
    bad_file_id,
    clip_id_of,
    found_below,
    listing,
    shown,
)
from dimitra.datasets.transcripts import read_transcript
from dimitra.media.formats import SOUND_EXTENSIONS

VIDEOS = frozenset((".mp4", ".m4v", ".mov", ".3gp", ".mkv", ".webm", ".avi"))
UNREAD_VIDEOS = frozenset(
    (".mpg", ".mpeg", ".wmv", ".flv", ".ts", ".mts", ".m2ts", ".vob", ".ogv", ".asf", ".f4v")
)
"""Extensions of videos that are not opened: told as such, not counted among other files."""


def _sounds(found: Iterable[Found]) -> dict[PurePosixPath, list[Found]]:
    """Sound files that stand beside a video, by the path of the video without its extension."""
    files = [entry for entry in found if not entry.folder]
    videos = {entry.path.with_suffix("") for entry in files if _suffix(entry) in VIDEOS}
    sounds = defaultdict(list)
    for entry in files:
        stem = entry.path.with_suffix("")
        if _suffix(entry) in SOUND_EXTENSIONS and stem in videos:
            sounds[stem].append(entry)
    return sounds


def _suffix(entry: Found) -> str:
    return entry.path.suffix.lower()


def _sound_fault(sounds: list[Found]) -> tuple[Reason | None, str]:
    """Why a video cannot have the sound that stands beside it; None and no text where it can."""
    if len(sounds) > 1:
        names = " and ".join(shown(sound.path) for sound in sounds)
        return Reason.DUPLICATE_ID, f"{names} are the sound of one video; keep one of them"
    return (sounds[0].reason, sounds[0].message) if sounds else (None, "")


def read(root: Path, dataset: str, *, outside_links: bool = False) -> Listing:
    """List a folder.

    Args:
        root: the folder.
        dataset: its name, which begins every clip id.
        outside_links: accept links to files outside of ``root``.

    Returns:
        its clips; files that are neither videos nor their sound or words are counted as others.

    Raises:
        LayoutError: there is no such folder.
    """
    clips: list[SourceClip] = []
    bad: list[BadFile] = []
    texts = set()
    others = 0
    entries = found_below(root, ".", outside_links=outside_links)
    sounds = _sounds(entries)
    for found in entries:
        path, suffix = found.path, _suffix(found)
        reason, message, words = found.reason, found.message, None
        if suffix in UNREAD_VIDEOS:
            reason = reason or Reason.WRONG_EXTENSION
            message = message or f"{shown(path)}: convert it to H.264 and AAC in mp4"
        elif suffix not in VIDEOS:
            if found.folder or found in sounds.get(path.with_suffix(""), ()):
                continue
            if reason is Reason.UNREADABLE or reason is Reason.NOT_A_FILE:  # perhaps a folder
                bad.append(BadFile(bad_file_id(dataset, path), str(path), reason, message))
                continue
            others += 1
            if suffix == ".txt":
                texts.add(path.with_suffix(""))
            continue
        beside = sounds.get(path.with_suffix(""), [])
        if reason is None:
            reason, message = _sound_fault(beside)
        if reason is None:
            text = path.with_suffix(".txt")
            try:
                words = read_transcript(root / text, str(text))
            except ClipError as error:
                reason, message = error.reason, error.message
        if reason is not None:
            bad.append(BadFile(bad_file_id(dataset, path), str(path), reason, message))
            continue
        recording = str(path.with_suffix(""))
        clips.append(
            SourceClip(
                clip_id=clip_id_of(dataset, path),
                identity=path.parts[0] if len(path.parts) > 1 else path.stem,
                source_video=recording,
                path=str(path),
                audio_path=str(beside[0].path) if beside else None,
                transcript=words,
            )
        )
    videos = {clip.source_video for clip in clips}
    videos |= {str(Path(file.path).with_suffix("")) for file in bad}
    others -= sum(str(text) in videos for text in texts)
    return listing(dataset, clips, bad, others)
