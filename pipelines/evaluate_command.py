"""``dimitra evaluate``: any method's videos against reference videos, without the pipeline."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import pyarrow as pa
import pyarrow.parquet as pq
import typer
from rich.console import Console
from rich.markup import escape

from dimitra.assets import AssetError, asset_path, asset_sha256, digest
from dimitra.evaluation.matching import (
    MatchError,
    Matching,
    identity_of,
    list_videos,
    match_with,
    read_table,
)
from dimitra.evaluation.printing import (
    Fit,
    measured_table,
    published_table,
    shown,
    tests_table,
)
from dimitra.evaluation.rows import (
    GROUND_TRUTH,
    GROUPS,
    NO_GENERATED,
    NO_REFERENCE,
    SCHEMA,
    Row,
    balance,
    csv_text,
    table_rows,
)
from dimitra.evaluation.summary import numbers
from dimitra.metrics.published import BY_LAYOUT
from dimitra.metrics.version import code_digest as metric_code
from dimitra.shards import json_bytes, sha256_file, write_atomic
from dimitra.sync import compact
from dimitra.sync.pictures import Region
from dimitra.torch_file import TorchFileError
from pipelines.closure import code_digest
from pipelines.foreign_batch import measure_all
from pipelines.foreign_videos import Answer, Settings, Task
from pipelines.mainguard import INTERRUPTED
from pipelines.params import ParamsError, load

app = typer.Typer(subcommand_metavar="", add_completion=False)
console = Console(highlight=False)
errors = Console(stderr=True, highlight=False)

PUBLISHED = "syncnet_v2"
"""Catalogue name of the published network's weights."""
_SOUNDS = (".flac", ".wav")


class UsageError(ValueError):
    """Options do not go together; the message says which, and what to do."""


@dataclass(frozen=True)
class Files:
    """Everything that goes in.

    Attributes:
        references: name to video.
        generated: method to name to video.
        matchings: method to what belongs together.
        identities: reference's name to who speaks; those not known are left out.
        match: the table, None without one.
    """

    references: Mapping[str, Path]
    generated: Mapping[str, Mapping[str, Path]]
    matchings: Mapping[str, Matching]
    identities: Mapping[str, str]
    match: Path | None


def read_methods(generated: Sequence[str], method: str | None) -> dict[str, Path]:
    """Method to folder, of ``NAME=DIR`` or ``DIR``; a folder alone is called as it is itself.

    Raises:
        UsageError: two methods of one name, or a name for several folders.
    """
    if method is not None and len(generated) > 1:
        raise UsageError("--method names one folder; with several: --generated NAME=DIR")
    found: dict[str, Path] = {}
    for text in generated:
        name, equals, folder = text.partition("=")
        if not equals or Path(text).is_dir():
            name, folder = Path(text).resolve().name, text
        name = method or name
        if not name or name in found or name == GROUND_TRUTH:
            raise UsageError(f"--generated {text}: the name {name!r} is empty, taken or reserved")
        found[name] = Path(folder)
    return found


def find_files(methods: Mapping[str, Path], reference: Path, match: Path | None) -> Files:
    """List and match all files.

    Raises:
        MatchError: a folder is missing or empty, or files cannot be matched.
    """
    references = list_videos(reference)
    generated = {method: list_videos(folder) for method, folder in methods.items()}
    table = None if match is None else read_table(match, references, generated)
    matchings = {
        method: match_with(None if table is None else table.pairs.get(method), references, videos)
        for method, videos in generated.items()
    }
    identities = {name: found for name in references if (found := identity_of(name)) is not None}
    identities |= {} if table is None else table.identities
    return Files(references, generated, matchings, identities, match)


def make_tasks(files: Files) -> list[Task]:
    """One task for each reference that some method has made something of."""
    tasks = []
    for name, path in files.references.items():
        made = {
            method: matching.pairs[name]
            for method, matching in files.matchings.items()
            if name in matching.pairs
        }
        if made:
            beside = (path.with_suffix(suffix) for suffix in _SOUNDS)
            sound = next((one for one in beside if one.is_file()), None)
            tasks.append(Task(name, files.identities.get(name), path, sound, made))
    return tasks


def unmatched(files: Files) -> list[Row]:
    """Rows of what belongs to nothing."""
    rows = []
    for method, matching in files.matchings.items():
        rows += [
            Row(
                clip=name,
                method=method,
                identity=files.identities.get(name),
                outcome=NO_GENERATED,
                message="the method has no video of this name",
                reference=str(files.references[name]),
            )
            for name in matching.missing
        ]
        rows += [
            Row(
                clip=path.stem,
                method=method,
                identity=None,
                outcome=NO_REFERENCE,
                message="there is no reference of this name",
                generated=str(path),
            )
            for path in matching.extra
        ]
    return rows


