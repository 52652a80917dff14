"""The page itself: gathers its parts, and writes `index.html` with the videos beside it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import jinja2

from dimitra.clips import Clip
from dimitra.metrics.definitions import METRICS, PAPER_METRICS
from dimitra.shards import write_atomic
from pipelines.ablations import variants
from pipelines.params import Params
from pipelines.report import ablations, audit, lineage, paired
from pipelines.report.clip_table import RANKED, Rows, clip_table, read_rows
from pipelines.report.corpus import corpus_rows, read_manifest, read_sides
from pipelines.report.curves import read_curve
from pipelines.report.digests import file_digests, listed
from pipelines.report.embedded import content_digest, script_json
from pipelines.report.examples import choose, copy_examples, read_transcripts
from pipelines.report.plots import plots_csv
from pipelines.report.quarantined import read_balances, read_quarantined, shown
from pipelines.report.tables import result_table
from pipelines.runtime.inputs import require_made
from pipelines.stores.work_cache import WorkCache

DATA_FILES = (
    "templates/audit.html",
    "templates/charts.html",
    "templates/lineage.html",
    "templates/player.js",
    "templates/report.css",
    "templates/report.html",
    "templates/report.js",
    "templates/results.html",
    "templates/tables.js",
)
TEMPLATES = Path(__file__).parent / "templates"
SCRIPTS = ("tables.js", "player.js", "report.js")
_SYNC_CURVE = Path("evaluators/sync/curve.csv")


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


def _metric_files(root: Path, params: Params) -> dict[str, Any]:
    return {
        name: json.loads(path.read_text())
        for name in params.datasets.sets
        if (path := root / "metrics" / f"{name}.json").is_file()
    }


def _curve_files(root: Path, params: Params) -> dict[str, Path]:
    files: dict[str, Path] = {
        part: root / "models" / part / "curve.csv" for part in params.train.parts
    }
    if (root / _SYNC_CURVE).is_file():
        files["SyncNet"] = root / _SYNC_CURVE
    return files


def _clips_of_page(
    root: Path,
    params: Params,
    tables: dict[str, Rows],
    manifest: list[dict[str, Any]],
    output: Path,
) -> dict[str, Any]:
    """Table and player for the page's script; copies the videos."""
    cache = WorkCache.of(params.storage.root)
    chosen: dict[str, str] = {}
    for rows in tables.values():
        chosen |= choose(rows, params.report.videos_per_dataset)
    frames = {row["clip_id"]: row["frames"] for rows in tables.values() for row in rows}
    transcripts = read_transcripts(root, frames.keys(), cache)
    clips = {row["clip_id"]: Clip(**row) for row in manifest}
    texts = {
        clip_id: transcripts[clip_id].text
        if clip_id in transcripts
        else clips[clip_id].transcript or ""
        for clip_id in frames
    }
    examples = copy_examples(root, params, chosen, clips, frames, transcripts, output, cache)
    return {
        "fps": params.crop.fps,
        "ranked": RANKED,
        "clips": clip_table(tables, texts),
        "examples": [example.to_json() for example in examples],
    }


def render_page(root: Path, params: Params, output: Path) -> None:
    """Write ``index.html``, ``metrics.csv`` and ``videos/`` into ``output``.

    Args:
        root: folder of the run: ``data/``, ``models/``, ``metrics/``, ``lineage/``.
        params: of the run.
        output: emptied first.

    Raises:
        StageError: a stage before has not finished; the page of an earlier run is left.
    """
    require_made(inputs_of(root, params), root)
    if output.exists():
        shutil.rmtree(output)
    metrics = _metric_files(root, params)
    manifest = read_manifest(root / "data/manifest/clips.parquet")
    known = lineage.linked(lineage.read(root))
    digests = file_digests(root)
    quarantined = read_quarantined(root)
    variant_entries = variants.read(root)
    data = _clips_of_page(
        root, params, {name: read_rows(root, name) for name in metrics}, manifest, output
    )
    data |= {"quarantine": shown(quarantined), "paired": paired.table(paired.read(root))}
    tables = [
        result_table(name, params.datasets.sets[name].layout, table)
        for name, table in metrics.items()
    ]
    script = "".join((TEMPLATES / name).read_text() for name in SCRIPTS)
    style = (TEMPLATES / "report.css").read_text()
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
        metrics=METRICS,
        ablations=ablations.ablation_tables(variant_entries),
        ablation_metrics=ablations.METRICS,
        charts=[read_curve(path, name) for name, path in _curve_files(root, params).items()],
        corpus=corpus_rows(manifest, read_sides(root / "data/split/split.parquet")),
        balances=read_balances(root),
        quarantined_count=len(quarantined),
        quarantine_shown=len(data["quarantine"]),
        lineage=known,
        lineage_cards=lineage.cards(known),
        audit_cards=[
            *audit.cards(
                metrics,
                set().union(*(table.audited for table in tables)),
                params.train.parts,
                audit.Behind.of(root, known, digests),
            ),
            *audit.ablation_cards(variant_entries),
        ],
        digests=listed(root, digests),
        has_paired=bool(data["paired"]["rows"]),
        data=script_json(data),
        script=script,
        script_digest=content_digest(script),
        style=style,
        style_digest=content_digest(style),
    )
    write_atomic(output / "metrics.csv", plots_csv(metrics).encode())
    write_atomic(output / "index.html", page.encode())
