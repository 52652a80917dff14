"""The original files of a clip: their digest, and whether they are still those of the manifest."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from dimitra.clips import Clip, ClipError, Reason
from dimitra.media.source import open_regular

_BLOCK = 1 << 20


def original_files(root: Path, clip: Clip) -> list[Path]:
    """Video and, where it is apart, sound of a clip.

    Args:
        root: folder of its dataset.
        clip: the clip.
    """
    return [root / name for name in (clip.path, clip.audio_path) if name is not None]


def sha256_of(files: Sequence[Path]) -> str:
    """Sha256 of the bytes of the files, one after the other.

    Raises:
        ClipError: MISSING_FILE, UNREADABLE or NOT_A_FILE.
    """
    digest = hashlib.sha256()
    for path in files:
        with open_regular(path, path.name) as file:
            while block := file.read(_BLOCK):
                digest.update(block)
    return digest.hexdigest()


def check_unchanged(root: Path, clip: Clip) -> None:
    """Refuse a clip whose files are not those that ``ingest`` saw.

    Args:
        root: folder of its dataset.
        clip: with the sha256 of the manifest.

    Raises:
        ClipError: CHANGED_FILE, MISSING_FILE, UNREADABLE or NOT_A_FILE.
    """
    found = sha256_of(original_files(root, clip))
    if found != clip.sha256:
        raise ClipError(
            Reason.CHANGED_FILE,
            f"{clip.path} has the sha256 {found[:16]}..., the manifest says "
            f"{clip.sha256[:16]}...; run ingest again",
        )
