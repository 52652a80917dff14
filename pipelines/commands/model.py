"""``dimitra model``: the trained models as an MLflow model, in a folder or in the registry."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

app = typer.Typer(help="The trained models as one MLflow model.", no_args_is_help=True)
console = Console(highlight=False)
errors = Console(stderr=True, highlight=False)

SHOWN = "dimitra_hp"
"""The method whose metrics the list shows."""


@app.callback()
def main() -> None:
    """The trained models as one MLflow model."""


@app.command("export")
def export_command(
    out: Annotated[Path, typer.Argument(help="Folder to make.")],
    models: Annotated[Path, typer.Option(help="As of `dimitra animate`.")] = Path("models"),
    params: Annotated[Path | None, typer.Option(help="As of `dimitra animate`.")] = None,
) -> None:
    """Write an MLflow model; `mlflow models serve -m DIR --env-manager local` answers with videos.

    Example: dimitra model export served
    """
    from dimitra.animation.errors import AnimationError
    from pipelines.errors import StageError
    from pipelines.tracking.pyfunc import export

    try:
        export(models, params, out)
    except (AnimationError, StageError, OSError) as error:
        errors.print(f"[red]error:[/] {escape(str(error))}", soft_wrap=True)
        raise typer.Exit(1) from None
    typer.echo(f"mlflow models serve -m {out} --env-manager local -h 127.0.0.1")


@app.command("register")
def register_command(
    models: Annotated[Path, typer.Option(help="As of `dimitra animate`.")] = Path("models"),
    params: Annotated[Path | None, typer.Option(help="As of `dimitra animate`.")] = None,
    metrics: Annotated[
        list[Path] | None, typer.Option(help="Table that `evaluate` has made of them; repeat.")
    ] = None,
) -> None:
    """Make a version of trained models in MLflow's registry, if they are not there yet.

    `evaluate` does so by itself, except in experiments of DVC.

    Example: dimitra model register --metrics metrics/chorus.json
    """
    from dimitra.animation.errors import AnimationError
    from pipelines.tracking.registry import RegistryError, register_by_hand

    try:
        version = register_by_hand(models, params, metrics or [])
    except (AnimationError, RegistryError, OSError) as error:
        errors.print(f"[red]error:[/] {escape(str(error))}", soft_wrap=True)
        raise typer.Exit(1) from None
    said = "registered as" if version.is_new else "already there:"
    console.print(f"{said} {version.address}", soft_wrap=True)


@app.command("list")
def list_command() -> None:
    """List the versions in MLflow's registry, the newest first.

    Example: dimitra model list
    """
    from pipelines.tracking.registry import DIGEST, RegistryError, list_versions

    try:
        versions = list_versions()
    except (RegistryError, OSError) as error:
        errors.print(f"[red]error:[/] {escape(str(error))}", soft_wrap=True)
        raise typer.Exit(1) from None
    if not versions:
        console.print("no version is registered; `dimitra model register` makes one")
        return
    names = sorted({name for one in versions for name in one.metrics if _is_shown(name)})
    table = Table("version", "made (UTC)", "commit", "renderer", "models", *map(_short, names))
    for one in versions:
        dirty = "+" if one.tags.get("git_dirty") == "true" else ""
        table.add_row(
            str(one.number),
            datetime.fromtimestamp(one.made, UTC).strftime("%Y-%m-%d %H:%M"),
            one.tags.get("git_commit", "")[:7] + dirty,
            one.tags.get("renderer", ""),
            one.tags.get(DIGEST, "")[:12],
            *(f"{one.metrics[name]:.4g}" if name in one.metrics else "" for name in names),
        )
    console.print(f"newest: {versions[0].address}", soft_wrap=True)
    console.print(table)


def _is_shown(name: str) -> bool:
    _, method, metric = name.split("/")
    return method == SHOWN and metric in ("f_lmd", "m_lmd")


def _short(name: str) -> str:
    dataset, _, metric = name.split("/")
    return f"{dataset} {metric}"
