"""Third-party weights and data: what they are, where they lie, their sha256 and licence.

A reference is what a parameter names weights by:

* the name of an asset of ``assets.yaml`` beside this module: ``dlib_68``;
* ``hf:owner/model@revision`` a model of the Hugging Face hub at a commit or a tag; with ``!path``
  behind it, one file of it;
* a path to a file or a folder: it holds a ``/``, or lies in the working folder.

Assets and models lie in a store shared by all checkouts (``platformdirs``; ``DIMITRA_ASSETS_DIR``
overrides it), under their sha256. Where ``assets.yaml`` cannot know it, it is pinned in
``weights.yaml`` when the bytes first arrive (``dimitra.weights``). ``dimitra.fetching`` brings
assets into the store.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from dimitra.shards import json_bytes, sha256_file, write_atomic
from dimitra.weights import AssetError, MissingAssetError, Pin, read_pins, store

__all__ = [
    "Archive",
    "Asset",
    "AssetError",
    "HubModel",
    "MissingAssetError",
    "State",
    "asset_path",
    "asset_sha256",
    "digest",
    "get_asset",
    "hub_model",
    "list_assets",
    "place",
    "remedy",
    "require",
    "store",
    "stored_version",
    "verify",
]

State = Literal["ok", "missing", "wrong", "not pinned"]

_HUB = re.compile(r"hf:(?P<repo>[\w.-]+/[\w.-]+)@(?P<revision>[\w./-]+?)(!(?P<member>.+))?")
_MOVING = ("main", "master", "HEAD")


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
class HubModel:
    """A model of the Hugging Face hub.

    Attributes:
        repo: ``owner/model``.
        revision: commit or tag.
        member: one file of it; None for all that loaders may read.
    """

    repo: str
    revision: str
    member: str | None = None


@dataclass(frozen=True)
class Asset:
    """One asset: of ``assets.yaml``, of the hub, or at a path.

    Attributes:
        name: its reference; for one of ``assets.yaml``, the key.
        purpose: which part of which profile uses it.
        sha256: of the file; for a folder, of the sorted lines ``<sha256>  <relative path>``. None
            until it is known.
        size_bytes: of the file, or of all files of the folder; None if unknown.
        licence: SPDX identifier or name.
        commercial: whether the licence allows commercial use; None if unknown.
        home: where to read about it.
        note: what a user must know about its terms; empty if nothing.
        sources: ordered.
        folder: the asset is a folder.
        profiles: profiles that need it.
        file: name of the file, where the sources do not tell.
        files: names that a folder must hold; ``a | b``: one of them.
        model_type: what ``config.json`` of a folder must call its model; None where it does not.
        path: where a user's own file or folder lies; None for what the store holds.
    """

    name: str
    purpose: str
    sha256: str | None
    size_bytes: int | None
    licence: str
    commercial: bool | None
    home: str
    note: str
    sources: tuple[str, ...]
    folder: bool
    profiles: tuple[str, ...]
    file: str | None = None
    files: tuple[str, ...] = ()
    model_type: str | None = None
    path: Path | None = None

    @property
    def file_name(self) -> str:
        """Name in the store: ``file``, or the last part of the first source."""
        if self.path is not None:
            return self.path.name
        if self.folder:
            return self.folder_name
        return self.file or PurePosixPath(self.sources[0].split("!")[-1]).name

    @property
    def folder_name(self) -> str:
        """The reference as the name of a folder."""
        return re.sub(r"[^\w.+-]+", "--", self.name)


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
            file=entry.get("file"),
            files=tuple(entry.get("files", ())),
            model_type=entry.get("model_type"),
        )
        for name, entry in content["assets"].items()
    }
    archives = {
        requirement: Archive(requirement=requirement, **entry)
        for requirement, entry in content["archives"].items()
    }
    return assets, archives


def archive(requirement: str) -> Archive:
    """The archive of ``assets.yaml`` with this requirement."""
    return _catalogue()[1][requirement]


def list_assets(profile: str | None = None) -> list[Asset]:
    """All assets, or those a profile needs, in the order of ``assets.yaml``."""
    names = [n for n, a in _catalogue()[0].items() if profile is None or profile in a.profiles]
    return [get_asset(name) for name in names]


def hub_model(reference: str, *, moving: bool = False) -> HubModel:
    """What ``hf:owner/model@revision`` names.

    Args:
        reference: with ``!path`` behind it, one file of the model.
        moving: a branch will do, because the commit that it leads to is pinned.

    Raises:
        AssetError: it is not of that form.
    """
    match = _HUB.fullmatch(reference)
    if match is None or ".." in reference:
        raise AssetError(
            f"{reference!r}: a model of the Hugging Face hub is written hf:owner/model@revision, "
            "where the revision is a commit of 40 hex digits or a tag; the model's page lists "
            "its commits under `Files and versions`, `History`"
        )
    if not moving and match["revision"] in _MOVING:
        raise AssetError(
            f"{reference!r}: {match['revision']!r} is a branch, which moves; give a commit of 40 "
            "hex digits or a tag instead"
        )
    return HubModel(match["repo"], match["revision"], match["member"])


def _at_hub(reference: str) -> Asset:
    model = hub_model(reference)
    return Asset(
        name=reference,
        purpose="a model of the Hugging Face hub",
        sha256=None,
        size_bytes=None,
        licence="see its page",
        commercial=None,
        home=f"https://huggingface.co/{model.repo}",
        note="",
        sources=(reference,),
        folder=model.member is None,
        profiles=(),
    )


def _at_path(reference: str) -> Asset:
    path = Path(reference).expanduser()
    return Asset(
        name=reference,
        purpose="given by path",
        sha256=None,
        size_bytes=None,
        licence="yours to know",
        commercial=None,
        home="",
        note="",
        sources=(),
        folder=path.is_dir(),
        profiles=(),
        path=path,
    )


def get_asset(reference: str) -> Asset:
    """The asset that a reference names, with its pin where it has one.

    Raises:
        AssetError: no such asset, or an ill-formed reference.
    """
    assets = _catalogue()[0]
    if reference in assets:
        asset = assets[reference]
        if asset.sha256 is not None:
            return asset
    elif reference.startswith("hf:"):
        asset = _at_hub(reference)
    elif "/" in reference or reference in read_pins() or Path(reference).exists():
        asset = _at_path(reference)
    else:
        raise AssetError(
            f"no asset is called {reference!r}, and no file or folder here; there are: "
            f"{', '.join(assets)}; a model of the Hugging Face hub is hf:owner/model@revision"
        )
    pin = read_pins().get(reference)
    return asset if pin is None else replace(asset, sha256=pin.sha256, size_bytes=pin.size_bytes)


def _place(asset: Asset) -> Path:
    version = (asset.sha256 or "unknown")[:16]
    return store() / asset.folder_name / version / asset.file_name


def is_safe(name: str) -> bool:
    """Whether a path inside a folder or an archive stays inside it."""
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts and "\\" not in name


def place(reference: str, part: str = "") -> Path:
    """Where an asset, or a file of a folder asset, lies in the store once it is there.

    A user's own path has a place in the store too: where nodes share no path, its bytes come there.

    Args:
        reference: of the asset.
        part: path inside a folder asset.

    Raises:
        AssetError: no such asset, or a path that leaves its folder.
    """
    if part and not is_safe(part):
        raise AssetError(f"asset {reference!r}: {part!r} leaves its folder")
    asset = get_asset(reference)
    if asset.path is not None and asset.sha256 is not None:
        # The path may be a file here and nothing on a node, whose parts tell which it is.
        return store() / "path" / asset.sha256[:16] / asset.file_name / part
    return _place(asset) / part


def remedy(asset: Asset) -> str:
    """What to do to have an asset."""
    if asset.path is not None:
        return f"put it at {asset.path}, or name another one in params.yaml"
    if any(not source.startswith("manual:") for source in asset.sources):
        return f"dimitra assets fetch {asset.name}"
    steps = "; ".join(source.removeprefix("manual:").strip() for source in asset.sources)
    return f"{steps}; then: dimitra assets add {asset.name} PATH"


def asset_path(reference: str) -> Path:
    """Where an asset lies.

    Raises:
        AssetError: no such asset.
        MissingAssetError: it is not here; the message says how to get it.
    """
    asset = get_asset(reference)
    path = place(reference)
    if asset.path is not None and (asset.sha256 is None or not path.exists()):
        path = asset.path
    if not path.exists():
        where = f"at {path}" if asset.sha256 or asset.path else f"in {store()}"
        raise MissingAssetError(
            f"asset {reference!r} ({asset.purpose}; licence {asset.licence}) is not {where}. "
            f"Get it with: {remedy(asset)}"
        )
    return path


def asset_sha256(reference: str) -> str:
    """Sha256 of an asset: recorded, pinned, or, for a path that is not pinned, of its bytes.

    Raises:
        AssetError: the asset is unknown, or its sha256 is.
        MissingAssetError: there is nothing at the path.
    """
    asset = get_asset(reference)
    if asset.sha256 is not None:
        return asset.sha256
    if asset.path is None:
        raise MissingAssetError(
            f"asset {reference!r} has no sha256 yet: it has never been here. Get it with: "
            f"{remedy(asset)}"
        )
    return digest(asset_path(reference))


def digest(path: Path) -> str:
    """Sha256 of a file, or of a folder's sorted lines ``<sha256>  <relative path>``."""
    if not path.is_dir():
        return sha256_file(path)
    lines = "".join(f"{sha256_file(path / name)}  {name}\n" for name in _files(path))
    return hashlib.sha256(lines.encode()).hexdigest()


