"""``dimitra audit``: what a metric, model, shard, clip or video rests on, and whether it holds."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from dimitra.lineage.ablations import read_entries
from dimitra.lineage.audit import Audit, audit
from dimitra.lineage.findings import broken
from dimitra.lineage.graph import Graph
from dimitra.lineage.record import LineageError
from dimitra.lineage.target import EVALUATE

app = typer.Typer(context_settings={"allow_interspersed_args": True})
console = Console(highlight=False)
errors = Console(stderr=True, highlight=False)

USAGE = 2
"""Exit code where there is no such target, or what is asked cannot be done."""


def _replay(found: Audit, graph: Graph) -> None:
    from pipelines.errors import StageError
    from pipelines.lineage.replay import replay
    from pipelines.params import ParamsError

    record = graph.records.get(EVALUATE)
    if record is None:
        raise LineageError("there is no record of evaluate: run `dvc repro`")
    try:
        made = replay(found.target, record)
    except (FileNotFoundError, ParamsError, StageError) as error:
        raise LineageError(f"--replay: {error}") from None
    found.replay = {**asdict(made), "message": made.message}
    found.add(
        broken(problem.partition(":")[0], f"replayed: {problem}") for problem in made.problems
    )


def _diff(found: Audit, graph: Graph, revision: str) -> None:
    from dimitra.lineage.difference import compare, records_at

    old, _, new = revision.partition("..")
    if found.target.kind == "ablation":
        from dimitra.lineage.ablation_difference import compare_ablations, entries_at

        entries = entries_at(new, Path()) if new else read_entries(Path())[0]
        causes = compare_ablations(entries_at(old, Path()), entries, found.target, Path())
        found.causes = [asdict(one) for one in causes]
        return
    newer = records_at(new, Path()) if new else graph
    if not found.target.path:
        raise LineageError(
            "--diff compares an artefact of two revisions; a clip is none: name a shard"
        )
    found.causes = [
        asdict(one) for one in compare(records_at(old, Path()), newer, found.target.path)
    ]


@app.callback(invoke_without_command=True)
def audit_command(
    target: Annotated[
        str,
        typer.Argument(
            help="metrics/chorus.json, metrics/chorus.json#dimitra_hp.f_lmd, "
            "metrics/ablations.json#joint.mouth_mae_truth, models/lips, the path of a shard, a "
            "clip id, or the path of a raw video."
        ),
    ],
    verify: Annotated[
        bool, typer.Option("--verify", help="Read everything again that is here, and compare.")
    ] = False,
    diff: Annotated[
        str | None,
        typer.Option(help="Why did it change since this revision (or between A..B)?"),
    ] = None,
    replay: Annotated[
        bool, typer.Option("--replay", help="Make the numbers again from what they are made of.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Say what a number, a model, a shard, a clip or a video rests on; exit 1 on a broken link.

    Example: dimitra audit metrics/chorus.json#dimitra_hp.f_lmd --verify
    """
    try:
        found, graph = audit(target, verify=verify)
        if diff is not None:
            _diff(found, graph, diff)
        if replay:
            _replay(found, graph)
    except (LineageError, OSError) as error:
        errors.print(f"[red]error:[/] {escape(str(error))}", soft_wrap=True)
        raise typer.Exit(USAGE) from None
    _show(found, as_json)
    if not found.ok:
        raise typer.Exit(1)


def _show(found: Audit, as_json: bool) -> None:
    if as_json:
        content: dict[str, Any] = found.to_json()
        typer.echo(json.dumps(content, indent=2, default=str))
        return
    from dimitra.lineage.printing import print_audit

    print_audit(found, console)


if __name__ == "__main__":
    app()
