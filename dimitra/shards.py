"""Deterministic, atomic tar shards in the WebDataset layout, and their sidecars.

A shard is a plain tar of members ``<clip_id>.<part>`` (``<clip_id>.motion.npz``), sorted by clip
and part, with fixed headers: the same members give the same bytes. Beside ``NNNNN.tar`` stands
the sidecar ``NNNNN.json`` with the shard's sha256, size and clip ids; it is written last, so a
shard without a sidecar does not exist. A sidecar may stand alone: then the shard's bytes are kept
elsewhere, under their sha256.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
import tempfile
import zipfile
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dimitra.clips import check_clip_id

Members = dict[str, bytes]
"""Parts of one clip: part name (``motion.npz``) to bytes."""

_EPOCH = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class Sidecar:
    """What is known about a finished shard.

    Attributes:
        shard: file name of the tar.
        sha256: of the tar's bytes.
        size_bytes: of the tar.
        clips: number of clips in it.
        clip_ids: the clips, sorted.
    """

    shard: str
    sha256: str
    size_bytes: int
    clips: int
    clip_ids: tuple[str, ...]


def sha256_file(path: Path) -> str:
    """Hexadecimal sha256 of a file's bytes, read in blocks."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_atomic(path: Path, data: bytes) -> None:
    """Write ``data`` to ``path`` so that a reader sees all of it or nothing.

    Temporary name in the same folder, fsync, rename.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def json_bytes(value: Any) -> bytes:
    """Canonical JSON: sorted keys, two-space indent, final newline, UTF-8, no NaN."""
    text = json.dumps(value, sort_keys=True, indent=2, ensure_ascii=False, allow_nan=False)
    return (text + "\n").encode()


def npz_bytes(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """Encode named arrays as ``.npz`` with sorted names and fixed time stamps.

    ``numpy.load(..., allow_pickle=False)`` reads it.
    """
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(arrays):
            part = io.BytesIO()
            np.lib.format.write_array(
                part, np.asarray(arrays[name], order="C"), version=(1, 0), allow_pickle=False
            )
            archive.writestr(zipfile.ZipInfo(f"{name}.npy", _EPOCH), part.getvalue())
    return buffer.getvalue()


def read_npz(data: bytes) -> dict[str, NDArray[Any]]:
    """Decode ``npz_bytes``; refuses pickled objects."""
    with np.load(io.BytesIO(data), allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


class ShardWriter:
    """Writes one shard clip by clip, so that no more than one clip is in memory.

    The bytes go to a temporary name; ``finish`` makes the shard and then its sidecar appear.
    A writer that is not finished leaves nothing behind once ``abandon`` is called, as the
    ``with`` statement does.

    Args:
        path: the ``.tar`` to write.

    Raises:
        OSError: the disk is full, or the folder cannot be written.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        self._path = path
        self._temporary = Path(temporary)
        self._file = os.fdopen(descriptor, "w+b")
        self._archive = tarfile.open(  # noqa: SIM115 - closed by finish or abandon
            fileobj=self._file, mode="w", format=tarfile.USTAR_FORMAT
        )
        self._clip_ids: list[str] = []

    def __enter__(self) -> ShardWriter:
        return self

    def __exit__(self, *exc: object) -> None:
        self.abandon()

    def add(self, clip_id: str, parts: Members) -> None:
        """Append a clip.

        Raises:
            ValueError: the id is malformed or does not come after the one before, or there is no
                part, so that a reader of the shard would not find the clip.
            OSError: the disk is full.
        """
        check_clip_id(clip_id)
        if not parts:
            raise ValueError(f"clip {clip_id} has no parts")
        if self._clip_ids and clip_id <= self._clip_ids[-1]:
            raise ValueError(f"clip {clip_id} comes after {self._clip_ids[-1]}: not sorted")
        for part in sorted(parts):
            info = tarfile.TarInfo(f"{clip_id}.{part}")
            info.size = len(parts[part])
            info.mode = 0o644
            self._archive.addfile(info, io.BytesIO(parts[part]))
        self._clip_ids.append(clip_id)

    def finish(self) -> Sidecar:
        """Close the shard, give it its name, and write its sidecar.

        Raises:
            OSError: the disk is full; nothing half-written stays.
        """
        self._archive.close()
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        sidecar = Sidecar(
            shard=self._path.name,
            sha256=sha256_file(self._temporary),
            size_bytes=self._temporary.stat().st_size,
            clips=len(self._clip_ids),
            clip_ids=tuple(self._clip_ids),
        )
        self._temporary.chmod(0o644)
        self._temporary.replace(self._path)
        write_sidecar(self._path, sidecar)
        return sidecar

    def abandon(self) -> None:
        """Remove what was written, unless it is finished."""
        self._file.close()
        self._temporary.unlink(missing_ok=True)


