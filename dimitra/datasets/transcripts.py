"""The words that come with a clip, as a text file of its dataset."""

from __future__ import annotations

import os
from pathlib import Path

from dimitra.clips import ClipError, Reason
from dimitra.media.source import open_regular

_MAX_BYTES = 1_000_000


def read_transcript(file: Path, name: str) -> str | None:
    """Words of a clip on one line; None where there are none.

    Args:
        file: the text file, which need not exist.
        name: how messages call it.

    Raises:
        ClipError: BAD_TRANSCRIPT.
    """
    if not os.path.lexists(file):
        return None
    try:
        with open_regular(file, name) as opened:
            data = opened.read(_MAX_BYTES + 1)
        text = data.decode("utf-8-sig")
    except ClipError as error:
        raise ClipError(Reason.BAD_TRANSCRIPT, error.message) from None
    except UnicodeDecodeError as error:
        raise ClipError(Reason.BAD_TRANSCRIPT, f"{name} is not UTF-8: {error.reason}") from None
    if len(data) > _MAX_BYTES:
        raise ClipError(Reason.BAD_TRANSCRIPT, f"{name} has more than {_MAX_BYTES} bytes")
    return " ".join(text.split()) or None
