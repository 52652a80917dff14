"""The work cache: finished shards by the content they were made from.

DVC removes a stage's outputs before it runs. What was finished is therefore kept outside, in a
``Storage``: the shard's bytes as ``objects/<ab>/<sha256>.tar``, and a record
``work/<ab>/<key>.json`` with its sidecar and its quarantine rows, written last. When the same work
is asked for again, after a kill or after a change that touched other shards only, the record is
found and nothing is done twice.

Shards are copied between the cache and a DVC output, never hard-linked: DVC may itself link an
output into its own cache and set its permissions, and whoever edits an output in place would
otherwise change the cached shard behind its checksum. Where the file system can share blocks
(reflink), the copy costs no space.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import json
import os
import shutil
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from dimitra.shards import (
    Sidecar,
    json_bytes,
    list_sidecars,
    read_sidecar,
    sha256_file,
    sidecar_of,
    write_sidecar,
)
from pipelines.runtime.progress import console
from pipelines.runtime.quarantine import CIRCUMSTANCES, QuarantineRow
from pipelines.stores.checkout import cache_folder
from pipelines.stores.storage import DamagedError, Storage

_FETCHES = 4
"""Shards fetched at a time: enough to fill a line, few enough for one machine's disk."""


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


def record_bytes(finished: Finished, stage: str) -> bytes:
    """The record of a finished unit, as it is stored."""
    rows = [asdict(row) for row in sorted(finished.rows)]
    return json_bytes({"stage": stage, "sidecar": asdict(finished.sidecar), "rows": rows})


def read_record(data: bytes) -> tuple[str, Finished]:
    """Stage and finished unit of a record.

    Raises:
        ValueError: it is none.
    """
    try:
        values = json.loads(data)
        stage, sidecar = values["stage"], sidecar_of(values["sidecar"])
        rows = tuple(QuarantineRow(**row) for row in values["rows"])
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"no record of a finished unit: {error!r}") from None
    if not isinstance(stage, str) or not isinstance(sidecar.size_bytes, int):
        raise ValueError("no record of a finished unit: stage or size of the wrong type")
    return stage, Finished(sidecar, rows)


@dataclass(frozen=True)
class WorkCache:
    """Finished units in ``storage``, by key.

    Every method raises ``StorageError`` where the storage cannot be reached, or refuses.
    """

    storage: Storage

    @classmethod
    def of(cls, root: str | None) -> WorkCache:
        """The cache under ``storage.root`` of the parameters; by default the main checkout's."""
        return cls(Storage(root or str(cache_folder())))

    @staticmethod
    def object_name(sha256: str) -> str:
        """Name of a shard's bytes."""
        return f"objects/{sha256[:2]}/{sha256}.tar"

    @staticmethod
    def record_name(key: str) -> str:
        """Name of the record of the unit with this key."""
        return f"work/{key[:2]}/{key}.json"

    def probe(self) -> None:
        """Write and remove a small object: a bucket that does not exist, or lets nobody write.

        Locally nothing: there the first folder that is made says so.

        Raises:
            StorageError: naming the root and what to do.
        """
        if not self.storage.is_local:
            name = f"probe/{os.uname().nodename}-{os.getpid()}"
            self.storage.write(name, b"probe\n")
            self.storage.remove(name)

    def keep(self, shard: Path, finished: Finished, key: str, stage: str) -> None:
        """Move a finished shard into the cache, then write its record if it is lasting.

        Args:
            shard: the local tar; gone afterwards.
            finished: the unit.
            key: its work key.
            stage: stage name.

        Raises:
            FileNotFoundError: there is no such shard.
            OSError: the disk is full.
        """
        name = self.object_name(finished.sidecar.sha256)
        there = None if self.storage.is_local else self.storage.size(name)
        if there == finished.sidecar.size_bytes:
            shard.unlink()
        else:  # locally always: a rename costs nothing, and mends an object that was damaged
            self.storage.put(shard, name, move=True)
        if finished.lasting:
            self.storage.write(self.record_name(key), record_bytes(finished, stage))

    def find(self, key: str) -> Finished | None:
        """The unit with this key; None where its record or its object is not there.

        A record that cannot be read is dropped. The object's size is checked, its bytes are when
        they are fetched.
        """
        name = self.record_name(key)
        try:
            _, finished = read_record(self.storage.read(name))
        except FileNotFoundError:
            return None
        except ValueError:
            self.drop(key)
            return None
        sidecar = finished.sidecar
        if self.storage.size(self.object_name(sidecar.sha256)) != sidecar.size_bytes:
            return None
        self.storage.touch(name)
        return finished

    def fetch(self, sidecar: Sidecar, target: Path) -> None:
        """Copy a shard's bytes to ``target``, which appears whole and verified or not at all.

        Raises:
            FileNotFoundError: the cache does not hold them.
            DamagedError: they are damaged; they have been removed.
        """
        self.fetch_object(sidecar.sha256, target)

    def fetch_object(self, sha256: str, target: Path) -> None:
        """As ``fetch``, by digest."""
        name = self.object_name(sha256)
        try:
            self.storage.get(name, target, sha256)
        except DamagedError:
            self.storage.remove(name)
            raise

    def drop(self, key: str) -> None:
        """Remove a unit's record."""
        self.storage.remove(self.record_name(key))


