"""The ``dimitra`` command. Commands that need Ray, DVC or MLflow register from ``pipelines/``.

They do so through the entry-point group ``dimitra.commands``: each entry is a ``typer.Typer``.
"""

from __future__ import annotations

import json
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import asdict
from importlib.metadata import EntryPoint, entry_points, version
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from dimitra import asset_command
from dimitra.animation import command as animation_command
from dimitra.datasets import command as dataset_command
from dimitra.doctor import Finding
from dimitra.optional_weights import OptionalWeights, optional_weights
from dimitra.serve import command as serve_command
from dimitra.study import command as study_command

app = typer.Typer(
    name="dimitra",
    help="Audio-driven talking heads: from raw video to the paper's tables, every number audited.",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
)
app.add_typer(asset_command.app, name="assets")
app.add_typer(dataset_command.app, name="dataset")
app.add_typer(study_command.app, name="study")
app.command("animate")(animation_command.animate)
app.command("serve")(serve_command.serve)

console = Console()
errors = Console(stderr=True)

_WIDTH = 100
"""Of the doctor's table where no terminal says how wide it is."""


@app.command()
def doctor(
    profile: Annotated[
        str | None, typer.Option(help="A profile of conf/; by default what params.yaml here says.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Say in one screen what a profile needs, what is missing here, and what to do; exit 1 then.

    Example: dimitra doctor --profile paper
    """
    from dimitra.doctor import DoctorError, examine, parameters

    try:
        examined = parameters(profile)
        findings = examine(profile)
    except DoctorError as error:
        errors.print(f"[red]error:[/] {escape(str(error))}", soft_wrap=True)
        raise typer.Exit(2) from None
    good = all(finding.ok for finding in findings)
    without = list(optional_weights(examined))

    if as_json:
        rows = [asdict(finding) for finding in findings]
        report = {"profile": examined.profile, "file": str(examined.file), "ok": good}
        optional = [asdict(one) for one in without]
        typer.echo(json.dumps({**report, "findings": rows, "optional": optional}, indent=2))
    else:
        _print(f"profile {examined.profile}: {examined.file}", findings)
        _print_optional(without)
    if not good:
        raise typer.Exit(1)


def _print(title: str, findings: list[Finding]) -> None:
    """A table of what was seen; below it, unbroken, the commands and addresses that mend it."""
    table = Table("what", "", "found", Column("licence", overflow="fold"), box=None)
    for finding in findings:
        colour, mark = ("green", "ok") if finding.ok else ("red", "NO")
        row = (finding.what, mark, finding.found, finding.licence)
        table.add_row(*(escape(cell) for cell in row), style=None if finding.ok else colour)
    wide = console if console.is_terminal else Console(width=_WIDTH)
    wide.print(f"[bold]{escape(title)}[/]")
    wide.print(table)
    wrong = [finding for finding in findings if not finding.ok]
    if not wrong:
        wide.print("all is there")
        return
    wide.print(f"[bold]to do[/] ({len(wrong)} of {len(findings)})")
    for finding in wrong:
        # A command on a line of its own can be copied, and a comment behind it with it.
        lines = finding.remedy.replace("; then: ", ";\n").splitlines()
        name = finding.what.removeprefix("asset ")
        if not lines[0].endswith(f" {name}"):
            lines[0] = f"{name}: {lines[0]}"
        if finding.home not in finding.remedy:
            beside = f"{lines[-1]}  # {finding.home}"
            room = wide.width - (2 if len(lines) == 1 else 6)
            lines[-1:] = [beside] if len(beside) <= room else [lines[-1], finding.home]
        for number, line in enumerate(lines):
            indent = "  " if number == 0 else "      "
            wide.print(
                escape(
                    textwrap.fill(
                        line,
                        max(wide.width, 60),
                        initial_indent=indent,
                        subsequent_indent="      ",
                        break_long_words=False,
                        break_on_hyphens=False,
                    )
                ),
                soft_wrap=True,
                highlight=False,
            )


def _print_optional(without: list[OptionalWeights]) -> None:
    """One line for each network that the profile does without."""
    if not without:
        return
    wide = console if console.is_terminal else Console(width=_WIDTH)
    wide.print("[bold]optional, not used here[/] (docs/metrics.md, docs/renderer_training.md)")
    for one in without:
        line = f"  {one.what}: {one.found}; {one.remedy or one.switch}"
        wide.print(escape(line), soft_wrap=True, highlight=False)


def _print_version(value: bool) -> None:
    if value:
        console.print(version("dimitra"))
        raise typer.Exit


@app.callback()
def main(
    show_version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print it.")
    ] = False,
) -> None:
    """Audio-driven talking heads: from raw video to the paper's tables, every number audited."""


def _registered(wanted: str | None) -> Iterator[EntryPoint]:
    """Commands that ``pipelines/`` registers: the wanted one alone, or all to list them.

    Some take seconds to import, and a command should not wait for its neighbours.
    """
    entries = entry_points(group="dimitra.commands")
    own = {group.name for group in app.registered_groups}
    own |= {command.name or command.callback.__name__ for command in app.registered_commands}  # type: ignore[union-attr]
    if wanted in own:
        return
    yield from [entry for entry in entries if entry.name == wanted] or entries


def run() -> None:
    """Entry point: the library's commands and those that ``pipelines/`` registers."""
    wanted = next((word for word in sys.argv[1:] if not word.startswith("-")), None)
    for entry in _registered(wanted):
        app.add_typer(entry.load(), name=entry.name)
    app()
