"""The raw datasets as an artefact: what the manifest and the quarantine table of ``ingest`` say.

Terabytes of video are not read again for a digest. Their sha256 stands in the manifest; ``crop``
refuses a file that has changed since.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from dimitra.lineage.record import Artefact
from dimitra.lineage.sides import read_table
from dimitra.lineage.tree import Entry, artefact_of
from dimitra.shards import sha256_file

MANIFEST = Path("data/manifest")
"""Output of ``ingest``."""
_TEXT_SUFFIX = "#transcript"


def _named(folder: Path, paths: Mapping[str, str]) -> Iterator[Entry]:
    """Entries of the manifest: videos, and the text that came with them."""
    columns = ["dataset", "path", "audio_path", "sha256", "transcript"]
    table = read_table(folder / "clips.parquet", columns)
    seen: set[str] = set()
    for row in table.to_pylist():
        files = [row["path"], *filter(None, [row["audio_path"]])]
        name = f"{paths[row['dataset']]}/{' + '.join(files)}"
        if name in seen:  # another interval of the same video
            continue
        seen.add(name)
        yield Entry(name, row["sha256"], 0, "raw")
        if row["transcript"] is not None:
            digest = hashlib.sha256(row["transcript"].encode()).hexdigest()
            yield Entry(f"{name}{_TEXT_SUFFIX}", digest, 0, "raw")


def _refused(folder: Path) -> Iterator[Entry]:
    """Entries of the quarantine table: files that were read and found bad."""
    for row in read_table(folder / "quarantine.parquet").to_pylist():
        if row["input_sha256"] is not None:
            yield Entry(f"{row['dataset']}/#{row['clip_id']}", row["input_sha256"], 0, "raw")


def _lists(root: Path, paths: Mapping[str, str], named: set[str]) -> Iterator[Entry]:
    """Lists and annotations: files at the top of a dataset that are no clips."""
    for path in sorted(set(paths.values())):
        for file in sorted((root / path).iterdir()) if (root / path).is_dir() else ():
            name = f"{path}/{file.name}"
            quiet = file.name.startswith(".") or name in named or file.suffix in _MEDIA
            if file.is_file() and not quiet:
                yield Entry(name, sha256_file(file), file.stat().st_size)


_MEDIA = {".mp4", ".mov", ".mkv", ".avi", ".webm", ".m4a", ".wav", ".flac", ".mp3"}


def read_datasets(
    root: str, sets: Mapping[str, Any], checkout: Path = Path(), manifest: Path | None = None
) -> Artefact:
    """The raw datasets of a run.

    Args:
        root: ``datasets.root``.
        sets: ``datasets.sets``: dataset to a mapping with its ``path`` below the root.
        checkout: folder of the run.
        manifest: output of ``ingest``; by default that of the checkout.

    Returns:
        The artefact; without a digest where ``ingest`` has not finished.
    """
    folder = checkout / MANIFEST if manifest is None else manifest
    if not (folder / "balance.json").is_file() or not (folder / "clips.parquet").is_file():
        return Artefact(root, None, 0)
    paths = {name: str(one["path"]) for name, one in sets.items()}
    videos = [*_named(folder, paths), *_refused(folder)]
    listed = _lists(checkout / root, paths, {entry.path for entry in videos})
    return artefact_of(root, [*videos, *listed])