def _settings(
    groups: Sequence[str],
    sync_model: Path | None,
    sync_weights: str | None,
    sync_region: Region | None,
    crop: Path | None,
    **limits: float,
) -> Settings:
    """Check what was asked for, before anything is measured.

    Raises:
        UsageError: options do not go together.
        AssetError: weights are missing.
        FileNotFoundError: the model's folder or the parameter file is.
        ParamsError: the parameter file breaks the schema.
    """
    unknown = sorted(set(groups) - GROUPS.keys())
    if unknown:
        raise UsageError(f"--metrics {', '.join(unknown)}: there are {', '.join(GROUPS)}")
    if sync_model is not None and sync_weights is not None:
        raise UsageError("--sync-model and --sync-weights are two networks; give one")
    sections = None
    if crop is not None:
        params = load(crop)
        sections = params.model_dump(include={"crop", "limits"})
    if sync_model is not None:
        compact.load(sync_model)
        weights, network = str(sync_model), "trained"
    elif sync_weights is not None:
        asset_path(sync_weights)
        weights, network = sync_weights, "published"
    else:
        weights, network = "", None
    region = sync_region or ("tracks" if network == "published" else "mouth")
    if (region == "mouth") != (network != "published"):
        raise UsageError(
            f"--sync-region {region}: a run's network sees the mouth, the published one tracks or "
            "the frame"
        )
    return Settings(
        groups=tuple(sorted(set(groups))),
        network=network,  # type: ignore[arg-type] # one of the three
        weights=weights,
        region=region,
        crop=None if sections is None else json.dumps(sections, sort_keys=True),
        **limits,
    )


def _identity(settings: Settings) -> dict[str, Any]:
    """What a number is a number of: code and weights."""
    sync = None
    if settings.network == "trained":
        sync = digest(Path(settings.weights))
    elif settings.network == "published":
        sync = asset_sha256(settings.weights)
    return {
        "metric_code_sha256": metric_code(),
        "protocol_code_sha256": code_digest("pipelines.foreign_videos"),
        "landmarks": {"asset": "dlib_68", "sha256": asset_sha256("dlib_68")},
        "sync": {"network": settings.network, "region": settings.region, "sha256": sync},
    }


def _measured(tasks: Sequence[Task], settings: Settings, workers: int) -> list[Answer]:
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (TextColumn("clips"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=errors) as progress:
        bar = progress.add_task("clips", total=len(tasks))
        return measure_all(tasks, settings, workers, lambda _: progress.advance(bar))


def _digest(path: Path) -> str:
    """Of a file that was not measured; what cannot be read has its own row's message."""
    try:
        return sha256_file(path) if path.is_file() else "no file"
    except OSError as error:
        return f"not readable: {error.strerror}"


def write(
    output: Path,
    rows: Sequence[Row],
    files: Files,
    answers: Sequence[Answer],
    facts: Any,
    seed: int,
) -> dict[str, Any]:
    """Write ``clips.parquet``, ``clips.csv`` and ``summary.json``; the latter is returned.

    Raises:
        UnbalancedError: rows and files do not add up.
    """
    methods = list(files.generated)
    counts = balance(
        rows,
        len(files.references),
        {method: len(videos) for method, videos in files.generated.items()},
    )
    inputs = {path: value for answer in answers for path, value in answer.digests.items()}
    every = [*files.references.values(), *(() if files.match is None else (files.match,))]
    every += [path for videos in files.generated.values() for path in videos.values()]
    inputs |= {str(path): _digest(path) for path in every if str(path) not in inputs}
    affixes = {
        method: {"prefix": one.prefix, "suffix": one.suffix}
        for method, one in files.matchings.items()
    }
    summary = {
        **facts,
        "counts": counts,
        "matching": affixes,
        **numbers(rows, methods, seed),
        "inputs": dict(sorted(inputs.items())),
    }
    output.mkdir(parents=True, exist_ok=True)
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(table_rows(rows), SCHEMA), sink)
    write_atomic(output / "clips.parquet", sink.getvalue().to_pybytes())
    write_atomic(output / "clips.csv", csv_text(rows).encode())
    write_atomic(output / "summary.json", json_bytes(summary))
    return summary


def _show(
    summary: Mapping[str, Any], fit: Fit, groups: Sequence[str], beside: Sequence[str]
) -> None:
    keys = shown(fit, groups)
    console.print(measured_table(summary["methods"], keys))
    for name in beside:
        console.print(published_table(BY_LAYOUT[name]))
    tests = tests_table(summary["comparisons"], keys)
    if tests is not None:
        console.print(tests)
    for method, counts in summary["counts"].items():
        told = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in counts.items())
        console.print(escape(f"{method}: {told}"), soft_wrap=True)