def publish(cache: WorkCache, finished: Finished, name: str, output: Path) -> None:
    """Copy a finished shard and then its sidecar into a stage's output.

    Raises:
        FileNotFoundError: the cache does not hold its bytes.
        DamagedError: they are damaged; they have been removed.
    """
    shard = output / f"{name}.tar"
    cache.fetch(finished.sidecar, shard)
    write_sidecar(shard, finished.sidecar)


def local_shards(
    folder: Path, cache: WorkCache, clip_ids: Collection[str] | None = None
) -> list[Path]:
    """Every finished shard of a stage's output as a local file, sorted by name.

    A shard that does not lie beside its sidecar is fetched once, into
    ``<cache folder>/fetched/<sha256>/``, with a sidecar beside it.

    Args:
        folder: the stage's output.
        cache: where the shards are.
        clip_ids: only the shards that hold one of these clips.

    Raises:
        FileNotFoundError: the storage does not hold one of them.
        DamagedError: what it holds is damaged.
    """
    wanted = None if clip_ids is None else set(clip_ids)
    places: dict[Path, Path] = {}
    missing: dict[Path, Sidecar] = {}
    for shard, sidecar in list_sidecars(folder).items():
        if wanted is not None and wanted.isdisjoint(sidecar.clip_ids):
            continue
        place = shard
        if not shard.exists():
            place = cache_folder() / "fetched" / sidecar.sha256 / shard.name
            if place.is_file() and place.stat().st_size == sidecar.size_bytes:
                os.utime(place)
            else:
                missing[place] = sidecar
        places[shard] = place
    if missing:
        _fetch_all(missing, cache, folder)
    return list(places.values())


def local_shard(shard: Path, cache: WorkCache) -> Path:
    """One finished shard as a local file; see ``local_shards``."""
    sidecar = read_sidecar(shard)
    if shard.exists() or not sidecar.clip_ids:
        return shard
    return local_shards(shard.parent, cache, sidecar.clip_ids[:1])[0]


def _fetch_all(missing: Mapping[Path, Sidecar], cache: WorkCache, folder: Path) -> None:
    """Fetch shards, several at a time, with a progress bar."""

    def fetch(place: Path, sidecar: Sidecar) -> int:
        try:
            cache.fetch(sidecar, place)
        except FileNotFoundError as error:
            raise FileNotFoundError(
                f"{error}. It is the shard of {folder / place.with_suffix('.json').name}: "
                "run the stage that makes it again"
            ) from None
        write_sidecar(place, sidecar)
        return sidecar.size_bytes

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    total = sum(sidecar.size_bytes for sidecar in missing.values())
    with (
        Progress(*columns, console=console, disable=not console.is_terminal) as progress,
        ThreadPoolExecutor(max_workers=_FETCHES) as threads,
    ):
        task = progress.add_task(f"fetching {folder}", total=total)
        waiting = [threads.submit(fetch, *item) for item in missing.items()]
        try:
            for future in waiting:
                progress.advance(task, future.result())
        finally:
            for future in waiting:
                future.cancel()


def partial(root: Path) -> Path:
    """A folder under ``root`` for this process's unfinished shards; dead processes' are removed."""
    base = root / "partial"
    base.mkdir(parents=True, exist_ok=True)
    for folder in dead_partials(root):
        shutil.rmtree(folder, ignore_errors=True)
    own = base / f"{os.uname().nodename}-{os.getpid()}"
    own.mkdir(exist_ok=True)
    return own


def dead_partials(root: Path) -> list[Path]:
    """Folders of unfinished shards whose process, on this machine, is no more."""
    dead = []
    for folder in sorted((root / "partial").glob("*")):
        host, _, process = folder.name.rpartition("-")
        if host == os.uname().nodename and not Path(f"/proc/{process}").exists():
            dead.append(folder)
    return dead


def work_key(parts: Mapping[str, Any]) -> str:
    """Key of a unit: sha256 over everything that its bytes depend on."""
    return digest_of(dict(parts))
