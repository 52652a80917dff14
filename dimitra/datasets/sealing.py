"""Seals of split lists: ``SHA256SUMS`` beside them, which ``sha256sum --check`` reads too."""

from __future__ import annotations

import re
from pathlib import Path

from dimitra.shards import sha256_file, write_atomic

SUMS = "SHA256SUMS"
LISTS = ("clips.txt", "test.txt", "train.txt", "videos.tsv")
"""What a version of a split can consist of."""
_LINE = re.compile(r"([0-9a-f]{64}) [ *]([^/\0]+)")


class SealError(ValueError):
    """Lists and their sums do not belong together."""


def seal(folder: Path) -> Path:
    """Write the sums of the lists in a folder; returns the file.

    Raises:
        SealError: there is no list.
    """
    present = [name for name in LISTS if (folder / name).is_file()]
    if not present:
        raise SealError(f"{folder} holds none of {', '.join(LISTS)}; there is nothing to seal")
    lines = [f"{sha256_file(folder / name)}  {name}\n" for name in present]
    write_atomic(folder / SUMS, "".join(lines).encode())
    return folder / SUMS


def sums(folder: Path) -> dict[str, str]:
    """File name to sha256, as ``SHA256SUMS`` has them; empty where there is no such file.

    Raises:
        SealError: a line is not ``<sha256>  <name>``.
    """
    path = folder / SUMS
    if not path.is_file():
        return {}
    found = {}
    for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
        match = _LINE.fullmatch(line)
        if match is None:
            raise SealError(f"{path}, line {number}: {line!r} is not `<sha256>  <name>`")
        found[match[2]] = match[1]
    return found


def verify(folder: Path) -> bool:
    """Compare the lists with their seal; False where there is none.

    Raises:
        SealError: a list has other bytes, is gone, or is not among the sums.
    """
    told = sums(folder)
    if not told:
        return False
    advice = (
        "Results rest on a version: restore the list from git, or make another version. Where the "
        f"change is meant: dimitra split seal {folder.parent.name}/{folder.name}"
    )
    for name, digest in sorted(told.items()):
        path = folder / name
        if not path.is_file():
            raise SealError(f"{path} is gone, but {folder / SUMS} names it. {advice}")
        actual = sha256_file(path)
        if actual != digest:
            raise SealError(
                f"{path} has sha256 {actual[:16]}..., but {SUMS} says {digest[:16]}.... {advice}"
            )
    unnamed = [name for name in LISTS[1:3] if name not in told and (folder / name).is_file()]
    if unnamed:
        raise SealError(f"{folder / SUMS} does not name {', '.join(unnamed)}. {advice}")
    return True
