"""What an audit is about: a metric, an ablation, a model, a shard, a clip, or a video."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from dimitra.clips import CLIP_ID_PATTERN
from dimitra.lineage import ablations
from dimitra.lineage.graph import Graph
from dimitra.lineage.record import LineageError, LineageRecord, record_path

Kind = Literal["metric", "ablation", "artefact", "shard", "clip", "video"]
_METRICS = PurePosixPath("metrics")
EVALUATE = "evaluate"


@dataclass(frozen=True)
class Target:
    """A target that exists.

    Attributes:
        kind: what it is.
        name: as it was asked for.
        path: file or folder, relative to the checkout; a clip's is empty.
        stages: that made it; none for ablations.
        dataset: of a metric.
        method: of a single number; of ablations the variant.
        metric: of a single number.
        clips: of a clip or of a video.
    """

    kind: Kind
    name: str
    path: str
    stages: tuple[str, ...]
    dataset: str | None = None
    method: str | None = None
    metric: str | None = None
    clips: tuple[str, ...] = ()


def find_target(name: str, graph: Graph, root: Path) -> Target:
    """The target that a name stands for.

    Args:
        name: ``metrics/chorus.json``, ``metrics/chorus.json#dimitra_hp.f_lmd``,
            ``metrics/ablations.json#joint.mouth_mae_truth``, ``models/lips``,
            ``data/crops/00003.tar``, a clip id, or the path of a raw video.
        graph: records of the checkout.
        root: the checkout.

    Raises:
        LineageError: there is none such; the message says what there is.
    """
    text, _, number = name.partition("#")
    path = _relative(text, root)
    if path == ablations.FILE:
        return _ablation(name, number, root)
    if PurePosixPath(path).parent == _METRICS and path.endswith(".json"):
        return _metric(name, path, number, graph, root)
    if number:
        raise LineageError(f"{name}: only a metric file takes a # with the number behind it")
    for record in graph.records.values():
        if any(shard.path == path for shard in record.shards):
            return Target("shard", name, path, (record.stage,))
    maker = graph.producer(path)
    if maker is not None:
        if not (root / path).exists() and not _known(maker, path):
            raise LineageError(f"{name} is not there, and {maker.stage} has not written it")
        return Target("artefact", name, path, (maker.stage,))
    video = _video(name, path, graph, root)
    if video is not None:
        return video
    named_so = CLIP_ID_PATTERN.match(text) and "/" not in text and "." not in text
    if named_so and not (root / text).exists():
        return Target("clip", name, "", (), clips=(text,))
    outputs = sorted(output.path for record in graph.records.values() for output in record.outputs)
    raise LineageError(
        f"{name} is no metric file, output, shard, clip or raw video of this checkout. Outputs: "
        f"{', '.join(outputs)}"
    )


def read_numbers(path: Path) -> dict[str, Any]:
    """A metric file: method to metric to cell; empty where it is missing or damaged."""
    try:
        table = json.loads(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return {}
    return table if isinstance(table, dict) else {}


def _relative(text: str, root: Path) -> str:
    path = Path(text)
    if path.is_absolute() and path.is_relative_to(root.resolve()):
        path = path.relative_to(root.resolve())
    return PurePosixPath(path.as_posix()).as_posix()


def _known(record: LineageRecord, path: str) -> bool:
    return any(
        path == output.path or path.removeprefix(f"{output.path}/") in output.files
        for output in record.outputs
    )


def _metric(name: str, path: str, number: str, graph: Graph, root: Path) -> Target:
    """A metric file, or a number in it.

    Raises:
        LineageError: no stage writes it, or it holds no such number.
    """
    maker = graph.producer(path)
    if maker is None and EVALUATE not in graph.records:
        raise LineageError(
            f"{record_path(EVALUATE)}, which tells of {path}, is missing: git checkout it, or "
            "dvc repro evaluate"
        )
    if maker is None:
        written = [
            output.path
            for record in graph.records.values()
            for output in record.outputs
            if output.path.startswith("metrics/") and output.path.endswith(".json")
        ]
        raise LineageError(f"no record tells of {path}; metric files: {', '.join(sorted(written))}")
    dataset = PurePosixPath(path).stem
    if not number:
        return Target("metric", name, path, (maker.stage,), dataset)
    method, _, metric = number.partition(".")
    table = read_numbers(root / path)
    if method not in table or metric not in table[method]:
        methods = ", ".join(sorted(table))
        metrics = ", ".join(sorted(table.get(method) or next(iter(table.values()), {})))
        raise LineageError(
            f"{path} holds no number {number!r}; write METHOD.METRIC. Methods: {methods}. "
            f"Metrics: {metrics}"
        )
    return Target("metric", name, path, (maker.stage,), dataset, method, metric)


def _ablation(name: str, number: str, root: Path) -> Target:
    """All ablations, a variant, a variant's number, or that of one data set.

    Raises:
        LineageError: the file holds no such variant or number.
    """
    entries, _ = ablations.read_entries(root)
    variant, _, rest = number.partition(".")
    if number and variant not in entries:
        known = ", ".join(sorted(entries))
        raise LineageError(f"{ablations.FILE} holds no variant {variant!r}; there are {known}")
    tables = entries[variant]["metrics"] if number else {}
    head, _, tail = rest.partition(".")
    dataset, metric = (head, tail) if head in tables else (None, rest)
    measured = {key for table in tables.values() for key in table}
    if metric and metric not in (measured if dataset is None else tables[dataset]):
        raise LineageError(
            f"{ablations.FILE} holds no number {number!r}; write VARIANT.METRIC or "
            f"VARIANT.DATASET.METRIC. Data sets: {', '.join(sorted(tables))}. "
            f"Metrics: {', '.join(sorted(measured))}"
        )
    return Target("ablation", name, ablations.FILE, (), dataset, variant or None, metric or None)


def _video(name: str, path: str, graph: Graph, root: Path) -> Target | None:
    """A raw video: the clips that were cut out of it."""
    ingest = graph.records.get("ingest")
    if ingest is None:
        return None
    base = str(ingest.params.get("datasets.root", "datasets"))
    if not path.startswith(f"{base}/"):
        return None
    from dimitra.lineage.clip_history import clips_of_video

    found = clips_of_video(path, ingest, root)
    if not found:
        raise LineageError(f"{name}: neither the manifest nor the quarantine names this video")
    return Target("video", name, path, ("ingest",), clips=tuple(found))
