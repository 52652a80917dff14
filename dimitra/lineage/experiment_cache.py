"""What DVC's cache keeps of an experiment: its outputs, read as files, and the numbers in them.

An object of the cache lies under its md5; a folder is a JSON list of ``{md5, relpath}``.
"""

from __future__ import annotations

import configparser
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from dimitra.lineage.ablations import FILE
from dimitra.lineage.findings import Finding, absent, broken, short

METHOD = "dimitra_hp"
"""Row of the scores that a variant's numbers are."""
SCORES = "data/scores"
_CONFIGS = (".dvc/config.local", ".dvc/config")
_FOLDER = ".dir"


def cache_folder(root: Path) -> Path:
    """Where DVC keeps the objects of a checkout; ``cache.dir`` of its configuration is obeyed."""
    for name in _CONFIGS:
        config = configparser.ConfigParser(interpolation=None)
        config.read(root / name)
        if config.has_option("cache", "dir"):
            return root / ".dvc" / config.get("cache", "dir") / "files/md5"
    return root / ".dvc/cache/files/md5"


def read_object(root: Path, md5: str) -> bytes | None:
    """Bytes of an object; None where the cache does not have it.

    Raises:
        ValueError: its bytes are not those of its name.
    """
    place = cache_folder(root) / md5[:2] / md5[2:]
    if not place.is_file():
        return None
    data = place.read_bytes()
    found = hashlib.md5(data, usedforsecurity=False).hexdigest()
    if found != md5.removesuffix(_FOLDER):
        raise ValueError(
            f"object {short(md5)} of DVC's cache has md5 {short(found)}: it is damaged"
        )
    return data


def read_folder(root: Path, md5: str) -> dict[str, bytes] | None:
    """Files of a folder that the cache holds, by name; None where one is missing.

    Raises:
        ValueError: an object is damaged.
    """
    listing = read_object(root, md5)
    if listing is None:
        return None
    found = {}
    for one in json.loads(listing):
        data = read_object(root, str(one["md5"]))
        if data is None:
            return None
        found[str(one["relpath"])] = data
    return found


def read_scores(root: Path, lineage: Mapping[str, Any]) -> dict[str, Any] | None:
    """``data/scores`` of a variant: data set to content; None where the cache does not have it.

    Args:
        root: the checkout.
        lineage: of the variant.

    Raises:
        ValueError: an object is damaged.
    """
    files = read_folder(root, str(lineage["digests"].get(SCORES, "")))
    if files is None:
        return None
    return {Path(name).stem: json.loads(data) for name, data in files.items()}


def verify_variants(
    entries: Mapping[str, Any], wanted: Sequence[str], root: Path
) -> Iterator[Finding]:
    """Read every output of the experiments that is here, and compare their numbers.

    Args:
        entries: all variants.
        wanted: those to read.
        root: the checkout.
    """
    seen: set[str] = set()
    for key in wanted:
        lineage = entries[key]["lineage"]
        away = []
        for path, md5 in lineage["digests"].items():
            if md5 in seen:
                continue
            seen.add(md5)
            try:
                if read_folder(root, md5) is None:
                    away.append(path)
            except (KeyError, TypeError, ValueError) as error:
                yield broken(f"{FILE}#{key}", f"{path}: {error}")
        if away:
            yield absent(f"{FILE}#{key}", f"not in DVC's cache: {', '.join(away)}")
        yield from _check_numbers(key, entries[key], root)


def _check_numbers(key: str, entry: Mapping[str, Any], root: Path) -> Iterator[Finding]:
    try:
        scores = read_scores(root, entry["lineage"])
    except ValueError:  # told where objects are read
        return
    for dataset, content in (scores or {}).items():
        made = content["table"][METHOD]
        kept = entry["metrics"].get(dataset, {})
        for metric in sorted(made.keys() | kept.keys()):
            if made.get(metric) != kept.get(metric):
                yield broken(
                    f"{FILE}#{key}.{dataset}.{metric}",
                    f"{kept.get(metric)}; its scores have {made.get(metric)}",
                )
