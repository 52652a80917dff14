"""A transcript given on the command line: the words themselves, or a file of them."""

from __future__ import annotations

from pathlib import Path

from dimitra.animation.errors import AnimationError

MAX_BYTES = 1_000_000
SUFFIXES = frozenset((".txt", ".text", ".md", ".lab", ".srt", ".vtt"))
"""Of a word that is surely meant as a file's name."""


def read_transcript(given: str) -> str:
    """The text of a file of that name, else the words themselves.

    Raises:
        AnimationError: the file is not there, too large, or not text in UTF-8.
    """
    path = Path(given)
    try:
        there = path.is_file()
    except (OSError, ValueError):  # words that no file can be called
        there = False
    if not there:
        if len(given.split()) == 1 and path.suffix.lower() in SUFFIXES:
            raise AnimationError(f"{given}: no such transcript file")
        return given
    if path.stat().st_size > MAX_BYTES:
        raise AnimationError(f"{given} has {path.stat().st_size} bytes, the limit is {MAX_BYTES}")
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise AnimationError(f"{given} is no text in UTF-8; save it as such") from None
