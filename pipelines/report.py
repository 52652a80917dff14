"""Write the report page, which stands by itself in `report/`: `python -m pipelines.report`."""

from __future__ import annotations

import csv
import json
import math
import shutil
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import pyarrow.parquet as pq

from dimitra.clips import MANIFEST_SCHEMA
from dimitra.metrics.definitions import (
    COEFFICIENT_METRICS,
    EXPRESSION_METRICS,
    HEAD_METRICS,
    METHODS,
    METRICS,
    MOUTH_METRICS,
    PAPER_METRICS,
    Method,
    Metric,
)
from dimitra.metrics.published import BY_LAYOUT, PublishedTable
from dimitra.metrics.version import code_digest
from dimitra.shards import iterate_shard, sha256_file, write_atomic
from pipelines import ablations, report_ablations
from pipelines.charts import Chart, line_chart
from pipelines.inputs import require_made
from pipelines.lineage import with_lineage
from pipelines.mainguard import guarded
from pipelines.params import Params, load
from pipelines.tracking import StageRecord
from pipelines.work_cache import WorkCache, local_shards

DATA_FILES = ("templates/report.html", "templates/report.css", "templates/report.js")

REPORT = Path("report")
TEMPLATES = Path(__file__).parent / "templates"

BALANCES = {
    "ingest": "data/manifest",
    "split": "data/split",
    "crop": "data/crops",
    "fit": "data/motion",
    "transcribe": "data/transcripts",
    "speech": "data/speech",
    "shard": "data/shards",
    "generate": "data/generated",
    "render": "data/videos",
    "evaluate": "data/evaluation",
}
"""Stages that touch clips, and where they leave their balance."""

DIGESTS = {
    "manifest": "data/manifest/clips.parquet",
    "shard index": "data/shards/index.parquet",
    "lips model": "models/lips/model.safetensors",
    "expression model": "models/expression/model.safetensors",
    "pose model": "models/pose/model.safetensors",
    "joint model": "models/all/model.safetensors",
    "SyncNet, trained": "evaluators/sync/model.safetensors",
}

COEFFICIENT_GROUPS = {
    "Mouth coefficients": MOUTH_METRICS,
    "Other expression coefficients": EXPRESSION_METRICS,
    "Head pose": HEAD_METRICS,
}
EXAMPLE_METRICS = (*PAPER_METRICS, *MOUTH_METRICS[:2])
"""Shown beside a clip's videos."""
_QUARANTINE_ROWS = 200
_SMOOTHED = 25


@dataclass(frozen=True)
class Cell:
    """One number of a table, ready to print.

    Attributes:
        text: the value, or an en dash.
        detail: n and dropped clips, or the reason why there is no value.
        best: the best generated method of its column.
    """

    text: str
    detail: str
    best: bool = False


@dataclass(frozen=True)
class Row:
    """A row of a table: label, note and one cell a column."""

    label: str
    note: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class ResultTable:
    """The numbers of one dataset, the paper's beside them.

    Attributes:
        dataset: dataset name.
        published: the paper's table of that kind of data.
        rows: measured here, columns ``PAPER_METRICS``.
        published_rows: as printed in the paper.
        coefficient_tables: measured here, one for each of ``COEFFICIENT_GROUPS``.
        missing: reason why values are absent, to the columns it concerns.
        clips: evaluated clips.
    """

    dataset: str
    published: PublishedTable
    rows: tuple[Row, ...]
    published_rows: tuple[Row, ...]
    coefficient_tables: tuple[tuple[str, tuple[Metric, ...], tuple[Row, ...]], ...]
    missing: Mapping[str, tuple[str, ...]]
    clips: int


@dataclass(frozen=True)
class Example:
    """One clip to look at: videos relative to the page, and its own numbers."""

    clip_id: str
    identity: str
    ground_truth: str
    hp: str
    no_hp: str
    numbers: str


@dataclass(frozen=True)
class CorpusRow:
    """Counts of one dataset."""

    dataset: str
    clips: int
    identities: int
    videos: int
    minutes: float
    train: int
    test: int
    test_identities: int


def _number(value: float | None, metric: Metric) -> str:
    return "–" if value is None else f"{value:.{metric.decimals}f}"


def _detail(item: Mapping[str, Any]) -> str:
    if item["value"] is None:
        return str(item["reason"])
    dropped = f", {item['dropped']} dropped" if item["dropped"] else ""
    return f"n = {item['n']}{dropped}"


_RANKED = ("dimitra_hp", "dimitra_no_hp")


def _best(table: Mapping[str, Any], metric: Metric) -> str | None:
    """The method of ``_RANKED`` with the better shown value, None where there is no choice."""
    values = {
        method: round(table[method][metric.key]["value"], metric.decimals)
        for method in _RANKED
        if table[method][metric.key]["value"] is not None
    }
    if len(set(values.values())) < 2:
        return None
    choose = min if metric.better == "lower" else max
    return choose(values, key=values.__getitem__)


