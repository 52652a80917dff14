"""Compare metrics with the committed ones: `python -m pipelines.tolerance`.

Prints a table and exits 1 where a number lies beyond ``metrics/tolerance.yaml``.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from rich.console import Console
from rich.table import Table

NOT_A_DATASET = ("ablations.json", "paired.json")
"""Of `dimitra ablations run`, not of a run of the pipeline; and tests, which have no tolerance."""
COUNTS = ("n", "dropped", "identities")
BOUNDS = ("low", "high", "identities_low", "identities_high")

Metrics = Mapping[str, Mapping[str, Mapping[str, Any]]]
"""``{method: {metric: {"value", "reason", *COUNTS, *BOUNDS}}}``, the content of a metric file."""


class Allowed(BaseModel):
    """``|new - committed| <= absolute + relative * |committed|``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    relative: Annotated[float, Field(ge=0.0)]
    absolute: Annotated[float, Field(ge=0.0)]

    def limit(self, committed: float) -> float:
        """Largest allowed difference from a committed value."""
        return self.absolute + self.relative * abs(committed)


class Tolerance(BaseModel):
    """Content of ``metrics/tolerance.yaml``.

    Attributes:
        clips: by which ``n``, ``dropped`` and ``identities`` may differ.
        default: for metrics not listed.
        metrics: metric to its own tolerance.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    clips: Annotated[int, Field(ge=0)]
    default: Allowed
    metrics: dict[str, Allowed] = {}

    def of(self, metric: str) -> Allowed:
        """Tolerance of a metric."""
        return self.metrics.get(metric, self.default)


@dataclass(frozen=True)
class Difference:
    """One compared number.

    Attributes:
        dataset: name of the metric file.
        method: row of the table.
        metric: column of the table.
        committed: None where absent or null.
        new: None where absent or null.
        limit: largest allowed difference, None where it does not apply.
        problem: empty within tolerance, else what is wrong.
    """

    dataset: str
    method: str
    metric: str
    committed: float | None
    new: float | None
    limit: float | None
    problem: str


def _compare_one(
    committed: Mapping[str, Any] | None, new: Mapping[str, Any] | None, metric: str, rule: Tolerance
) -> tuple[float | None, str]:
    if committed is None:
        return None, "not in the committed file"
    if new is None:
        return None, "missing from the new file"
    lacking = sorted(committed.keys() ^ new.keys())
    if lacking:
        return None, f"{', '.join(lacking)} in one of the files alone"
    before, after = committed["value"], new["value"]
    if (before is None) != (after is None):
        reason = new["reason"] if after is None else committed["reason"]
        return None, f"{before} became {after} ({reason})"
    for count in COUNTS:
        if abs(committed[count] - new[count]) > rule.clips:
            return None, (
                f"{count} {committed[count]} became {new[count]}, at most {rule.clips} may differ"
            )
    allowed = rule.of(metric)
    found = ((name, _differs(committed[name], new[name], allowed)) for name in ("value", *BOUNDS))
    problems = [f"{name} {problem}" for name, problem in found if problem]
    limit = None if before is None else allowed.limit(before)
    return limit, "; ".join(problems).removeprefix("value ")


def _differs(before: float | None, after: float | None, allowed: Allowed) -> str:
    """What is wrong with a number, empty for nothing."""
    if before is None or after is None:
        return "" if before is after else f"{before} became {after}"
    limit, distance = allowed.limit(before), abs(after - before)
    return "" if distance <= limit else f"differs by {distance:.4g}, {limit:.4g} is allowed"


def compare(dataset: str, committed: Metrics, new: Metrics, rule: Tolerance) -> list[Difference]:
    """Compare two versions of one dataset's metrics, number by number, sorted by name."""
    keys = {
        (method, metric)
        for side in (committed, new)
        for method, row in side.items()
        for metric in row
    }
    found = []
    for method, metric in sorted(keys):
        before = committed.get(method, {}).get(metric)
        after = new.get(method, {}).get(metric)
        limit, problem = _compare_one(before, after, metric, rule)
        found.append(
            Difference(
                dataset=dataset,
                method=method,
                metric=metric,
                committed=before["value"] if before else None,
                new=after["value"] if after else None,
                limit=limit,
                problem=problem,
            )
        )
    return found


