"""Digests of artefacts: of a file its bytes', of a folder that of its files' names and digests.

A folder's digest is the sha256 of the sorted lines ``<sha256>  <relative path>``. The bytes of a
shard are not read again: its sidecar tells their sha256. ``dimitra audit --verify`` reads them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from dimitra.lineage.record import Artefact
from dimitra.shards import list_sidecars, sha256_file, sidecar_path


@dataclass(frozen=True)
class Entry:
    """One file of a folder.

    Attributes:
        path: relative to the folder, with forward slashes.
        sha256: of its bytes.
        size_bytes: of the file.
        kind: ``shard``, ``sidecar``, ``raw`` (a video that the manifest names) or ``file``.
    """

    path: str
    sha256: str
    size_bytes: int
    kind: str = "file"


def folder_digest(entries: Iterable[Entry]) -> str:
    """Digest of a folder with these files."""
    lines = sorted(f"{entry.sha256}  {entry.path}\n" for entry in entries)
    return hashlib.sha256("".join(lines).encode("utf-8", "surrogateescape")).hexdigest()


def _hidden(path: Path) -> bool:
    """Of a temporary name, or what a version control system puts there."""
    return any(part.startswith(".") for part in path.parts)


def list_entries(folder: Path) -> Iterator[Entry]:
    """Files of a stage's folder; shards as their sidecars tell of them, wherever they lie.

    Args:
        folder: a folder of outputs; hidden files are passed over.
    """
    shards = list_sidecars(folder)
    told = {*shards, *map(sidecar_path, shards)}
    for shard, sidecar in shards.items():
        yield Entry(shard.name, sidecar.sha256, sidecar.size_bytes, "shard")
        place = sidecar_path(shard)
        yield Entry(place.name, sha256_file(place), place.stat().st_size, "sidecar")
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder)
        if path not in told and path.is_file() and not _hidden(relative):
            yield Entry(relative.as_posix(), sha256_file(path), path.stat().st_size)


def artefact_of(path: str, entries: Iterable[Entry]) -> Artefact:
    """A folder that holds these files.

    Args:
        path: of the folder, relative to the checkout.
        entries: its files.
    """
    listed = sorted(entries, key=lambda entry: entry.path)
    return Artefact(
        path=path,
        sha256=folder_digest(listed),
        size_bytes=sum(entry.size_bytes for entry in listed),
        files={entry.path: entry.sha256 for entry in listed if entry.kind == "file"},
    )


def read_artefact(path: str, root: Path = Path()) -> Artefact:
    """A file or a folder as it lies in a checkout; without a digest where it is not there.

    Args:
        path: relative to ``root``.
        root: the checkout.
    """
    place = root / path
    if place.is_file():
        return Artefact(path, sha256_file(place), place.stat().st_size)
    if place.is_dir():
        return artefact_of(path, list_entries(place))
    return Artefact(path, None, 0)
