"""The files that an evaluation leaves: the per-clip table and the summary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from dimitra.evaluation.files import Files
from dimitra.evaluation.rows import SCHEMA, Row, balance, csv_text, table_rows
from dimitra.evaluation.summary import numbers
from dimitra.shards import json_bytes, sha256_file, write_atomic

FILES = ("summary.json", "clips.csv", "clips.parquet")
IDENTITY = b"dimitra.evaluation"
"""Key of the summary's identity in the metadata of ``clips.parquet``."""


def digest_of_input(path: Path) -> str:
    """Sha256 of a file that was not measured; where it cannot be read, why."""
    try:
        return sha256_file(path) if path.is_file() else "no file"
    except OSError as error:
        return f"not readable: {error.strerror}"


def write(
    output: Path,
    rows: Sequence[Row],
    files: Files,
    digests: Mapping[str, str],
    facts: Mapping[str, Any],
    seed: int,
) -> dict[str, Any]:
    """Write ``clips.parquet``, ``clips.csv`` and ``summary.json``; the latter is returned.

    Args:
        output: folder; is made, files of these names are replaced.
        rows: of every file, sorted.
        files: what went in.
        digests: file to the sha256 of the bytes that were measured.
        facts: what the numbers are numbers of; ``sha256`` is kept in the table too.
        seed: of bootstrap and permutations.

    Raises:
        UnbalancedError: rows and files do not add up.
    """
    methods = list(files.generated)
    counts = balance(
        rows,
        len(files.references),
        {method: len(videos) for method, videos in files.generated.items()},
    )
    inputs = {str(path): digest_of_input(path) for path in files.every if str(path) not in digests}
    affixes = {
        method: {"prefix": one.prefix, "suffix": one.suffix}
        for method, one in files.matchings.items()
    }
    summary = {
        **facts,
        "counts": counts,
        "matching": affixes,
        **numbers(rows, methods, seed),
        "inputs": dict(sorted({**digests, **inputs}.items())),
    }
    sink = pa.BufferOutputStream()
    schema = SCHEMA.with_metadata({IDENTITY: str(facts["sha256"]).encode()})
    pq.write_table(pa.Table.from_pylist(table_rows(rows), schema), sink)
    write_atomic(output / "clips.parquet", sink.getvalue().to_pybytes())
    write_atomic(output / "clips.csv", csv_text(rows).encode())
    write_atomic(output / "summary.json", json_bytes(summary))
    return summary
