"""Where a worker finds its files: shared paths, or a folder of its own that it fills itself.

On one machine, or where all nodes mount the same folders, a worker reads what the driver names.
Where ``storage.root`` is a URI, nothing is shared: shards, raw videos, weights and corpus-wide
inputs come from the storage, the code from Ray's runtime environment, and the worker lays them
down under the same relative paths in a folder of its node.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from dimitra.assets import place
from dimitra.clips import Clip, ClipError, Reason
from pipelines.errors import ShardError
from pipelines.runtime.units import Unit
from pipelines.stores.storage import Storage
from pipelines.stores.work_cache import WorkCache, partial

NODE_FOLDER = "DIMITRA_CACHE_DIR"


@dataclass(frozen=True)
class Parcel:
    """What an actor needs before its first unit.

    Attributes:
        files: relative path to the name in the storage, of corpus-wide inputs.
        assets: asset name to (path inside the asset, name in the storage) pairs.
    """

    files: Mapping[str, str] = field(default_factory=dict)
    assets: Mapping[str, tuple[tuple[str, str], ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Delivery:
    """What an actor needs for one unit.

    Attributes:
        shards: relative path to sha256, of the shards it reads.
        media: relative path to the name in ``media_storage``, of raw files.
        inputs: relative path to the name in the storage, of plain files of the unit.
    """

    shards: Mapping[str, str] = field(default_factory=dict)
    media: Mapping[str, str] = field(default_factory=dict)
    inputs: Mapping[str, str] = field(default_factory=dict)


class Workspace(Protocol):
    """Where a worker finds its files."""

    @property
    def scratch(self) -> Path:
        """Folder for unfinished shards."""
        ...

    def settle(self, parcel: Parcel) -> None:
        """Prepare for the actor's life."""
        ...

    @contextmanager
    def unit(self, unit: Unit, delivery: Delivery) -> Iterator[None]:
        """Hold a unit's shards."""
        ...

    @contextmanager
    def media(self, clip: Clip, delivery: Delivery) -> Iterator[None]:
        """Hold a clip's raw files."""
        ...

    def leave(self) -> None:
        """Clean up."""
        ...


@dataclass(frozen=True)
class SharedWorkspace:
    """The driver's own folders.

    Attributes:
        folder: working folder of the driver.
        scratch: folder for unfinished shards.
    """

    folder: Path
    scratch: Path

    def settle(self, parcel: Parcel) -> None:  # noqa: ARG002 - by Workspace
        """Change into the driver's folder."""
        os.chdir(self.folder)

    @contextmanager
    def unit(self, unit: Unit, delivery: Delivery) -> Iterator[None]:  # noqa: ARG002
        """Everything is there."""
        yield

    @contextmanager
    def media(self, clip: Clip, delivery: Delivery) -> Iterator[None]:  # noqa: ARG002
        """Everything is there."""
        yield

    def leave(self) -> None:
        """The driver removes its scratch folder itself."""


def node_folder() -> Path:
    """Folder of this node for what its workers fetch; ``DIMITRA_CACHE_DIR`` overrides it."""
    override = os.environ.get(NODE_FOLDER)
    if override:
        return Path(override).resolve()
    import platformdirs

    return Path(platformdirs.user_cache_dir("dimitra")) / "node"


class NodeWorkspace:
    """A folder of the node, filled from the storage.

    Args:
        storage: holds shards, weights and corpus-wide inputs.
        media_storage: holds the raw files.
        roots: dataset to its folder, relative to the working folder.
    """

    def __init__(self, storage: Storage, media_storage: Storage, roots: Mapping[str, str]) -> None:
        self._storage = storage
        self._cache = WorkCache(storage)
        self._media_storage = media_storage
        self._roots = roots
        self._folder: Path | None = None

    @property
    def scratch(self) -> Path:
        """Folder for unfinished shards and everything fetched; dead workers' are removed."""
        if self._folder is None:
            self._folder = partial(node_folder())
        return self._folder

    def settle(self, parcel: Parcel) -> None:
        """Lay down weights and corpus-wide inputs, and change into the folder.

        Raises:
            StorageError: the storage cannot be reached, or holds other bytes.
            FileNotFoundError: it lacks a file.
        """
        work = self.scratch / "work"
        work.mkdir(parents=True, exist_ok=True)
        os.chdir(work)
        for path, name in parcel.files.items():
            self._storage.get(name, Path(path), sha256_of(name))
        for asset, parts in parcel.assets.items():
            for part, name in parts:
                target = place(asset, part)
                if not target.exists():
                    self._storage.get(name, target, sha256_of(name))

    @contextmanager
    def unit(self, unit: Unit, delivery: Delivery) -> Iterator[None]:
        """Fetch a unit's shards and other files, and remove them after.

        Raises:
            StorageError: the storage cannot be reached, or a shard's bytes are not those of its
                sidecar.
            ShardError: the storage lacks a shard.
        """
        paths = [Path(path) for path in (*delivery.shards, *delivery.inputs)]
        try:
            for given, name in delivery.inputs.items():
                self._storage.get(name, Path(given), sha256_of(name))
            for path, sha256 in zip(paths, delivery.shards.values(), strict=False):
                try:
                    self._cache.fetch_object(sha256, path)
                except FileNotFoundError:
                    raise ShardError(
                        f"{unit.name}: {self._storage.root} lacks {path} (sha256 {sha256}); run "
                        "the stage that makes it again"
                    ) from None
            yield
        finally:
            for path in paths:
                path.unlink(missing_ok=True)

    @contextmanager
    def media(self, clip: Clip, delivery: Delivery) -> Iterator[None]:
        """Fetch a clip's raw files where its stage reads any, and remove them after."""
        root = self._roots.get(clip.dataset)
        names = () if root is None else (clip.path, clip.audio_path)
        paths = [f"{root}/{name}" for name in names if name is not None]
        try:
            for path in paths:
                if path not in delivery.media:
                    continue  # it was missing when the unit was handed out: the worker says so
                _fetch(self._media_storage, delivery.media[path], Path(path))
            yield
        finally:
            for path in paths:
                Path(path).unlink(missing_ok=True)

    def leave(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self.scratch, ignore_errors=True)


def _fetch(storage: Storage, name: str, target: Path) -> None:
    """Fetch a raw file.

    Raises:
        ClipError: MISSING_FILE or BAD_NAME.
        StorageError: the storage cannot be reached.
    """
    try:
        storage.get(name, target)
    except FileNotFoundError:
        raise ClipError(Reason.MISSING_FILE, f"{target} is not at {storage.root}/{name}") from None
    except ValueError as error:
        raise ClipError(Reason.BAD_NAME, f"{str(target)!r}: {error}; rename it") from None


def file_name(sha256: str) -> str:
    """Name in the storage of a file with this digest."""
    return f"files/{sha256[:2]}/{sha256}"


def sha256_of(name: str) -> str:
    """Digest of ``file_name``."""
    return name.rpartition("/")[2]
