"""What became of a clip: every shard and every metric that it entered, or where it was set aside.

Shards, manifest and quarantine tables lie in ``data/``; the per-clip tables are committed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pyarrow import compute

from dimitra.lineage.findings import Finding, absent, broken, short
from dimitra.lineage.graph import Graph
from dimitra.lineage.raw import MANIFEST
from dimitra.lineage.record import LineageError, LineageRecord
from dimitra.lineage.sides import TABLE, read_table
from dimitra.shards import Sidecar, list_sidecars

_CLIP_TABLES = Path("metrics/clips")
_KEYS = {"clip_id", "dataset", "identity", "method", "frames", "missed", "dropped"}


@dataclass
class ClipHistory:
    """What is known of a clip.

    Attributes:
        clip_id: which.
        source: its manifest row; None where the manifest is not here, or does not name it.
        side: ``train`` or ``test``; None where neither, or where it is not known.
        shards: where it lies: stage, path and sha256 of each shard, in the order of the pipeline.
        quarantined: rows of quarantine tables: stage, reason, message.
        metrics: dataset, method, values and why it was dropped, of each row of a per-clip table.
        findings: what does not hold, and what is not here.
    """

    clip_id: str
    source: dict[str, Any] | None = None
    side: str | None = None
    shards: list[dict[str, str]] = field(default_factory=list)
    quarantined: list[dict[str, Any]] = field(default_factory=list)
    metrics: list[dict[str, Any]] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    @property
    def known(self) -> bool:
        """Whether anything names it."""
        return bool(self.source or self.shards or self.quarantined or self.metrics)


def _rows(path: Path, clip_id: str) -> list[dict[str, Any]]:
    """Rows of a Parquet file that are of a clip.

    Raises:
        LineageError: it is damaged.
    """
    try:
        table = read_table(path)
    except (OSError, ValueError) as error:
        raise LineageError(f"{path} cannot be read, it is damaged: {error}") from None
    found: list[dict[str, Any]] = table.filter(compute.equal(table["clip_id"], clip_id)).to_pylist()
    return found


def _sidecars(folder: Path) -> dict[Path, Sidecar]:
    try:
        return list_sidecars(folder)
    except (KeyError, TypeError, ValueError) as error:
        raise LineageError(f"{folder} holds a damaged JSON file: {error}") from None


def _json(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_bytes()))
    except ValueError as error:
        raise LineageError(f"{path} cannot be read, it is damaged: {error}") from None


def clips_of_video(path: str, ingest: LineageRecord, root: Path) -> list[str]:
    """Clips of a raw video, those that were refused among them.

    Args:
        path: of the video, relative to the checkout.
        ingest: the record.
        root: the checkout.

    Raises:
        LineageError: the manifest is not here.
    """
    manifest = root / MANIFEST / "clips.parquet"
    if not manifest.is_file():
        raise LineageError(
            f"{MANIFEST} is not here, which tells the clips of {path}: dvc repro ingest"
        )
    base = str(ingest.params["datasets.root"])
    table = read_table(manifest, ["clip_id", "dataset", "path", "audio_path"])
    found = []
    for row in table.to_pylist():
        key = f"datasets.sets.{row['dataset']}.path"
        folder = f"{base}/{ingest.params[key]}"
        names = [row["path"], *filter(None, [row["audio_path"]])]
        if path in [f"{folder}/{name}" for name in names]:
            found.append(row["clip_id"])
    refused = read_table(root / MANIFEST / "quarantine.parquet").to_pylist()
    for row in refused:
        key = f"datasets.sets.{row['dataset']}.path"
        folder = f"{base}/{ingest.params[key]}/"
        if path.startswith(folder) and names_path(row["message"], path.removeprefix(folder)):
            found.append(row["clip_id"])
    return sorted(found)


def names_path(message: str, path: str) -> bool:
    """Whether a message names this path, and not one that it is a part of."""
    return re.search(rf"(?<![\w./-]){re.escape(path)}(?![\w/-]|\.\w)", message) is not None


def _in_shards(
    record: LineageRecord, clip_id: str, root: Path
) -> Iterator[dict[str, str] | Finding]:
    recorded = {shard.path: shard.sha256 for shard in record.shards}
    for output in record.outputs:
        folder = root / output.path
        if not folder.is_dir():
            if any(path.startswith(f"{output.path}/") for path in recorded):
                yield absent(output.path, f"output of {record.stage}")
            continue
        for path, sidecar in _sidecars(folder).items():
            if clip_id not in sidecar.clip_ids:
                continue
            name = f"{output.path}/{path.name}"
            if recorded.get(name) != sidecar.sha256:
                yield broken(
                    name,
                    f"its sidecar tells sha256 {short(sidecar.sha256)}, the record of "
                    f"{record.stage} says {short(recorded.get(name))}",
                )
            yield {"stage": record.stage, "shard": name, "sha256": sidecar.sha256}


def _in_scores(record: LineageRecord, clip_id: str, root: Path) -> Iterator[dict[str, str]]:
    """Files of records, clip by clip, that are no shards: those of ``score``."""
    for output in record.outputs:
        for name, digest in output.files.items():
            place = root / output.path / name
            if output.path != "data/scores" or not place.is_file():
                continue
            clips = _json(place).get("clips", [])
            if any(one.get("clip_id") == clip_id for one in clips):
                path = f"{output.path}/{name}"
                yield {"stage": record.stage, "shard": path, "sha256": digest}


def _in_quarantine(record: LineageRecord, clip_id: str, root: Path) -> Iterator[dict[str, Any]]:
    for output in record.outputs:
        path = root / output.path / "quarantine.parquet"
        if path.is_file():
            for row in _rows(path, clip_id):
                yield {"stage": row["stage"], "reason": row["reason"], "message": row["message"]}


def _in_metrics(clip_id: str, root: Path) -> Iterator[dict[str, Any]]:
    for path in sorted((root / _CLIP_TABLES).glob("*.parquet")):
        for row in _rows(path, clip_id):
            values = {key: value for key, value in row.items() if key not in _KEYS}
            yield {
                "table": path.relative_to(root).as_posix(),
                "dataset": row["dataset"],
                "method": row["method"],
                "dropped": row["dropped"],
                "values": {key: value for key, value in values.items() if value is not None},
            }


def clip_history(clip_id: str, graph: Graph, root: Path) -> ClipHistory:
    """Follow a clip through the stages.

    Args:
        clip_id: which.
        graph: records of the checkout.
        root: the checkout.

    Raises:
        LineageError: nothing that is here names it.
    """
    history = ClipHistory(clip_id)
    manifest = root / MANIFEST / "clips.parquet"
    if manifest.is_file():
        history.source = next(iter(_rows(manifest, clip_id)), None)
    else:
        history.findings.append(absent(MANIFEST.as_posix(), "the manifest"))
    if (root / TABLE).is_file():
        row = next(iter(_rows(root / TABLE, clip_id)), None)
        history.side = None if row is None else row["split"]
    for record in graph.upstream(sorted(graph.records)):
        for one in _in_shards(record, clip_id, root):
            if isinstance(one, Finding):
                history.findings.append(one)
            else:
                history.shards.append(one)
        history.shards += _in_scores(record, clip_id, root)
        history.quarantined += _in_quarantine(record, clip_id, root)
    history.metrics = list(_in_metrics(clip_id, root))
    if not history.known:
        missing = ", ".join(sorted({finding.where for finding in history.findings}))
        where = f"; not here: {missing}" if missing else ""
        raise LineageError(f"nothing here names the clip {clip_id}{where}")
    return history
