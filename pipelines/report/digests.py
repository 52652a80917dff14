"""Digests of what the numbers were made from, computed from the files of the run."""

from __future__ import annotations

import json
from pathlib import Path

from dimitra.metrics.version import code_digest
from dimitra.shards import sha256_file

FILES = {
    "data/manifest/clips.parquet": "manifest",
    "data/shards/index.parquet": "shard index",
    "models/lips/model.safetensors": "lips model",
    "models/expression/model.safetensors": "expression model",
    "models/pose/model.safetensors": "pose model",
    "models/all/model.safetensors": "joint model",
    "evaluators/sync/model.safetensors": "SyncNet, trained",
}
SPLIT = Path("data/split/split.json")


def file_digests(root: Path) -> dict[str, str]:
    """File to sha256, of those of ``FILES`` that there are."""
    return {file: sha256_file(root / file) for file in FILES if (root / file).is_file()}


def split_digest(root: Path) -> str:
    """Of the split, as its stage has written it."""
    return str(json.loads((root / SPLIT).read_text())["digest"])


def listed(root: Path, digests: dict[str, str]) -> list[tuple[str, str, str]]:
    """Name, file and digest, the split and the metric code among them."""
    return [
        ("split", SPLIT.as_posix(), f"sha256 {split_digest(root)}"),
        ("metric code", "dimitra/metrics", f"sha256 {code_digest()}"),
        *((FILES[file], file, f"sha256 {digest}") for file, digest in digests.items()),
    ]
