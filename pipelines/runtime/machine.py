"""Faults of the machine: they stop a stage, blame no clip, and say where and what to do."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_ROOM = "make room (`dimitra cache du`, `dimitra cache gc`)"
_ADVICE = {
    errno.ENOSPC: _ROOM,
    errno.EDQUOT: _ROOM,
    errno.EROFS: "make the file system writable (`mount -o remount,rw`)",
    errno.EIO: "look at the disk (`dmesg`)",
    errno.EMFILE: "allow more open files (`ulimit -n`)",
}
MACHINE_FAULTS = frozenset(_ADVICE)
"""Error numbers for which no clip is to blame."""


class MachineError(OSError):
    """A fault of the machine whose message names machine, folder, what is free and what to do."""


def _free(folder: Path) -> str:
    """What is left where a folder is, or would be; a broken disk may not say."""
    for there in (folder, *folder.parents):
        try:
            return f"{shutil.disk_usage(there).free / 1e6:.0f} MB free in {there}"
        except FileNotFoundError:
            continue
        except OSError:
            break
    return f"what is free in {folder} cannot be told"


@contextmanager
def faults_named(stage: str, folder: Path) -> Iterator[None]:
    """Name the machine and the folder in whatever fault of the machine the block raises.

    Args:
        stage: stage name.
        folder: what the block works in, for errors that name no file.

    Raises:
        MachineError: in place of an ``OSError`` with one of ``MACHINE_FAULTS``.
    """
    try:
        yield
    except MachineError:
        raise
    except OSError as error:
        if error.errno not in MACHINE_FAULTS:
            raise
        named = error.filename if isinstance(error.filename, str) else None
        where = Path(named).parent if named else folder
        raise MachineError(
            error.errno,
            f"{stage}: {error.strerror} on {os.uname().nodename}, "
            f"{f'at {named}, ' if named else ''}{_free(where)}. Finished shards are kept: "
            f"{_ADVICE[error.errno]}, then run the same command again",
        ) from None
