"""The driver's side of nodes that share no path: puts what they need into the storage."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dimitra.assets import asset_path
from dimitra.clips import Clip
from dimitra.shards import read_sidecar, sha256_file
from dimitra.weights import weights_file
from pipelines.closure import ROOT, closure
from pipelines.errors import JobError
from pipelines.runtime.units import Unit
from pipelines.runtime.workspace import Delivery, Parcel, file_name
from pipelines.stores.storage import Storage
from pipelines.stores.work_cache import WorkCache, digest_of

_ALWAYS = ("pipelines.runtime.actor", "pipelines.runtime.in_flight")
_CATALOGUE = "dimitra/assets.yaml"


def stamp(path: Path) -> list[str | int]:
    """Path, size, inode, modification and change time of a file; the path alone without it.

    They stand for the bytes of files that have not been read yet, as they do for DVC and git. The
    change time cannot be set by hand, so an edit that restores the modification time is seen too.
    """
    try:
        status = path.stat()
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EACCES):
            return [path.as_posix()]
        raise
    times = (status.st_mtime_ns, status.st_ctime_ns)
    return [path.as_posix(), status.st_size, status.st_ino, *times]


def relative(path: Path) -> str:
    """A path as the nodes will have it.

    Raises:
        JobError: it does not lie below the working folder.
    """
    if path.is_absolute() or ".." in path.parts:
        raise JobError(
            f"{path}: where nodes share no path (storage.root is a URI), every folder of "
            "params.yaml must lie below the working folder and be given relative to it"
        )
    return path.as_posix()


@dataclass(frozen=True)
class Staging:
    """Puts inputs into the storage, each once.

    Attributes:
        storage: the cluster's.
        roots: dataset to the folder of its raw files; empty for stages that read none.
        media: URI of a copy of the raw files, with the same relative paths; None to have the
            driver put them into the storage.
    """

    storage: Storage
    roots: Mapping[str, str]
    media: str | None = None

    @property
    def media_storage(self) -> Storage:
        """Where workers find raw files."""
        return self.storage if self.media is None else Storage(self.media)

    def _file(self, path: Path) -> str:
        name = file_name(sha256_file(path))
        if self.storage.size(name) != path.stat().st_size:
            self.storage.put(path, name)
        return name

    def parcel(self, inputs: Iterable[Path], assets: Iterable[str]) -> Parcel:
        """Put corpus-wide inputs and weights into the storage.

        Raises:
            StorageError: it cannot be reached.
            FileNotFoundError: an input is missing.
            MissingAssetError: weights are missing.
        """
        files = {
            relative(path): self._file(path)
            for given in inputs
            for path in ([given] if given.is_file() else sorted(given.rglob("*")))
            if path.is_file()
        }
        parts: dict[str, tuple[tuple[str, str], ...]] = {}
        for asset in assets:
            root = asset_path(asset)
            if root.is_file():
                parts[asset] = (("", self._file(root)),)
            else:
                inner = sorted(path for path in root.rglob("*") if path.is_file())
                parts[asset] = tuple(
                    (path.relative_to(root).as_posix(), self._file(path)) for path in inner
                )
        return Parcel(files, parts)

    def deliver(self, unit: Unit) -> Delivery:
        """Put what one unit reads into the storage, where it is not there yet.

        Raises:
            StorageError: it cannot be reached.
            JobError: a shard is neither in the storage nor here.
        """
        shards = {relative(path): self._shard(path) for path in (*unit.reads, *unit.files)}
        media = {}
        for clip in unit.clips if self.roots else ():
            media.update(self._media(clip))
        return Delivery(shards, media, {relative(path): self._file(path) for path in unit.inputs})

    def _shard(self, path: Path) -> str:
        sidecar = read_sidecar(path)
        name = WorkCache.object_name(sidecar.sha256)
        if self.storage.size(name) != sidecar.size_bytes:
            if not path.exists():
                raise JobError(
                    f"{path} is neither here nor in {self.storage.root}; run the stage that makes "
                    "it again"
                )
            self.storage.put(path, name)
        return sidecar.sha256

    def _media(self, clip: Clip) -> dict[str, str]:
        root = Path(self.roots[clip.dataset])
        names = {}
        for name in (clip.path, clip.audio_path):
            if name is None:
                continue
            path = root / name
            if self.media is not None:
                names[relative(path)] = path.as_posix()
            elif path.is_file():
                stored = f"media/{digest_of(stamp(path))}"
                if self.storage.size(stored) != path.stat().st_size:
                    self.storage.put(path, stored)
                names[relative(path)] = stored
        return names


def copy_code(modules: Sequence[str], folder: Path) -> None:
    """Copy the import closures of modules into a folder, for Ray's runtime environment.

    The pins of the weights go with it: they tell a node which bytes a reference stands for.
    """
    files = {path for module in (*_ALWAYS, *modules) for path in closure(module)}
    for path in sorted({*files, Path(_CATALOGUE)}):
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / path, target)
    pins = weights_file()
    if pins.is_file():
        shutil.copy2(pins, folder / "weights.yaml")
