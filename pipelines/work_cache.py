"""The work cache: finished shards by the content they were made from.

DVC removes a stage's outputs before it runs. What was finished is therefore kept outside, in
``.cache/dimitra/work/<key>/``, and copied back when the same work is asked for again: after a
kill, or after a change that touched other shards only.

Shards are copied between the cache and a DVC output, never hard-linked: DVC may itself link an
output into its own cache and set its permissions, and whoever edits an output in place would
otherwise change the cached shard behind its checksum. Where the file system can share blocks
(reflink), the copy costs no space.
"""

from __future__ import annotations

import errno
import fcntl
import functools
import hashlib
import importlib.metadata
import json
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from dimitra.shards import (
    Sidecar,
    json_bytes,
    read_sidecar,
    sha256_file,
    sidecar_path,
    write_atomic,
)
from pipelines.quarantine import CIRCUMSTANCES, QuarantineRow

_FICLONE = 0x40049409
_ROWS = "rows.json"


@dataclass(frozen=True)
class Finished:
    """A finished unit.

    Attributes:
        sidecar: of its shard.
        rows: its quarantined clips.
    """

    sidecar: Sidecar
    rows: tuple[QuarantineRow, ...]

    @property
    def lasting(self) -> bool:
        """Whether another run on another machine would find the same clips bad."""
        return not any(row.reason in CIRCUMSTANCES for row in self.rows)


def digest_of(value: Any) -> str:
    """Sha256 of a JSON value in canonical form.

    Raises:
        TypeError: the value holds something that JSON cannot.
    """
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def digest_path(path: Path) -> str:
    """Sha256 of a file, or of the names and digests of all files below a folder.

    Raises:
        FileNotFoundError: there is no such path.
    """
    if path.is_file():
        return sha256_file(path)
    if not path.is_dir():
        raise FileNotFoundError(f"{path} does not exist; run the stage that makes it")
    files = sorted(p for p in path.rglob("*") if p.is_file())
    return digest_of([[p.relative_to(path).as_posix(), sha256_file(p)] for p in files])


@functools.cache
def package_version(name: str) -> str:
    """Version of an installed distribution.

    Raises:
        importlib.metadata.PackageNotFoundError: it is not installed.
    """
    return importlib.metadata.version(name)


def copy_atomic(source: Path, target: Path) -> None:
    """Copy a file to ``target`` (reflink where possible) so that a reader sees all or nothing."""
    target.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(descriptor, "wb") as sink, source.open("rb") as origin:
            try:
                fcntl.ioctl(sink.fileno(), _FICLONE, origin.fileno())
            except OSError as error:
                if error.errno in (errno.ENOSPC, errno.EDQUOT):
                    raise
                shutil.copyfileobj(origin, sink, 1 << 20)
            sink.flush()
            os.fsync(sink.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(target)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def publish(folder: Path, name: str, output: Path) -> None:
    """Copy a finished shard and then its sidecar from ``folder`` into a stage's output."""
    shard = folder / f"{name}.tar"
    copy_atomic(shard, output / shard.name)
    copy_atomic(sidecar_path(shard), sidecar_path(output / shard.name))


def write_rows(folder: Path, rows: Sequence[QuarantineRow]) -> None:
    """Write a unit's quarantine rows beside its shard."""
    write_atomic(folder / _ROWS, json_bytes([asdict(row) for row in sorted(rows)]))


def read_finished(folder: Path, name: str) -> Finished:
    """A finished unit as it lies in ``folder``.

    Raises:
        FileNotFoundError: it is not there, or not finished.
    """
    rows = tuple(QuarantineRow(**row) for row in json.loads((folder / _ROWS).read_text()))
    return Finished(read_sidecar(folder / f"{name}.tar"), rows)


@dataclass(frozen=True)
class WorkCache:
    """Finished units under ``root``, by key."""

    root: Path

    def folder(self, key: str) -> Path:
        """Where the unit with this key lies if it is there."""
        return self.root / "work" / key[:2] / key

    def keep(self, folder: Path, key: str) -> None:
        """Move a finished unit into the cache; whoever came first wins."""
        target = self.folder(key)
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            folder.rename(target)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            shutil.rmtree(folder)

    def restore(self, key: str, name: str, output: Path) -> Finished | None:
        """Copy the unit with this key into ``output``; None where the cache does not hold it.

        The copied bytes are checked against the sidecar: an entry that was damaged is dropped.
        """
        folder = self.folder(key)
        try:
            finished = read_finished(folder, name)
            publish(folder, name, output)
        except (FileNotFoundError, json.JSONDecodeError, TypeError):
            return None
        if sha256_file(output / f"{name}.tar") != finished.sidecar.sha256:
            for path in (output / f"{name}.tar", output / f"{name}.json"):
                path.unlink(missing_ok=True)
            shutil.rmtree(folder)
            return None
        return finished

    def partial(self) -> Path:
        """A folder for this process's unfinished shards; those of dead processes are removed."""
        base = self.root / "partial"
        base.mkdir(parents=True, exist_ok=True)
        for folder in base.iterdir():
            host, _, process = folder.name.rpartition("-")
            if host == os.uname().nodename and not Path(f"/proc/{process}").exists():
                shutil.rmtree(folder, ignore_errors=True)
        own = base / f"{os.uname().nodename}-{os.getpid()}"
        own.mkdir(exist_ok=True)
        return own


def work_key(parts: Mapping[str, Any]) -> str:
    """Key of a unit: sha256 over everything that its bytes depend on."""
    return digest_of(dict(parts))
