"""What lies in the work cache: records, shards, staged inputs; what may go, and what is damaged.

Reading (``read_contents``) is apart from deciding (``plan``), and deciding from removing.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Set
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from pipelines.stores.cache_references import checkouts, sidecars_below
from pipelines.stores.storage import Entry, Storage, is_temporary
from pipelines.stores.work_cache import dead_partials, read_record

GRACE_S = 86_400.0
"""A shard that nothing names may belong to a run under way: it is left alone for a day."""
_READS = 16
"""Records read at a time; each costs a remote store a round trip."""
_HASHES = 4
"""Objects read at a time to check them."""
_OBJECT = re.compile(r"objects/(?P<fan>[0-9a-f]{2})/(?P<sha256>(?P=fan)[0-9a-f]{62})\.tar")
_RECORD = re.compile(r"work/(?P<fan>[0-9a-f]{2})/(?P<key>(?P=fan)[0-9a-f]{62})\.json")
_STAGED = re.compile(r"(files/[0-9a-f]{2}|media)/[0-9a-f]{64}")
_STATE = re.compile(r"training/(?P<fan>[0-9a-f]{2})/(?P=fan)[0-9a-f]*/[0-9]{9}\.safetensors")
_OURS = re.compile(r"(objects|work)/[0-9a-f]{2}/[0-9a-f]{64}")


@dataclass(frozen=True)
class Record:
    """A finished unit in the cache.

    Attributes:
        entry: its file; ``modified_s`` is the last use in a local cache, the writing elsewhere.
        stage: that made it.
        sha256: of its shard.
        shard_bytes: size of its shard, as its sidecar has it.
        clips: clips in its shard.
    """

    entry: Entry
    stage: str
    sha256: str
    shard_bytes: int
    clips: int


@dataclass(frozen=True)
class Contents:
    """All that lies in a storage.

    Attributes:
        records: of finished units, by name.
        objects: shards by sha256.
        staged: inputs and weights that were put there for nodes that share no path.
        states: saved states of trainings that are not finished, or never will be.
        broken: records that cannot be read, and leftovers under names that only the cache uses.
        foreign: files that are not the cache's; never touched.
    """

    records: Mapping[str, Record] = field(default_factory=dict)
    objects: Mapping[str, Entry] = field(default_factory=dict)
    staged: tuple[Entry, ...] = ()
    broken: tuple[Entry, ...] = ()
    states: tuple[Entry, ...] = ()
    foreign: int = 0

    @property
    def size_bytes(self) -> int:
        """Of everything that is the cache's."""
        records = (record.entry for record in self.records.values())
        every = (*records, *self.objects.values(), *self.staged, *self.states, *self.broken)
        return sum(entry.size_bytes for entry in every)


def _read(storage: Storage, entry: Entry) -> Record | None:
    try:
        stage, finished = read_record(storage.read(entry.name))
    except ValueError:
        return None
    sidecar = finished.sidecar
    return Record(entry, stage, sidecar.sha256, sidecar.size_bytes, sidecar.clips)


def files_below(folder: Path) -> list[Entry]:
    """Files below a folder, temporary ones too."""
    found = []
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            status = path.stat()
            found.append(Entry(str(path), status.st_size, status.st_mtime))
    return found


def read_contents(
    storage: Storage, advance: Callable[[int, int], None] = lambda _done, _of: None
) -> Contents:
    """List a storage and read its records.

    Args:
        storage: where the cache lies.
        advance: told how many records have been read, and how many there are.

    Raises:
        StorageError: it cannot be reached, or refuses.
    """
    objects: dict[str, Entry] = {}
    names: list[Entry] = []
    staged: list[Entry] = []
    states: list[Entry] = []
    broken: list[Entry] = []
    foreign = 0
    for folder in ("objects", "work", "files", "media", "training"):
        for entry in storage.list(folder):
            if found := _OBJECT.fullmatch(entry.name):
                objects[found["sha256"]] = entry
            elif _RECORD.fullmatch(entry.name):
                names.append(entry)
            elif _STAGED.fullmatch(entry.name):
                staged.append(entry)
            elif _STATE.fullmatch(entry.name):
                states.append(entry)
            elif _OURS.match(entry.name):
                broken.append(entry)
            else:
                foreign += 1
    records: dict[str, Record] = {}
    with ThreadPoolExecutor(max_workers=_READS) as threads:
        read = threads.map(lambda entry: _read_if_there(storage, entry), names)
        for done, (entry, record) in enumerate(zip(names, read, strict=True), start=1):
            advance(done, len(names))
            if isinstance(record, Record):
                records[entry.name] = record
            elif record is None:
                broken.append(entry)
    return Contents(records, objects, tuple(staged), tuple(broken), tuple(states), foreign)


def _read_if_there(storage: Storage, entry: Entry) -> Record | FileNotFoundError | None:
    """The record; None where it is malformed; the error where it went since the listing."""
    try:
        return _read(storage, entry)
    except FileNotFoundError as error:
        return error


@dataclass(frozen=True)
class Plan:
    """What is to go; records are removed before shards.

    Attributes:
        records: names of records.
        objects: shards.
        others: staged inputs, states of trainings, broken records and leftovers.
        left_bytes: size of what stays.
    """

    records: tuple[Entry, ...]
    objects: tuple[Entry, ...]
    others: tuple[Entry, ...]
    left_bytes: int

    @property
    def entries(self) -> tuple[Entry, ...]:
        """All of it, in the order of removal."""
        return (*self.records, *self.others, *self.objects)

    @property
    def freed_bytes(self) -> int:
        """Size of all of it."""
        return sum(entry.size_bytes for entry in self.entries)


