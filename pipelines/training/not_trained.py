"""What stands in place of a model that the parameters do not ask for."""

from __future__ import annotations

from pathlib import Path

from dimitra.shards import json_bytes, write_atomic
from pipelines.runtime.progress import console


def write_marker(output: Path, stage: str, key: str, value: str, why: str) -> None:
    """Write that nothing was trained: no other stage reads the folder then.

    Args:
        output: the stage's folder; what it holds is removed.
        stage: its name.
        key: the parameter that decided so, ``sync.network``.
        value: of it.
        why: for a person.
    """
    output.mkdir(parents=True, exist_ok=True)
    for file in output.iterdir():
        file.unlink()
    write_atomic(output / "not_trained.json", json_bytes({key: value, "why": why}))
    console.print(f"{stage}: nothing to train, {key} is {value}")
