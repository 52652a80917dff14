"""``dimitra params``: profiles and what they change."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from dimitra.cli import console, errors
from pipelines.errors import StageError
from pipelines.params import ParamsError, load, profiles

app = typer.Typer(
    help="Parameters: use a profile, see what it changes, check a file.", no_args_is_help=True
)

_DIFFERENT = 1
_TROUBLE = 2
"""Exit codes as diff(1) has them."""


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except (OSError, ParamsError, StageError) as error:
        errors.print(f"[red]error:[/] {escape(str(error))}", soft_wrap=True)
        raise typer.Exit(_TROUBLE) from None


@app.command("use")
def use_command(
    profile: Annotated[str, typer.Argument(help="A profile of conf/: sample, paper, ...")],
    force: Annotated[
        bool, typer.Option("--force", help="Overwrite edits that are committed nowhere.")
    ] = False,
) -> None:
    """Write params.yaml as a copy of a profile, and the lines of dvc.yaml that follow from it.

    Example: dimitra params use paper && dimitra doctor && dvc repro
    """
    with _told():
        before = profiles.copy_of()
        profiles.use(profile, force=force)
    same = "already was" if before == profile else "is now"
    console.print(f"params.yaml {same} a copy of conf/{profile}.yaml", soft_wrap=True)
    console.print("what it needs and what is missing: dimitra doctor", soft_wrap=True)


@app.command("diff")
def diff_command(
    left: Annotated[str, typer.Argument(help="A profile, or a parameter file.")],
    right: Annotated[str, typer.Argument(help="Another; by default what is here.")] = "params.yaml",
) -> None:
    """Show the parameters in which two profiles or files differ; exit 1 if they do, 2 on trouble.

    Example: dimitra params diff sample paper
    """
    with _told():
        changes = profiles.compare(left, right)
    if not changes:
        return
    table = Table(*(Column(name, overflow="fold") for name in ("key", left, right)))
    for change in changes:
        cells = [
            "[dim]-[/]" if value is None else escape(value) for value in (change.left, change.right)
        ]
        table.add_row(escape(change.key), *cells)
    # Into a pipe or a file no value is cut: it may be longer than a terminal is wide.
    wide = console if console.is_terminal else Console(width=_width(changes))
    wide.print(table)
    raise typer.Exit(_DIFFERENT)


def _width(changes: list[profiles.Change]) -> int:
    columns = zip(*((c.key, c.left or "-", c.right or "-") for c in changes), strict=True)
    return sum(max(map(len, column)) for column in columns) + 40


@app.command("check")
def check_command(
    file: Annotated[str, typer.Argument(help="A profile, or a parameter file.")] = "params.yaml",
) -> None:
    """Check a parameter file against the schema; exit 2 with every fault named if it breaks it."""
    with _told():
        path = profiles.file_of(file)
        load(path)
        copied = profiles.copy_of() if path == profiles.PARAMS else None
    note = "" if copied is None else f", a copy of conf/{copied}.yaml"
    console.print(f"{path} is valid{note}", soft_wrap=True)
