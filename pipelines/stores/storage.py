"""Files by name under one root: a folder that the nodes share, or an object store that they reach.

Every writer promises whole or not at all. See docs/storage.md for the layout above this layer, for
the settings of S3, and for what is tested.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedRandom
from pathlib import Path, PurePosixPath
from typing import BinaryIO
from urllib.parse import urlsplit

from dimitra.shards import sha256_file, write_atomic
from pipelines.stores.object_store import (
    BLOCK_BYTES,
    PATIENCE,
    DamagedError,
    Entry,
    ObjectStore,
    Patience,
    StorageError,
)

__all__ = [
    "DamagedError",
    "Entry",
    "Patience",
    "Storage",
    "StorageError",
    "copy_atomic",
    "is_temporary",
]

_FICLONE = 0x40049409
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)


def is_temporary(path: Path) -> bool:
    """Whether a file is what an interrupted writer left behind (``.<name>.<random>``)."""
    return path.name.startswith(".")


@contextmanager
def _landing(target: Path) -> Iterator[BufferedRandom]:
    """A file under a temporary name that becomes ``target`` if the block ends well."""
    target.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(descriptor, "w+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(target)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _check(uri: str, found: str, wanted: str | None) -> None:
    if wanted is not None and found != wanted:
        raise DamagedError(
            f"{uri} is damaged: its sha256 is {found}, not {wanted}. "
            "`dimitra cache verify --repair` drops what is damaged; the next run makes it again"
        )


def copy_atomic(source: Path, target: Path, sha256: str | None = None) -> None:
    """Copy a file to ``target`` (reflink where possible) so that a reader sees all or nothing.

    Raises:
        FileNotFoundError: there is no ``source``.
        DamagedError: the bytes copied have another sha256.
        OSError: the disk is full, or cannot be written.
    """
    with source.open("rb") as origin, _landing(target) as sink:
        try:
            fcntl.ioctl(sink.fileno(), _FICLONE, origin.fileno())
        except OSError as error:
            if error.errno in _NO_SPACE:
                raise
            shutil.copyfileobj(origin, sink, 1 << 20)
        if sha256 is not None:
            sink.flush()
            sink.seek(0)
            _check(str(source), hashlib.file_digest(sink, "sha256").hexdigest(), sha256)


def _walk(folder: Path, prefix: str) -> Iterator[Entry]:
    """Files below a folder, sorted by name; temporary names left out."""
    try:
        found = list(os.scandir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return
    for item in sorted(found, key=lambda i: i.name + ("/" if i.is_dir() else "")):
        name = f"{prefix}/{item.name}" if prefix else item.name
        if item.name.startswith("."):
            continue
        if item.is_dir():
            yield from _walk(folder / item.name, name)
            continue
        try:
            status = item.stat()
        except FileNotFoundError:  # removed since the listing
            continue
        yield Entry(name, status.st_size, status.st_mtime)


@dataclass(frozen=True)
class Storage:
    """Files by name under ``root``; can be pickled, and opens its connection where it is used.

    Names are relative with forward slashes; no part of one begins with a dot.

    Attributes:
        root: an absolute folder, or ``s3://bucket/prefix`` (or another URI that pyarrow reads).
        patience: how long a remote store is waited for.

    Raises:
        StorageError: ``root`` is neither.
    """

    root: str
    patience: Patience = PATIENCE

    def __post_init__(self) -> None:
        parts = urlsplit(self.root)
        if "://" not in self.root:
            if not Path(self.root).is_absolute():
                raise StorageError(
                    f"storage root {self.root!r} is neither an absolute folder nor a URI "
                    "such as s3://bucket/prefix"
                )
            object.__setattr__(self, "root", str(Path(self.root)))
            return
        if parts.username or parts.password or parts.query or parts.fragment:
            raise StorageError(
                f"storage root {parts.scheme}://{parts.hostname}{parts.path} carries credentials "
                "or options: they come from the environment (AWS_ACCESS_KEY_ID, AWS_ENDPOINT_URL)"
            )
        if parts.scheme in ("", "file") or not parts.netloc:
            raise StorageError(
                f"storage root {self.root!r}: write a folder as /folder, a bucket as s3://bucket"
            )
        object.__setattr__(self, "root", self.root.rstrip("/"))

    @property
    def is_local(self) -> bool:
        """Whether the root is a folder."""
        return "://" not in self.root

    @property
    def _store(self) -> ObjectStore:
        return ObjectStore(self.root, self.patience)

    @staticmethod
    def _name(name: str) -> str:
        """The name itself.

        Raises:
            ValueError: it could leave the root, or is a writer's temporary name.
        """
        bad = any(part == "" or part[0] == "." for part in name.split("/"))
        if bad or "\\" in name or not name.isprintable():
            raise ValueError(
                f"{name!r} is no name in a storage: parts between single forward slashes, "
                "none beginning with a dot"
            )
        return name

    def path(self, name: str) -> Path:
        """Where a name lies on this machine.

        Raises:
            ValueError: the storage is remote, or the name malformed.
        """
        if not self.is_local:
            raise ValueError(f"{self.root} is remote: {name} has no path; use get")
        return Path(self.root) / PurePosixPath(self._name(name))

    def uri(self, name: str) -> str:
        """The name with its root, for messages."""
        return f"{self.root}/{self._name(name)}"

    def size(self, name: str) -> int | None:
        """Bytes of a file; None where there is none.

        Raises:
            StorageError: the storage cannot be reached, or refuses (so too below).
        """
        if not self.is_local:
            return self._store.size(self._name(name))
        path = self.path(name)
        return path.stat().st_size if path.is_file() else None

    def read(self, name: str) -> bytes:
        """All bytes of a small file.

        Raises:
            FileNotFoundError: there is none.
        """
        if not self.is_local:
            return self._store.read(self._name(name))
        return self.path(name).read_bytes()

    def write(self, name: str, data: bytes) -> None:
        """Write a small file, whole or not at all."""
        if self.is_local:
            write_atomic(self.path(name), data)
        else:
            self._store.upload(self._name(name), lambda: (data,), len(data))

    def put(self, source: Path, name: str, *, move: bool = False) -> None:
        """Store a local file, whole or not at all.

        Args:
            source: the file; on the disk for good (fsync) already if it is moved.
            name: its name here.
            move: remove the source; within one file system a rename.

        Raises:
            FileNotFoundError: there is no source.
        """
        if not self.is_local:
            self._upload(source, self._name(name))
        else:
            target = self.path(name)
            if move:
                target.parent.mkdir(parents=True, exist_ok=True)
                try:
                    source.replace(target)
                except OSError as error:
                    if error.errno != errno.EXDEV:
                        raise
                else:
                    return
            copy_atomic(source, target)
        if move:
            source.unlink()

    def _upload(self, source: Path, name: str) -> None:
        def pieces() -> Iterator[bytes]:
            with source.open("rb") as file:
                while block := file.read(BLOCK_BYTES):
                    yield block

        self._store.upload(name, pieces, source.stat().st_size)

    def get(self, name: str, target: Path, sha256: str | None = None) -> None:
        """Copy a file to ``target``, which appears whole and verified or not at all.

        Args:
            name: the file's name here.
            target: where to.
            sha256: that its bytes must have; None: not checked.

        Raises:
            FileNotFoundError: there is none.
            DamagedError: its bytes have another sha256.
        """
        if self.is_local:
            copy_atomic(self.path(name), target, sha256)
            return
        name = self._name(name)
        with _landing(target) as sink:

            def start() -> BinaryIO:
                sink.seek(0)
                sink.truncate()
                return sink

            _check(self.uri(name), self._store.download(name, start), sha256)

    def sha256(self, name: str) -> str:
        """Sha256 of a file's bytes, read in blocks.

        Raises:
            FileNotFoundError: there is none.
        """
        if self.is_local:
            return sha256_file(self.path(name))
        with Path(os.devnull).open("wb") as sink:
            return self._store.download(self._name(name), lambda: sink)

    def remove(self, name: str) -> None:
        """Remove a file; absent is fine."""
        if self.is_local:
            self.path(name).unlink(missing_ok=True)
        else:
            self._store.remove(self._name(name))

    def list(self, prefix: str) -> Iterator[Entry]:
        """Files below the folder ``prefix`` ("" for all), sorted by name."""
        if prefix:
            self._name(prefix)
        if self.is_local:
            return _walk(Path(self.root) / prefix, prefix)
        return self._store.list(prefix)

    def touch(self, name: str) -> None:
        """Mark a file as used; in a remote store, where this is not possible, nothing happens."""
        if not self.is_local:
            return
        try:
            os.utime(self.path(name))
        except FileNotFoundError:
            return
