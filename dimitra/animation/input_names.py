"""How messages call what a person gave."""

from __future__ import annotations

from pathlib import Path

from dimitra.animation.errors import AnimationError
from dimitra.media.source import Source, source_name


def input_name(source: Source) -> str:
    """The file's name, or the size of the bytes.

    Raises:
        AnimationError: a path without a name, as ``.`` or ``/``, which only a folder can have.
    """
    name = source_name(source)
    if not isinstance(source, bytes) and not name:
        raise AnimationError(
            f"{Path(source)} is a folder, not a file; name the file that lies in it"
        )
    return name
