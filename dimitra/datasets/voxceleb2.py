"""The layout of VoxCeleb2: ``mp4/<identity>/<video>/<clip>.mp4``.

The official release keeps the sound apart, in ``aac/<identity>/<video>/<clip>.m4a``; where such a
file stands beside a clip it is used, otherwise the sound in the mp4. VoxCeleb2 has no transcripts.
"""

from __future__ import annotations

from pathlib import Path

from dimitra.clips import Reason
from dimitra.datasets.listing import (
    BadFile,
    Listing,
    SourceClip,
    bad_file_id,
    clip_id_of,
    files_below,
    listing,
)

_DEPTH = 3


def read(root: Path, dataset: str) -> Listing:
    """List a VoxCeleb2 folder.

    Args:
        root: folder that holds ``mp4/`` and perhaps ``aac/``.
        dataset: its name, which begins every clip id.

    Raises:
        LayoutError: there is no ``mp4/`` below ``root``.
    """
    clips, bad = [], []
    for path in files_below(root / "mp4"):
        if len(path.parts) != _DEPTH or path.suffix.lower() != ".mp4":
            message = f"mp4/{path} is not of the form mp4/<identity>/<video>/<clip>.mp4"
            name = bad_file_id(dataset, path)
            bad.append(BadFile(name, f"mp4/{path}", Reason.WRONG_EXTENSION, message))
            continue
        identity, video, _ = path.parts
        audio = f"aac/{path.with_suffix('.m4a')}"
        clips.append(
            SourceClip(
                clip_id=clip_id_of(dataset, path),
                identity=identity,
                source_video=f"{identity}/{video}",
                path=f"mp4/{path}",
                audio_path=audio if (root / audio).is_file() else None,
            )
        )
    return listing(dataset, clips, bad)
