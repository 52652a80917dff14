"""Lists and tables in a dataset's folder: short text files, read whole."""

from __future__ import annotations

from pathlib import Path

from dimitra.clips import ClipError
from dimitra.datasets.listing import LayoutError
from dimitra.media.source import open_regular

_MAX_BYTES = 1 << 30


def read_text(path: Path) -> str:
    """Content of a list, without a byte order mark.

    Raises:
        LayoutError: it is no file, may not be read, is larger than 1 GiB, or is not UTF-8.
    """
    try:
        with open_regular(path, path.name) as file:
            data = file.read(_MAX_BYTES + 1)
        if len(data) > _MAX_BYTES:
            raise LayoutError(f"{path} has more than {_MAX_BYTES} bytes; it is no list")
        return data.decode("utf-8-sig")
    except ClipError as error:
        raise LayoutError(f"{path}: {error.message}") from None
    except UnicodeDecodeError as error:
        raise LayoutError(f"{path} is not UTF-8: {error}") from None