def read_tolerance(path: Path) -> Tolerance:
    """Read ``tolerance.yaml``.

    Raises:
        ValueError: it breaks its schema; the message names every offending key.
    """
    try:
        return Tolerance.model_validate(yaml.safe_load(path.read_text()))
    except ValidationError as error:
        lines = [f"  {'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()]
        raise ValueError(f"{path} is not valid:\n" + "\n".join(lines)) from None


def committed_metrics(revision: str, folder: Path) -> dict[str, Metrics]:
    """Metric files of ``folder`` as committed at ``revision``: dataset to its content.

    Raises:
        FileNotFoundError: git is not installed.
        subprocess.CalledProcessError: not a git repository, or no such revision.
    """
    git = shutil.which("git")
    if git is None:
        raise FileNotFoundError("git is not on the PATH: it holds the committed metrics")

    def output(*arguments: str) -> str:
        run = subprocess.run(  # noqa: S603 - arguments are a list, no shell
            [git, *arguments], capture_output=True, text=True, check=True
        )
        return run.stdout

    listed = output("ls-tree", "--name-only", revision, f"{folder.as_posix()}/").splitlines()
    names = sorted(
        name for name in listed if name.endswith(".json") and Path(name).name not in NOT_A_DATASET
    )
    return {Path(name).stem: json.loads(output("show", f"{revision}:./{name}")) for name in names}


def _text(value: float | None) -> str:
    return "null" if value is None else f"{value:.4f}"


def _table(differences: list[Difference]) -> Table:
    table = Table(title="Metrics against the committed ones")
    for name in ("dataset", "method", "metric"):
        table.add_column(name, no_wrap=True, min_width=7)
    for name in ("committed", "new", "allowed"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for item in differences:
        table.add_row(
            item.dataset,
            item.method,
            item.metric,
            _text(item.committed),
            _text(item.new),
            "" if item.limit is None else f"±{item.limit:.4f}",
            f"[red]{item.problem}[/red]" if item.problem else "[green]ok[/green]",
        )
    return table


def check(revision: str, tolerance: Path, folder: Path, console: Console) -> bool:
    """Compare and print; True where every number lies within tolerance.

    A revision without metrics has nothing to compare with: said so, and True.
    """
    rule = read_tolerance(tolerance)
    committed = committed_metrics(revision, folder)
    new = {
        path.stem: json.loads(path.read_text())
        for path in sorted(folder.glob("*.json"))
        if path.name not in NOT_A_DATASET
    }
    if not committed:
        console.print(f"{revision} has no metrics under {folder}/: nothing to compare with")
        return True
    differences = [
        item
        for dataset in sorted(committed.keys() | new.keys())
        for item in compare(dataset, committed.get(dataset, {}), new.get(dataset, {}), rule)
    ]
    console.print(_table(differences))
    beyond = [item for item in differences if item.problem]
    if beyond:
        console.print(f"[red]{len(beyond)} of {len(differences)} numbers beyond {tolerance}[/red]")
    else:
        console.print(f"all {len(differences)} numbers agree within {tolerance}")
    return not beyond


def main(
    revision: Annotated[str, typer.Option(help="Commit that holds the metrics.")] = "HEAD",
    tolerance: Annotated[Path, typer.Option(help="How far numbers may differ.")] = Path(
        "metrics/tolerance.yaml"
    ),
    folder: Annotated[Path, typer.Option(help="Folder of the metric files.")] = Path("metrics"),
) -> None:
    """Compare metrics with the committed ones; exit 1 beyond tolerance."""
    if not check(revision, tolerance, folder, Console()):
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
