"""The balance of a folder that a test writes in an earlier stage's place."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from dimitra.shards import json_bytes, list_sidecars, write_atomic
from pipelines.runtime.quarantine import Balance


def write_balance(folder: Path, stage: str = "toy", clips: int | None = None) -> None:
    """Write ``balance.json`` of a stage without a bad clip.

    Args:
        folder: the stage's output; its shards are there already.
        stage: stage name.
        clips: how many came out; by default those of the sidecars.
    """
    if clips is None:
        clips = sum(sidecar.clips for sidecar in list_sidecars(folder).values())
    balance = Balance(stage, clips, clips, 0, {}, 0.0)
    write_atomic(folder / "balance.json", json_bytes(asdict(balance)))
