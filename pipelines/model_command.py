"""``dimitra model``: the trained models as an MLflow model that can be served."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

app = typer.Typer(help="The trained models as one MLflow model.", no_args_is_help=True)
errors = Console(stderr=True, highlight=False)


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
    from pipelines.pyfunc import export

    try:
        export(models, params, out)
    except (AnimationError, StageError, OSError) as error:
        errors.print(f"[red]error:[/] {escape(str(error))}", soft_wrap=True)
        raise typer.Exit(1) from None
    typer.echo(f"mlflow models serve -m {out} --env-manager local -h 127.0.0.1")
