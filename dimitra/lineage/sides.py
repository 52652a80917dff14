"""What train and test of each dataset hold, in a form small enough to be committed.

The sets themselves stand in ``data/split/split.parquet``. A record keeps their counts and digests,
and how many identities and source videos both sides share: none.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

TABLE = Path("data/split/split.parquet")
KINDS = {"identities": "identity", "source_videos": "source_video"}
"""What two sides must not share, to its column of the split table."""


def read_table(path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """A Parquet file; without the dataset machinery of ``pq.read_table``, which imports pandas.

    Args:
        path: of the file.
        columns: all where None.
    """
    with pq.ParquetFile(path) as file:
        return file.read(columns=None if columns is None else list(columns))


def set_digest(names: Collection[str]) -> str:
    """Sha256 of the sorted names, one a line."""
    return hashlib.sha256("".join(f"{name}\n" for name in sorted(names)).encode()).hexdigest()


def describe_sides(rows: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Counts and digests of both sides of each dataset, and what they share.

    Args:
        rows: of the split table: ``dataset``, ``split``, ``identity``, ``source_video``.

    Returns:
        dataset to ``{train: {clips, identities, identities_sha256, source_videos,
        source_videos_sha256}, test: {...}, shared: {identities, source_videos}}``.
    """
    clips: dict[str, dict[str, int]] = defaultdict(lambda: {"train": 0, "test": 0})
    sets: dict[tuple[str, str, str], set[str]] = defaultdict(set)
    for row in rows:
        clips[row["dataset"]][row["split"]] += 1
        for kind, column in KINDS.items():
            sets[row["dataset"], row["split"], kind].add(row[column])
    found: dict[str, Any] = {}
    for dataset, counts in sorted(clips.items()):
        found[dataset] = {
            side: {"clips": count}
            | {kind: len(sets[dataset, side, kind]) for kind in KINDS}
            | {f"{kind}_sha256": set_digest(sets[dataset, side, kind]) for kind in KINDS}
            for side, count in counts.items()
        }
        found[dataset]["shared"] = {
            kind: len(sets[dataset, "train", kind] & sets[dataset, "test", kind]) for kind in KINDS
        }
    return found


def read_sides(path: Path) -> dict[str, Any]:
    """Sides of a split table; see ``describe_sides``.

    Raises:
        FileNotFoundError: there is no such table.
    """
    return describe_sides(read_table(path, ["dataset", "split", *KINDS.values()]).to_pylist())