def _files(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def stored_version(asset: Asset) -> tuple[Path, Pin] | None:
    """The one version of an asset without a pin that the store holds, and what its pin would be.

    None where it holds none, or several.
    """
    found = sorted((store() / asset.folder_name).glob("*/source.json"))
    if len(found) != 1:
        return None
    pin = Pin(**json.loads(found[0].read_text()))
    path = _place(replace(asset, sha256=pin.sha256))
    return (path, pin) if path.exists() else None


def verify(reference: str) -> State:
    """State of an asset; all bytes are read and hashed."""
    asset = get_asset(reference)
    if asset.path is None and asset.sha256 is None:
        return "missing" if stored_version(asset) is None else "not pinned"
    try:
        path = asset_path(reference)
    except MissingAssetError:
        return "missing"
    if asset.sha256 is None:
        return "not pinned"
    return "ok" if digest(path) == asset.sha256 else "wrong"


def _stamps(path: Path) -> list[list[str | int]]:
    """Name, size, inode, modification and change time of a file, or of all files of a folder."""
    rows: list[list[str | int]] = []
    for file in [path] if path.is_file() else [path / name for name in _files(path)]:
        status = file.stat()
        times = (status.st_mtime_ns, status.st_ctime_ns)
        rows.append([file.as_posix(), status.st_size, status.st_ino, *times])
    return rows


def _unchanged(path: Path, sha256: str) -> bool:
    """Whether the bytes at ``path`` have this digest; they are read where their stamps changed."""
    stamps = _stamps(path)
    key = hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:16]
    record = store() / ".checked" / f"{sha256[:16]}-{key}.json"
    try:
        if json.loads(record.read_bytes()) == {"sha256": sha256, "stamps": stamps}:
            return True
    except (OSError, ValueError):
        pass  # never checked, or a store that cannot be read: the bytes tell
    if digest(path) != sha256:
        return False
    with contextlib.suppress(OSError):  # a store that cannot be written: they are read again
        write_atomic(record, json_bytes({"sha256": sha256, "stamps": stamps}))
    return True


def require(references: Iterable[str]) -> None:
    """Check at the start that all weights are here, pinned, and of the right bytes.

    Raises:
        MissingAssetError: naming all that are not here, and how to get them.
        AssetError: one is unknown, not pinned, or of other bytes.
    """
    missing = []
    for reference in references:
        try:
            path = asset_path(reference)
        except MissingAssetError as error:
            missing.append(str(error))
            continue
        asset = get_asset(reference)
        if asset.sha256 is None:
            raise AssetError(
                f"weights {reference} are not pinned, so no one could tell later which bytes made "
                f"a number. Pin them with: dimitra assets pin {reference}; and commit weights.yaml"
            )
        if not _unchanged(path, asset.sha256):
            raise AssetError(
                f"weights {reference}: {path} holds other bytes (sha256 {digest(path)}) than "
                f"recorded ({asset.sha256}). "
                + (
                    f"If you changed them on purpose: dimitra assets pin --replace {reference}"
                    if asset.path is not None
                    else f"Remove {path} and get them again: {remedy(asset)}"
                )
            )
    if missing:
        raise MissingAssetError("\n".join(missing))
