"""A transcript given on the command line: the words themselves, or a file of them."""

from __future__ import annotations

from pathlib import Path

from dimitra.animation.errors import AnimationError

MAX_BYTES = 1_000_000


def read_transcript(given: str) -> str:
    """The text of a file of that name, else the words themselves.

    Raises:
        AnimationError: the file is not there, too large, or not text in UTF-8.
    """
    path = Path(given)
    if len(given.split()) != 1 or not (path.suffix or path.is_file()):
        return given
    if not path.is_file():
        raise AnimationError(f"{given}: no such transcript file")
    if path.stat().st_size > MAX_BYTES:
        raise AnimationError(f"{given} has {path.stat().st_size} bytes, the limit is {MAX_BYTES}")
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise AnimationError(f"{given} is no text in UTF-8; save it as such") from None
