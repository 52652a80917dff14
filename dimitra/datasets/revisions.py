"""Inventories of a dataset as git, DVC's cache or a folder hold them.

A revision's inventory is a file in git. Where it is not there (an older revision, or an inventory
kept by DVC because the dataset is large), ``dvc.lock`` of the revision tells its digest, or that of
the manifest and the split, and DVC's cache holds the bytes if this machine has made or pulled them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa
import yaml

from dimitra.datasets.inventory import InventoryError, decode, digest, read, with_sides
from dimitra.datasets.summary import Summary, of_json
from dimitra.git_files import commit_of, git, shown

FOLDER = Path("inventory")
CLIPS = FOLDER / "clips.parquet"
SUMMARY = FOLDER / "dataset.json"
_MANIFEST = Path("data/manifest")
_SPLIT = Path("data/split")
_CACHE = Path(".dvc/cache/files/md5")


class RevisionError(ValueError):
    """Neither a folder nor a revision of git has the dataset."""


@dataclass(frozen=True)
class Revision:
    """A dataset as it is, or was.

    Attributes:
        name: as it was asked for.
        inventory: ``INVENTORY_SCHEMA``.
        summary: None where only a manifest was found.
        source: what was read, for a person.
    """

    name: str
    inventory: pa.Table
    summary: Summary | None
    source: str


def _outputs(lock: bytes, name: str) -> dict[str, str]:
    """Path of each output to its md5, as a ``dvc.lock`` has them."""
    try:
        stages = yaml.load(lock, yaml.CSafeLoader)["stages"]  # noqa: S506 - the safe one, in C
        return {
            out["path"]: out["md5"]
            for stage in stages.values()
            for out in stage.get("outs", [])
            if "md5" in out
        }
    except (yaml.YAMLError, TypeError, KeyError, AttributeError) as error:
        raise RevisionError(f"{name} is no dvc.lock: {error!r}") from None


class _Cache:
    """DVC's cache of a checkout, by the paths of one ``dvc.lock``."""

    def __init__(self, root: Path, outputs: dict[str, str]) -> None:
        self._root = root
        self._outputs = outputs

    def _object(self, md5: str) -> bytes | None:
        path = self._root / _CACHE / md5[:2] / md5[2:]
        return path.read_bytes() if path.is_file() else None

    def file(self, path: Path) -> bytes | None:
        """Bytes of an output, or of a file in an output that is a folder; None if not at hand."""
        md5 = self._outputs.get(path.as_posix())
        if md5 is not None:
            return self._object(md5)
        folder = self._outputs.get(path.parent.as_posix())
        listing = None if folder is None else self._object(folder)
        if listing is None:
            return None
        entries: list[dict[str, Any]] = json.loads(listing)
        for entry in entries:
            if PurePosixPath(entry["relpath"]) == PurePosixPath(path.name):
                return self._object(entry["md5"])
        return None


def _whole(name: str, table: pa.Table, summary: Summary | None, source: str) -> Revision:
    """A revision whose rows and summary belong together.

    Raises:
        InventoryError: they do not.
    """
    if summary is not None and summary.digest != digest(table):
        raise InventoryError(
            f"{source}: its rows have digest {digest(table)[:16]}..., but {SUMMARY.name} says "
            f"{summary.digest[:16]}...; one of the two was changed. `dvc repro shard` makes both"
        )
    return Revision(name, table, summary, source)


def _of_commit(root: Path, name: str, commit: str) -> Revision:
    clips, summary = shown(root, commit, CLIPS), shown(root, commit, SUMMARY)
    told = None if summary is None else of_json(summary, f"{name}:{SUMMARY}")
    if clips is not None:
        return _whole(name, decode(clips, f"{name}:{CLIPS}"), told, f"{CLIPS} of {name}")
    lock = shown(root, commit, Path("dvc.lock"))
    cache = _Cache(root, {} if lock is None else _outputs(lock, f"{name}:dvc.lock"))
    clips = cache.file(CLIPS)
    if clips is not None:
        table = decode(clips, f"{CLIPS} of {name}")
        return _whole(name, table, told, f"{CLIPS} of {name}, in DVC's cache")
    manifest, split = cache.file(_MANIFEST / "clips.parquet"), cache.file(_SPLIT / "split.parquet")
    if manifest is None:
        raise RevisionError(
            f"revision {name} has no {CLIPS}, and DVC's cache lacks the manifest that its dvc.lock "
            f"names; get it with `git checkout {name} && dvc pull`, or make it with `dvc repro`"
        )
    table = decode(manifest, f"manifest of {name}")
    if split is not None:
        table = with_sides(table, split, f"split of {name}")
    without = "" if split is not None else ", without its split"
    return Revision(name, table, None, f"the manifest of {name} in DVC's cache{without}")


def _of_path(path: Path) -> Revision:
    if path.is_file():
        table, found = read(path), path
    else:
        places = (path / CLIPS, path / "clips.parquet", path / _MANIFEST / "clips.parquet")
        existing = [place for place in places if place.is_file()]
        if not existing:
            raise RevisionError(
                f"{path} holds none of {', '.join(place.as_posix() for place in places)}"
            )
        found = existing[0]
        table = read(found)
    summary = found.with_name(SUMMARY.name)
    if summary.is_file():
        told = of_json(summary.read_bytes(), summary.as_posix())
        return _whole(path.as_posix(), table, told, found.as_posix())
    split = found.parent.parent / "split" / "split.parquet"
    if table["split"].null_count == table.num_rows and split.is_file():
        table = with_sides(table, split.read_bytes(), split.as_posix())
        return Revision(path.as_posix(), table, None, f"{found.as_posix()} and {split.as_posix()}")
    return Revision(path.as_posix(), table, None, found.as_posix())


def load(name: str, root: Path = Path()) -> Revision:
    """Find a dataset.

    Args:
        name: a folder (a checkout, ``inventory``, ``data/manifest``) or a Parquet file; else a
            revision of git. What exists as a path is taken as one.
        root: the checkout, which relative paths are below of.

    Raises:
        GitError: there is no such revision.
        RevisionError: it does not lead to an inventory.
        InventoryError: what was found is none, or its files do not belong together.
    """
    path = root / name
    if path.exists():
        return _of_path(path)
    return _of_commit(root, name, commit_of(root, name))


def committed(root: Path = Path()) -> Iterator[tuple[str, Summary]]:
    """Summaries that git has, newest first: commit and summary, one for each change of the file.

    Raises:
        GitError: there is no git.
        RevisionError: this is no repository.
    """
    log = git(root, "log", "--format=%H", "--", f"./{SUMMARY.as_posix()}")
    if log is None:
        raise RevisionError(f"{root.resolve()} is in no git repository, or it has no commit")
    for commit in log.decode().split():
        data = shown(root, commit, SUMMARY)
        if data is not None:
            yield commit, of_json(data, f"{commit[:12]}:{SUMMARY}")


def earlier(here: Summary, root: Path = Path()) -> str | None:
    """Newest commit whose dataset differs from this one in version, content or packing.

    None where git knows no other.
    """
    mine = (here.description.version, here.digest, here.shard_digests)
    for commit, summary in committed(root):
        if (summary.description.version, summary.digest, summary.shard_digests) != mine:
            return commit
    return None