@app.callback(invoke_without_command=True)
def evaluate(
    generated: Annotated[
        list[str],
        typer.Option(help="Folder of a method's videos: DIR or NAME=DIR; repeatable, to compare."),
    ],
    reference: Annotated[Path, typer.Option(help="Folder of the true videos, of the same names.")],
    method: Annotated[str | None, typer.Option(help="Name of the one method.")] = None,
    output: Annotated[Path, typer.Option(help="Folder for tables and summary.")] = Path(
        "evaluation"
    ),
    match: Annotated[
        Path | None,
        typer.Option(help="CSV: reference, and generated, method, identity as needed."),
    ] = None,
    metrics: Annotated[
        list[str] | None,
        typer.Option(help=f"Of {', '.join(GROUPS)}; repeatable, all by default."),
    ] = None,
    lmd_fit: Annotated[
        Fit, typer.Option(help="Points that align the mouth in the printed M-LMD; both are kept.")
    ] = "face",
    sync_model: Annotated[
        Path | None, typer.Option(help="Folder of a run's SyncNet: evaluators/sync.")
    ] = None,
    sync_weights: Annotated[
        str | None,
        typer.Option(help=f"The published SyncNet: {PUBLISHED}, or the file syncnet_v2.model."),
    ] = None,
    sync_region: Annotated[
        Region | None, typer.Option(help="Of the published SyncNet: tracks or frame.")
    ] = None,
    crop: Annotated[
        bool,
        typer.Option("--crop/--no-crop", help="Cut the face out of every video, as `crop` does."),
    ] = False,
    params: Annotated[Path, typer.Option(help="Parameter file; --crop reads it.")] = Path(
        "params.yaml"
    ),
    max_ground_truth_missed: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Share of frames; 0 is the paper's rule.")
    ] = 0.0,
    max_length_difference: Annotated[
        float, typer.Option(min=0.0, help="Seconds; the common frames are compared.")
    ] = 0.2,
    published: Annotated[
        list[str] | None,
        typer.Option(help=f"The paper's tables beside: {', '.join(BY_LAYOUT)}; repeatable."),
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes, about 1 GB each.")] = 1,
    seed: Annotated[int, typer.Option(help="Of bootstrap and permutation tests.")] = 0,
) -> None:
    """Measure any method's videos against reference videos: the paper's table for your own films.

    Files belong together by name; what methods add to every name (01_sadtalker.mp4) is taken off.
    Square face crops are measured at 256 pixels and 25 frames a second; other films need --crop.
    Writes clips.parquet, clips.csv and summary.json. Exit 1 where no clip could be measured.

    Example: dimitra evaluate --reference test/crops --generated SadTalker=out/st
    --generated DreamTalk=out/dt --sync-weights syncnet_v2 --published hdtf
    """
    groups = tuple(metrics or GROUPS)
    beside = tuple(published if published is not None else BY_LAYOUT)
    try:
        wrong = sorted(set(beside) - BY_LAYOUT.keys())
        if wrong:
            raise UsageError(f"--published {', '.join(wrong)}: there are {', '.join(BY_LAYOUT)}")
        settings = _settings(
            groups,
            sync_model,
            sync_weights,
            sync_region,
            params if crop else None,
            max_reference_missed=max_ground_truth_missed,
            max_difference_s=max_length_difference,
        )
        facts = {"command": "dimitra evaluate", **_identity(settings)}
        files = find_files(read_methods(generated, method), reference, match)
        tasks = make_tasks(files)
        answers = _measured(tasks, settings, workers)
        rows = [row for answer in answers for row in answer.rows] + unmatched(files)
        rows.sort(key=lambda row: (row.clip, row.method != GROUND_TRUTH, row.method))
        protocol = {
            "frames": "256x256, 25 a second",
            "lmd_fit": lmd_fit,
            "metrics": list(settings.groups),
            "crop": None if settings.crop is None else json.loads(settings.crop)["crop"],
            "max_ground_truth_missed": max_ground_truth_missed,
            "max_length_difference_s": max_length_difference,
        }
        summary = write(output, rows, files, answers, {**facts, "protocol": protocol}, seed)
    except KeyboardInterrupt:
        errors.print("interrupted; nothing was written")
        raise typer.Exit(INTERRUPTED) from None
    except (AssetError, MatchError, OSError, ParamsError, TorchFileError, UsageError) as error:
        errors.print(f"[red]error:[/] {escape(str(error))}", soft_wrap=True)
        raise typer.Exit(2) from None
    _show(summary, lmd_fit, settings.groups, beside)
    console.print(escape(f"{output}: summary.json, clips.csv, clips.parquet"), soft_wrap=True)
    if not any(counts["measured"] for counts in summary["counts"].values()):
        errors.print("[red]error:[/] no clip could be measured; clips.csv says why")
        raise typer.Exit(1)


if __name__ == "__main__":
    app()
