"""Shards that a training reads, held against their sidecars."""

from __future__ import annotations

import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from dimitra.shards import sha256_file
from pipelines.errors import StageError

_READERS = 8
"""Shards that are read at once, at most: disks and processors are busy with as many."""


def check_shards(shards: Iterable[tuple[Path, str]]) -> None:
    """Read every shard and compare its sha256 with that which names the training.

    A training reads clips in any order, over hours; its inputs are read once from front to end
    before, which also brings them into the page cache.

    Args:
        shards: each with the sha256 of its sidecar.

    Raises:
        StageError: the bytes of a shard are others; names the first, and what to do.
        OSError: a shard cannot be read.
    """
    given = list(shards)
    with ThreadPoolExecutor(min(_READERS, os.cpu_count() or 1)) as pool:
        found = pool.map(sha256_file, [path for path, _ in given])
        for (path, sha256), held in zip(given, found, strict=True):
            if held != sha256:
                raise StageError(
                    f"{path} has sha256 {held[:16]}..., but its sidecar {path.stem}.json says "
                    f"{sha256[:16]}...: it was changed or damaged after its stage wrote it. Remove "
                    "it and run that stage again; what is finished comes from the work cache"
                )
