"""``dimitra ablations``: every variant of the models as a DVC experiment, and the table of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pipelines.ablations import experiments, variants
from pipelines.ablations.findings import METRICS, findings
from pipelines.ablations.variants import BY_KEY, FULL, VARIANTS, Variant
from pipelines.errors import StageError
from pipelines.params import Params, ParamsError, load
from pipelines.runtime.mainguard import INTERRUPTED
from pipelines.runtime.progress import console as errors

app = typer.Typer(
    help=(
        "Ablations: each variant is a DVC experiment that trains, generates and scores. The "
        "numbers, with their lineage, are kept in metrics/ablations.json, which is committed."
    ),
    no_args_is_help=True,
)
console = Console(highlight=False)

Only = Annotated[
    list[str] | None,
    typer.Option("--only", help=f"One of {', '.join(BY_KEY)}; may be given several times."),
]


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        errors.print("interrupted; what is finished is kept, the next run goes on from there")
        raise typer.Exit(INTERRUPTED) from None
    except (OSError, ParamsError, StageError) as error:
        errors.print(f"[red]error:[/] {escape(str(error))}", soft_wrap=True)
        raise typer.Exit(2) from None


class _Round:
    """The variants that are asked for, and how far each is.

    Attributes:
        params: of the full model.
        entries: of ``metrics/ablations.json``.
        marks: variant to fingerprint.
        commits: variant to the commit of its finished experiment.
    """

    def __init__(self, only: list[str] | None) -> None:
        unknown = sorted(set(only or ()) - BY_KEY.keys())
        if unknown:
            raise StageError(f"no variant {', '.join(unknown)}; there are {', '.join(BY_KEY)}")
        self._root = Path()
        self.params: Params = load()
        self.entries: dict[str, Any] = variants.read()
        lock = experiments.read_lock(self._root)
        self.marks = {v.key: variants.fingerprint(v, self.params, lock) for v in VARIANTS}
        self.names = {v.key: experiments.name_of(v, self.marks[v.key]) for v in VARIANTS}
        found = {v.key: experiments.find(self._root, self.names[v.key]) for v in VARIANTS}
        self.commits = {key: commit for key, commit in found.items() if commit is not None}
        stale = [v for v in VARIANTS if (not only or v.key in only) and not self.kept(v)]
        # Every other is compared with the full model clip by clip.
        full = BY_KEY[FULL]
        if stale and full not in stale and FULL not in self.commits:
            stale.insert(0, full)
        self.stale = stale

    def kept(self, variant: Variant) -> bool:
        """Its numbers are in the file, and nothing that they depend on has changed."""
        lineage = self.entries.get(variant.key, {}).get("lineage", {})
        return bool(lineage.get("fingerprint") == self.marks[variant.key])

    def collect(self, variant: Variant) -> bool:
        """Take up a finished experiment; False where there is none."""
        commit = experiments.find(self._root, self.names[variant.key])
        if commit is None:
            return False
        self.commits[variant.key] = commit
        self.entries[variant.key] = experiments.collect(
            self._root, variant, self.params, self.commits
        )
        variants.write(self.entries)
        return True


@app.command("run")
def run_command(only: Only = None) -> None:
    """Run every variant whose numbers are missing or old, one after the other, and keep them.

    Each runs in a copy of the checkout (`dvc exp run --temp`): the working tree stays as it is, and
    the work cache is shared, so that only training, generation and scoring cost time. Ctrl-C at any
    time: finished variants are kept, a training goes on from its last saved state.

    Example: dimitra ablations run && git add metrics/ablations.json
    """
    with _told():
        work = _Round(only)
        if work.stale:
            experiments.check_clean(Path())
        for number, variant in enumerate(work.stale, 1):
            head = f"[bold]{number}/{len(work.stale)} {variant.label}[/]"
            if work.collect(variant):
                console.print(f"{head}: had run already")
                continue
            console.print(f"{head}: {work.names[variant.key]}")
            experiments.call(Path(), experiments.command(variant, work.names[variant.key]))
            if not work.collect(variant):
                raise StageError(f"DVC has kept no experiment {work.names[variant.key]}")
        show(work.entries)


@app.command("queue")
def queue_command(only: Only = None) -> None:
    """Queue the same experiments for DVC's own workers, on a machine that runs several at a time.

    Example: dimitra ablations queue && dvc queue start --jobs 4; later: dimitra ablations collect
    """
    with _told():
        work = _Round(only)
        experiments.check_clean(Path())
        for variant in work.stale:
            if variant.key not in work.commits:
                name = work.names[variant.key]
                experiments.call(Path(), experiments.command(variant, name, queue=True))
        console.print("start them: dvc queue start; then: dimitra ablations collect")


@app.command("collect")
def collect_command(only: Only = None) -> None:
    """Take up finished experiments, however they were run; exit 1 where some are missing."""
    with _told():
        work = _Round(only)
        missing = [variant.label for variant in work.stale if not work.collect(variant)]
        show(work.entries)
    if missing:
        errors.print(f"no finished experiment: {', '.join(missing)}")
        raise typer.Exit(1)


@app.command("show")
def show_command() -> None:
    """Print the table of what metrics/ablations.json holds."""
    with _told():
        show(variants.read())


_SHOWN = tuple(
    METRICS[key]
    for key in (
        "mouth_mae_truth",
        "opening_corr_truth",
        "expression_mae_truth",
        "head_speed",
        "head_speed_gap",
        "head_range",
        "head_range_gap",
    )
)


def show(entries: Mapping[str, Any]) -> None:
    """Print a table for each data set, and what it says."""
    datasets = sorted({name for one in entries.values() for name in one["metrics"]})
    for dataset in datasets:
        table = Table(title=f"Ablations, {dataset}")
        table.add_column("variant", no_wrap=True)
        for metric in _SHOWN:
            unit = f", {metric.unit}" if metric.unit else ""
            table.add_column(f"{metric.label}{unit} {metric.arrow}", justify="right")
        for variant in VARIANTS:
            row = entries.get(variant.key, {}).get("metrics", {}).get(dataset)
            if row is not None:
                values = (row[metric.key]["value"] for metric in _SHOWN)
                shown = (
                    "–" if value is None else f"{value:.{metric.decimals}f}"
                    for metric, value in zip(_SHOWN, values, strict=True)
                )
                table.add_row(variant.label, *shown)
        console.print(table)
        for sentence in findings(entries, dataset):
            console.print(escape(sentence), soft_wrap=True)
    commits = sorted({one["lineage"]["baseline_commit"][:12] for one in entries.values()})
    if commits:
        console.print(f"made at {', '.join(commits)}; the run of metrics/*.json may be a later one")
    if not datasets:
        console.print("metrics/ablations.json holds no numbers yet: dimitra ablations run")
