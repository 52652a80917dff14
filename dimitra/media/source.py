"""Files that are opened as media: regular ones, and bytes in memory."""

from __future__ import annotations

import errno
import io
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from dimitra.clips import ClipError, Reason

Source = Path | str | bytes
"""A local file, or a file's content in memory."""


def source_name(source: Source) -> str:
    """How messages call the source: the file's name, or the size of the bytes."""
    return f"<{len(source)} bytes>" if isinstance(source, bytes) else Path(source).name


@contextmanager
def open_source(source: Source, name: str) -> Iterator[BinaryIO]:
    """Open a source for reading.

    Raises:
        ClipError: MISSING_FILE, UNREADABLE or NOT_A_FILE.
    """
    if isinstance(source, bytes):
        yield io.BytesIO(source)
        return
    with open_regular(Path(source), name) as file:
        yield file


def open_regular(path: Path, name: str) -> BinaryIO:
    """Open a regular file, and nothing else: a pipe would wait for ever, a device has no end.

    Raises:
        ClipError: MISSING_FILE, UNREADABLE or NOT_A_FILE.
        OSError: the machine is at fault.
    """
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):
            raise ClipError(Reason.NOT_A_FILE, f"{name} is a {_kind(mode)}, not a file")
        # Not to wait if it has become a pipe since.
        file = os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb")
    except PermissionError:
        raise ClipError(Reason.UNREADABLE, f"{name} may not be read by this user") from None
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO):
            raise
        raise ClipError(
            Reason.MISSING_FILE, f"{name} is not a file, or a link whose target is gone"
        ) from None
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise ClipError(Reason.NOT_A_FILE, f"{name} is not a file any more")
    return file


def _kind(mode: int) -> str:
    kinds = {
        stat.S_IFDIR: "folder",
        stat.S_IFIFO: "pipe",
        stat.S_IFSOCK: "socket",
        stat.S_IFCHR: "device",
        stat.S_IFBLK: "device",
    }
    return kinds.get(stat.S_IFMT(mode), "special file")
