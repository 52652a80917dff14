"""The ``dimitra`` command. Commands that need Ray, DVC or MLflow register from ``pipelines/``.

They do so through the entry-point group ``dimitra.commands``: each entry is a ``typer.Typer``.
"""

from __future__ import annotations

import json
import sys
import textwrap
from dataclasses import asdict
from importlib.metadata import entry_points, version
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from dimitra import asset_command
from dimitra.animation import command as animation_command
from dimitra.doctor import Finding
from dimitra.serve import command as serve_command
from dimitra.study import command as study_command

app = typer.Typer(
    name="dimitra",
    help="Audio-driven talking heads: from raw video to the paper's tables, every number audited.",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
)
app.add_typer(asset_command.app, name="assets")
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

    if as_json:
        rows = [asdict(finding) for finding in findings]
        report = {"profile": examined.profile, "file": str(examined.file), "ok": good}
        typer.echo(json.dumps({**report, "findings": rows}, indent=2))
    else:
        _print(f"profile {examined.profile}: {examined.file}", findings)
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
        # A command on a line of its own can be copied.
        lines = finding.remedy.replace("; then: ", ";\n").splitlines()
        if finding.home not in finding.remedy:
            lines.append(finding.home)
        lines[0] = f"{finding.what.removeprefix('asset ')}: {lines[0]}"
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


def run() -> None:
    """Entry point: the library's commands and those that ``pipelines/`` registers.

    Of the latter only the one that is asked for is loaded, since some import for seconds; all are
    where none is, so that the help lists them.
    """
    entries = {entry.name: entry for entry in entry_points(group="dimitra.commands")}
    asked = next((word for word in sys.argv[1:] if not word.startswith("-")), None)
    wanted = [entries[asked]] if asked in entries else list(entries.values())
    for entry in wanted:
        app.add_typer(entry.load(), name=entry.name)
    app()