def plan(
    contents: Contents,
    named: Set[str],
    now_s: float,
    older_than_s: float | None = None,
    max_bytes: int | None = None,
) -> Plan:
    """Decide what goes.

    Unreferenced shards and broken records go once they are ``GRACE_S`` old. Records, staged inputs
    and states of trainings go, the least recently used first, while they are older than
    ``older_than_s`` or the cache is larger than ``max_bytes``, and with a record its shard unless
    another record names it.
    What a sidecar names (``named``) stays, with its records.

    Args:
        contents: of the cache.
        named: sha256 of shards that must stay.
        now_s: seconds since 1970.
        older_than_s: None: no limit.
        max_bytes: None: no limit.
    """
    users = Counter(record.sha256 for record in contents.records.values())
    orphans = [
        entry
        for sha256, entry in contents.objects.items()
        if sha256 not in named and sha256 not in users and now_s - entry.modified_s > GRACE_S
    ]
    others = [entry for entry in contents.broken if now_s - entry.modified_s > GRACE_S]
    left = contents.size_bytes - sum(entry.size_bytes for entry in (*orphans, *others))
    records: list[Entry] = []
    objects = list(orphans)
    candidates: list[tuple[Entry, str | None]] = [
        *((r.entry, r.sha256) for r in contents.records.values() if r.sha256 not in named),
        *((entry, None) for entry in (*contents.staged, *contents.states)),
    ]
    for entry, sha256 in sorted(candidates, key=lambda c: (c[0].modified_s, c[0].name)):
        old = older_than_s is not None and now_s - entry.modified_s > older_than_s
        if not old and (max_bytes is None or left <= max_bytes):
            continue
        left -= entry.size_bytes
        if sha256 is None:
            others.append(entry)
            continue
        records.append(entry)
        users[sha256] -= 1
        shard = contents.objects.get(sha256)
        if users[sha256] == 0 and shard is not None:
            objects.append(shard)
            left -= shard.size_bytes
    return Plan(tuple(records), tuple(objects), tuple(others), left)


def local_garbage(folder: Path, now_s: float, fetched_age_s: float) -> list[Path]:
    """What dead processes left in a local cache folder, and fetched copies long unused.

    What waits for MLflow counts as a copy: a process that ends removes its own.

    Args:
        folder: the cache folder.
        now_s: seconds since 1970.
        fetched_age_s: age of a fetched copy that is too old.
    """
    garbage = dead_partials(folder)
    for name in ("objects", "work", "files", "media", "fetched"):
        garbage += [
            path
            for path in sorted((folder / name).rglob(".*"))
            if is_temporary(path) and path.is_file() and now_s - path.stat().st_mtime > GRACE_S
        ]
    for copy in sorted([*(folder / "fetched").glob("*"), *(folder / "mlflow").glob("*")]):
        used = max((e.modified_s for e in files_below(copy)), default=copy.stat().st_mtime)
        if now_s - used > fetched_age_s:
            garbage.append(copy)
    return garbage


@dataclass(frozen=True)
class Findings:
    """What ``verify`` found.

    Attributes:
        read: shards and inputs whose bytes were read.
        damaged: entries whose bytes are not those of their name.
        dangling: names of records whose shard is absent or of another size.
        lost: sidecars in ``data/`` whose shard lies neither beside them nor in a remote storage.
    """

    read: int
    damaged: tuple[Entry, ...]
    dangling: tuple[str, ...]
    lost: tuple[Path, ...]


def examine(storage: Storage, contents: Contents, show: Callable[[int, int], None]) -> Findings:
    """Read every byte of the cache and compare.

    Args:
        storage: where it lies.
        contents: what lies there.
        show: told bytes done and bytes in all.

    Raises:
        StorageError: the storage cannot be reached.
    """
    expected = [(entry, sha256) for sha256, entry in contents.objects.items()]
    expected += [
        (entry, entry.name.rpartition("/")[2])
        for entry in contents.staged
        if entry.name.startswith("files/")
    ]
    total = sum(entry.size_bytes for entry, _ in expected)

    def whole(item: tuple[Entry, str]) -> bool | None:
        try:
            return storage.sha256(item[0].name) == item[1]
        except FileNotFoundError:  # removed since the listing
            return None

    damaged, done, read = [], 0, 0
    with ThreadPoolExecutor(max_workers=_HASHES) as threads:
        for (entry, _), good in zip(expected, threads.map(whole, expected), strict=True):
            done += entry.size_bytes
            show(done, total)
            read += good is not None
            if good is False:
                damaged.append(entry)
    dangling = []
    for name, record in contents.records.items():
        shard = contents.objects.get(record.sha256)
        if shard is None or shard.size_bytes != record.shard_bytes:
            dangling.append(name)
    lost: list[Path] = []
    if not storage.is_local:
        lost = [
            path
            for checkout in checkouts()
            for path, sha256 in sidecars_below(checkout / "data")
            if sha256 not in contents.objects and not path.with_suffix(".tar").exists()
        ]
    return Findings(read, tuple(damaged), tuple(dangling), tuple(lost))