def _measured_rows(
    table: Mapping[str, Any], methods: Sequence[Method], metrics: Sequence[Metric]
) -> tuple[Row, ...]:
    best = {metric.key: _best(table, metric) for metric in metrics}
    rows = []
    for method in methods:
        row = table[method.key]
        cells = tuple(
            Cell(
                _number(row[metric.key]["value"], metric),
                _detail(row[metric.key]),
                best[metric.key] == method.key,
            )
            for metric in metrics
        )
        rows.append(Row(method.label, method.description, cells))
    return tuple(rows)


def _missing(table: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """Reasons of the dashes in both tables, each with the columns it concerns."""
    found: dict[str, dict[str, None]] = {}
    for method in METHODS:
        columns = (PAPER_METRICS if method.video else ()) + (
            COEFFICIENT_METRICS if method.coefficients else ()
        )
        for metric in columns:
            item = table[method.key][metric.key]
            if item["value"] is None:
                found.setdefault(item["reason"], {})[metric.label] = None
    return {reason: tuple(labels) for reason, labels in found.items()}


def result_table(dataset: str, layout: str, table: Mapping[str, Any]) -> ResultTable:
    """Lay out one dataset's metric file.

    Args:
        dataset: dataset name.
        layout: of the dataset, which chooses the paper's table.
        table: content of ``metrics/<dataset>.json``.
    """
    published = BY_LAYOUT[layout]
    source = f"paper, Table {published.number}, {published.dataset}"
    with_video = [method for method in METHODS if method.video]
    with_coefficients = [method for method in METHODS if method.coefficients]
    published_rows = tuple(
        Row(
            label,
            "",
            tuple(
                Cell(_number(value, metric), source)
                for value, metric in zip(values, PAPER_METRICS, strict=True)
            ),
        )
        for label, values in published.rows.items()
    )
    counts = [item["n"] + item["dropped"] for item in table["dimitra_hp"].values()]
    return ResultTable(
        dataset=dataset,
        published=published,
        rows=_measured_rows(table, with_video, PAPER_METRICS),
        published_rows=published_rows,
        coefficient_tables=tuple(
            (title, metrics, _measured_rows(table, with_coefficients, metrics))
            for title, metrics in COEFFICIENT_GROUPS.items()
        ),
        missing=_missing(table),
        clips=max(counts),
    )


def running_mean(values: Sequence[float], count: int) -> list[float]:
    """Mean of the values at most ``count // 2`` places away from each one."""
    means = []
    for index in range(len(values)):
        window = values[max(0, index - count // 2) : index + count // 2 + 1]
        means.append(math.fsum(window) / len(window))
    return means


def read_curve(path: Path, title: str) -> Chart:
    """Chart of the loss in a training curve, with its running mean.

    Raises:
        ValueError: the file has no row.
    """
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    if not rows:
        raise ValueError(f"{path} holds no training step")
    loss = [float(row["loss"]) for row in rows]
    series = {"loss": loss, f"mean of {_SMOOTHED} steps": running_mean(loss, _SMOOTHED)}
    return line_chart(title, "step", [float(row["step"]) for row in rows], series)


def corpus_rows(manifest: Path, split: Path) -> list[CorpusRow]:
    """Counts per dataset."""
    clips = pq.read_table(manifest, schema=MANIFEST_SCHEMA).to_pylist()
    sides = {
        row["clip_id"]: row["split"]
        for row in pq.read_table(split, columns=["clip_id", "split"]).to_pylist()
    }
    grouped: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for clip in clips:
        grouped[clip["dataset"]].append(clip)
    rows = []
    for dataset, members in sorted(grouped.items()):
        counts = Counter(sides.get(clip["clip_id"]) for clip in members)
        test = {c["identity"] for c in members if sides.get(c["clip_id"]) == "test"}
        rows.append(
            CorpusRow(
                dataset=dataset,
                clips=len(members),
                identities=len({clip["identity"] for clip in members}),
                videos=len({clip["source_video"] for clip in members}),
                minutes=sum(clip["duration_s"] for clip in members) / 60.0,
                train=counts["train"],
                test=counts["test"],
                test_identities=len(test),
            )
        )
    return rows


def read_balances(root: Path) -> list[dict[str, Any]]:
    """Balances of all stages that have written one, in pipeline order."""
    return [
        json.loads((root / folder / "balance.json").read_text())
        for folder in BALANCES.values()
        if (root / folder / "balance.json").is_file()
    ]


def read_quarantined(root: Path) -> list[dict[str, Any]]:
    """Quarantine rows of all stages, in pipeline order."""
    rows: list[dict[str, Any]] = []
    for folder in BALANCES.values():
        path = root / folder / "quarantine.parquet"
        if path.is_file():
            rows.extend(pq.read_table(path).to_pylist())
    return rows


def read_digests(root: Path) -> list[tuple[str, str, str]]:
    """Name, file and digest of what the numbers were made from."""
    split = Path("data/split/split.json")
    digest = json.loads((root / split).read_text())["digest"]
    found = [
        ("split", split.as_posix(), f"sha256 {digest}"),
        ("metric code", "dimitra/metrics", f"sha256 {code_digest()}"),
    ]
    found.extend(
        (name, file, f"sha256 {sha256_file(root / file)}")
        for name, file in DIGESTS.items()
        if (root / file).is_file()
    )
    return found


def choose_examples(clips: Iterable[tuple[str, str]], count: int) -> list[str]:
    """Pick ``count`` clips, one identity after the other, in the order of their names.

    Args:
        clips: (clip id, identity).
        count: how many.
    """
    by_identity: dict[str, list[str]] = defaultdict(list)
    for clip_id, identity in sorted(clips):
        by_identity[identity].append(clip_id)
    turns = sorted(
        (turn, identity, clip_id)
        for identity, members in by_identity.items()
        for turn, clip_id in enumerate(members)
    )
    return [clip_id for _, _, clip_id in turns[:count]]


def _example_numbers(row: Mapping[str, Any]) -> str:
    shown = [
        f"{metric.label} {_number(row[metric.key], metric)}"
        for metric in EXAMPLE_METRICS
        if row[metric.key] is not None
    ]
    return ", ".join(shown) or str(row["dropped"])


def copy_examples(
    root: Path, dataset: str, count: int, output: Path, cache: WorkCache
) -> list[Example]:
    """Copy the videos of some test clips beside the page.

    Args:
        root: of the run.
        dataset: dataset name.
        count: clips.
        output: folder of the page.
        cache: where shards are that do not lie beside their sidecars.

    Raises:
        KeyError: a shard misses a clip that has been evaluated.
    """
    table = pq.read_table(root / "metrics" / "clips" / f"{dataset}.parquet").to_pylist()
    rows = {row["clip_id"]: row for row in table if row["method"] == "dimitra_hp"}
    chosen = choose_examples(((key, row["identity"]) for key, row in rows.items()), count)
    wanted = {"data/crops": ("mp4",), "data/videos": ("hp.mp4", "no_hp.mp4")}
    found: dict[str, dict[str, bytes]] = defaultdict(dict)
    for folder, names in wanted.items():
        for shard in local_shards(root / folder, cache, chosen):
            for clip_id, parts in iterate_shard(shard):
                if clip_id in chosen:
                    found[clip_id].update({name: parts[name] for name in names})
    examples = []
    for clip_id in chosen:
        files = {}
        for part, name in (("mp4", "ground_truth"), ("hp.mp4", "hp"), ("no_hp.mp4", "no_hp")):
            files[name] = f"videos/{clip_id}-{name}.mp4"
            write_atomic(output / files[name], found[clip_id][part])
        row = rows[clip_id]
        examples.append(Example(clip_id, row["identity"], **files, numbers=_example_numbers(row)))
    return examples


def inputs_of(root: Path, params: Params) -> dict[Path, str]:
    """Files that the page cannot be made without, and the command that makes each."""
    files = {
        Path("data/manifest/clips.parquet"): "ingest",
        Path("data/split/split.parquet"): "split",
        Path("data/split/split.json"): "split",
        Path("data/crops/balance.json"): "crop",
        **{
            Path("models", part, "curve.csv"): f"train --part {part}" for part in params.train.parts
        },
        Path("data/videos/balance.json"): "render",
    }
    for name in params.datasets.sets:
        if (root / "metrics" / f"{name}.json").is_file():
            files[Path("metrics", "clips", f"{name}.parquet")] = "evaluate"
    return files


def render_page(root: Path, params: Params, output: Path) -> None:
    """Write ``index.html`` and ``videos/`` into ``output``.

    Args:
        root: folder of the run: ``data/``, ``models/``, ``metrics/``.
        params: of the run.
        output: emptied first.

    Raises:
        StageError: a stage before has not finished; the page of an earlier run is left.
    """
    require_made(inputs_of(root, params), root)
    if output.exists():
        shutil.rmtree(output)
    tables = [
        result_table(name, dataset.layout, json.loads(path.read_text()))
        for name, dataset in params.datasets.sets.items()
        if (path := root / "metrics" / f"{name}.json").is_file()
    ]
    quarantined = read_quarantined(root)
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    page = environment.get_template("report.html").render(
        params=params,
        tables=tables,
        paper_metrics=PAPER_METRICS,
        ablations=report_ablations.ablation_tables(ablations.read(root)),
        ablation_metrics=report_ablations.METRICS,
        metrics=METRICS,
        examples={
            table.dataset: copy_examples(
                root,
                table.dataset,
                params.report.videos_per_dataset,
                output,
                WorkCache.of(params.storage.root),
            )
            for table in tables
        },
        charts=[
            read_curve(root / "models" / part / "curve.csv", part) for part in params.train.parts
        ],
        corpus=corpus_rows(root / "data/manifest/clips.parquet", root / "data/split/split.parquet"),
        balances=read_balances(root),
        quarantined=quarantined[:_QUARANTINE_ROWS],
        quarantined_count=len(quarantined),
        digests=read_digests(root),
    )
    write_atomic(output / "index.html", page.encode())


def main() -> None:
    """Write the report of the run in the working folder."""
    params = load()
    with StageRecord("report", wanted=params.ray.mlflow) as run:
        render_page(Path(), params, REPORT)
        run.keep(REPORT, "report")


if __name__ == "__main__":
    sys.exit(guarded(with_lineage(main)))