def sidecar_path(shard: Path) -> Path:
    """``data/crops/00003.tar`` -> ``data/crops/00003.json``."""
    return shard.with_suffix(".json")


def write_sidecar(shard: Path, sidecar: Sidecar) -> None:
    """Write the sidecar of a shard, atomically."""
    write_atomic(sidecar_path(shard), json_bytes(asdict(sidecar)))


def sidecar_of(values: Mapping[str, Any]) -> Sidecar:
    """A sidecar from its JSON form.

    Raises:
        TypeError: the fields are not a sidecar's.
    """
    return Sidecar(**{**values, "clip_ids": tuple(values["clip_ids"])})


def write_shard(path: Path, samples: Mapping[str, Members]) -> Sidecar:
    """Write one shard and its sidecar atomically; the sidecar comes last.

    Args:
        path: the ``.tar`` to write.
        samples: clip id to its parts.

    Raises:
        ValueError: a clip id is malformed.
        OSError: the disk is full, or the folder cannot be written; nothing half-written stays.
    """
    with ShardWriter(path) as writer:
        for clip_id in sorted(samples):
            writer.add(clip_id, samples[clip_id])
        return writer.finish()


def read_sidecar(shard: Path) -> Sidecar:
    """Sidecar of a shard.

    Raises:
        FileNotFoundError: the shard was never finished.
    """
    return sidecar_of(json.loads(sidecar_path(shard).read_text()))


def iterate_shard(
    path: Path, wanted: Collection[str] | None = None
) -> Iterator[tuple[str, Members]]:
    """Yield (clip id, parts) in clip order, one clip in memory at a time.

    Args:
        path: the ``.tar``.
        wanted: only these clips; what others hold is passed over block by block, never held.

    Raises:
        ValueError: a member is not a plain file of the form ``<clip_id>.<part>``.
    """
    current: str | None = None
    parts: Members = {}
    with tarfile.open(path, mode="r|") as archive:
        for info in archive:
            clip_id, _, part = info.name.partition(".")
            if not info.isreg() or not part or "/" in info.name:
                raise ValueError(f"{path}: member {info.name!r} is not <clip_id>.<part>")
            if wanted is not None and clip_id not in wanted:
                continue
            if clip_id != current:
                if current is not None:
                    yield current, parts
                current, parts = clip_id, {}
            stream = archive.extractfile(info)
            if stream is not None:  # always so: isreg() above
                parts[part] = stream.read()
    if current is not None:
        yield current, parts


def read_shard(path: Path) -> dict[str, Members]:
    """All clips of a shard in memory: clip id to parts."""
    return dict(iterate_shard(path))


def list_shards(folder: Path) -> list[Path]:
    """Finished shards of a folder (those with a sidecar), sorted by name."""
    return sorted(path for path in folder.glob("*.tar") if sidecar_path(path).exists())


def list_sidecars(folder: Path) -> dict[Path, Sidecar]:
    """Every finished shard that a folder tells of, sorted by name: its path to its sidecar.

    The shard itself may lie elsewhere; other JSON files are passed over.
    """
    found: dict[Path, Sidecar] = {}
    for path in sorted(folder.glob("*.json")):
        values = json.loads(path.read_text())
        if isinstance(values, dict) and values.get("shard") == f"{path.stem}.tar":
            found[path.with_suffix(".tar")] = sidecar_of(values)
    return found
