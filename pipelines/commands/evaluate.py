"""``dimitra evaluate``: any method's videos against reference videos, without the pipeline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from dimitra.assets import AssetError
from dimitra.evaluation.definitions import GROUND_TRUTH, GROUPS
from dimitra.evaluation.files import UsageError, find_files, make_tasks, read_methods, unmatched
from dimitra.evaluation.matching import MatchError
from dimitra.evaluation.output import FILES, write
from dimitra.evaluation.printing import (
    Fit,
    measured_table,
    published_table,
    shown,
    tests_table,
)
from dimitra.evaluation.tasks import Answer, Task
from dimitra.metrics.published import BY_LAYOUT
from dimitra.sync.pictures import Region
from dimitra.torch_file import TorchFileError
from pipelines.evaluation.foreign_batch import measure_all
from pipelines.evaluation.foreign_cache import KeptRows, Known, join
from pipelines.evaluation.foreign_settings import code_commit, identity, settings_of
from pipelines.evaluation.foreign_videos import NO_NETWORK
from pipelines.params import ParamsError
from pipelines.runtime.mainguard import INTERRUPTED
from pipelines.stores.work_cache import WorkCache

app = typer.Typer(subcommand_metavar="", add_completion=False)
console = Console(highlight=False)
errors = Console(stderr=True, highlight=False)

PUBLISHED = "syncnet_v2"
"""Catalogue name of the published network's weights."""


class Batch:
    """Tasks measured, but for what is kept of an earlier run.

    Args:
        tasks: one for each reference clip.
        kept: rows of earlier runs; those of this one are added.
        resume: take rows of earlier runs; otherwise all is measured.
    """

    def __init__(self, tasks: Sequence[Task], kept: KeptRows, *, resume: bool) -> None:
        self._tasks = tasks
        self._kept = kept
        self._resume = resume
        self._known: list[Known] = []
        self.measured = 0
        self._full: str | None = None

    @property
    def found(self) -> int:
        """Clips that need not be measured."""
        return sum(one.rest is None for one in self._known)

    def run(self, workers: int) -> list[Answer]:
        """Answers in the order of the tasks.

        Raises:
            AssetError: weights are missing, and others of ``Measurer``.
        """
        columns = (TextColumn("clips"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=errors) as progress:
            bar = progress.add_task("clips", total=len(self._tasks))
            for task in self._tasks:
                look_up = self._kept.look_up if self._resume else Known.nothing
                self._known.append(look_up(task))
            progress.advance(bar, self.found)

            def done(task: Task, answer: Answer) -> None:
                self.measured += 1
                self._keep(task, answer)
                progress.advance(bar)

            rest = [one.rest for one in self._known if one.rest is not None]
            answers = measure_all(rest, self._kept.settings, workers, done)
        measured = {task.clip: answer for task, answer in zip(rest, answers, strict=True)}
        return join(self._tasks, self._known, measured)

    def _keep(self, task: Task, answer: Answer) -> None:
        """Keep rows for the next run; a full disk is said once and ends nothing."""
        if self._full is not None:
            return
        try:
            self._kept.keep(task, answer)
        except OSError as error:
            self._full = str(error)
            errors.print(
                f"[yellow]warning:[/] {escape(self._full)}: what is measured from here on is not "
                "kept for another run",
                soft_wrap=True,
            )


def _show(
    summary: Mapping[str, Any], fit: Fit, groups: Sequence[str], beside: Sequence[str]
) -> None:
    keys = shown(fit, groups)
    tests = tests_table(summary["comparisons"], keys)
    published = [published_table(BY_LAYOUT[name]) for name in beside]
    for table in (measured_table(summary["methods"], keys), *published, tests):
        if table is not None:
            # As wide as it is: a number that is cut off is none.
            needed = console.measure(table, options=console.options.update(width=1000)).maximum
            wide = Console(width=max(console.width, needed), highlight=False)
            wide.print(table, soft_wrap=False)
    for method, counts in summary["counts"].items():
        told = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in counts.items())
        console.print(escape(f"{method}: {told}"), soft_wrap=True)


def _say_interrupted(batch: Batch | None) -> None:
    done = 0 if batch is None else batch.found + batch.measured
    kept = f"; {done} clips are kept, the next run goes on from them" if done else ""
    errors.print(f"interrupted; no table was written{kept}")


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
    resume: Annotated[
        bool,
        typer.Option(
            "--resume/--no-resume", help="Take what an earlier run has measured of the same bytes."
        ),
    ] = True,
    seed: Annotated[int, typer.Option(help="Of bootstrap and permutation tests.")] = 0,
) -> None:
    """Measure any method's videos against reference videos: the paper's table for your own films.

    Files belong together by name; what methods add to every name (01_sadtalker.mp4) is taken off.
    Square face crops are measured at 256 pixels and 25 frames a second; other films need --crop.
    Writes clips.parquet, clips.csv and summary.json. Exit 1 where no clip could be measured.
    Measured clips are kept in the work cache: after Ctrl-C the same command goes on.

    Example: dimitra evaluate --reference test/crops --generated SadTalker=out/st
    --generated DreamTalk=out/dt --sync-weights syncnet_v2 --published hdtf
    """
    batch: Batch | None = None
    groups = tuple(metrics or GROUPS)
    beside = tuple(published if published is not None else BY_LAYOUT)
    try:
        wrong = sorted(set(beside) - BY_LAYOUT.keys())
        if wrong:
            raise UsageError(f"--published {', '.join(wrong)}: there are {', '.join(BY_LAYOUT)}")
        settings = settings_of(
            groups,
            sync_model,
            sync_weights,
            sync_region,
            params if crop else None,
            max_reference_missed=max_ground_truth_missed,
            max_difference_s=max_length_difference,
        )
        about = identity(settings)
        files = find_files(read_methods(generated, method), reference, match)
        if "sync" in settings.groups and settings.network is None:
            errors.print(f"note: the sync columns stay empty: {NO_NETWORK}", soft_wrap=True)
        kept = KeptRows(WorkCache.of(None), about["sha256"], settings)
        batch = Batch(make_tasks(files), kept, resume=resume)
        answers = batch.run(workers)
        rows = [row for answer in answers for row in answer.rows] + unmatched(files)
        rows.sort(key=lambda row: (row.clip, row.method != GROUND_TRUTH, row.method))
        digests = {path: value for answer in answers for path, value in answer.digests.items()}
        facts = {"command": "dimitra evaluate", "code": code_commit(), **about, "lmd_fit": lmd_fit}
        summary = write(output, rows, files, digests, facts, seed)
    except KeyboardInterrupt:
        _say_interrupted(batch)
        raise typer.Exit(INTERRUPTED) from None
    except (AssetError, MatchError, OSError, ParamsError, TorchFileError, UsageError) as error:
        errors.print(f"[red]error:[/] {escape(str(error))}", soft_wrap=True)
        raise typer.Exit(2) from None
    _show(summary, lmd_fit, settings.groups, beside)
    told = f"; {batch.found} clips were measured before" if batch.found else ""
    console.print(escape(f"{output}: {', '.join(FILES)}{told}"), soft_wrap=True)
    if not any(counts["measured"] for counts in summary["counts"].values()):
        errors.print("[red]error:[/] no clip could be measured; clips.csv says why")
        raise typer.Exit(1)


if __name__ == "__main__":
    app()
