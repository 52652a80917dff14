"""The layout of VoxCeleb2: ``mp4/<identity>/<video>/<clip>.mp4``.

The official release keeps the sound apart, in ``aac/<identity>/<video>/<clip>.m4a``; where there is
such a file it is used, else a ``.wav`` of that name (made of it, as many tools want it), otherwise
the sound in the mp4. VoxCeleb2 has no transcripts.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from dimitra.clips import Reason
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

_DEPTH = 3
_SOUNDS = (".wav", ".m4a")
"""Extensions of separate sound; a later one goes before an earlier one."""


def _sound(root: Path, *, outside_links: bool) -> dict[PurePosixPath, Found]:
    """Separate sound files by the path of their clip without its extension."""
    if not (root / "aac").is_dir():
        return {}
    found = found_below(root, "aac", outside_links=outside_links)
    return {
        entry.path.with_suffix(""): entry
        for suffix in _SOUNDS
        for entry in found
        if len(entry.path.parts) == _DEPTH and entry.path.suffix == suffix
    }


def read(root: Path, dataset: str, *, outside_links: bool = False) -> Listing:
    """List a VoxCeleb2 folder.

    Args:
        root: folder that holds ``mp4/`` and perhaps ``aac/``.
        dataset: its name, which begins every clip id.
        outside_links: accept links to files outside of ``root``.

    Raises:
        LayoutError: there is no ``mp4/`` below ``root``.
    """
    clips, bad = [], []
    sounds = _sound(root, outside_links=outside_links)
    for found in found_below(root, "mp4", outside_links=outside_links):
        path = found.path
        formed = len(path.parts) == _DEPTH and path.suffix.lower() == ".mp4"
        if found.folder and not formed:
            continue
        reason, message = found.reason, found.message
        sound = sounds.get(path.with_suffix(""))
        if reason is None and not formed:
            reason = Reason.WRONG_EXTENSION
            message = f"mp4/{shown(path)} is not of the form mp4/<identity>/<video>/<clip>.mp4"
        if reason is None and sound is not None:
            reason, message = sound.reason, sound.message
        if reason is not None:
            bad.append(BadFile(bad_file_id(dataset, path), f"mp4/{path}", reason, message))
            continue
        identity, video, _ = path.parts
        clips.append(
            SourceClip(
                clip_id=clip_id_of(dataset, path),
                identity=identity,
                source_video=f"{identity}/{video}",
                path=f"mp4/{path}",
                audio_path=None if sound is None else f"aac/{sound.path}",
            )
        )
    return listing(dataset, clips, bad)
