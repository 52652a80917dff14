"""The ``dimitra`` command. Commands that need Ray, DVC or MLflow register from ``pipelines/``.

They do so through the entry-point group ``dimitra.commands``: each entry is a ``typer.Typer``.
"""

from __future__ import annotations

import enum
from importlib.metadata import entry_points, version
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn
from rich.table import Table

from dimitra import assets as asset_store
from dimitra import fetching

app = typer.Typer(
    name="dimitra",
    help="Audio-driven talking heads: from raw video to the paper's tables, every number audited.",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
)
assets_app = typer.Typer(
    help="Third-party weights: what they are, where they come from, their licence; fetch them.",
    no_args_is_help=True,
)
app.add_typer(assets_app, name="assets")

console = Console()
errors = Console(stderr=True)

Names = Annotated[
    list[str] | None, typer.Argument(help="Asset names; all of the profile's if none is given.")
]


class ProfileName(enum.StrEnum):
    """Profiles that this version can run."""

    SAMPLE = "sample"


Profile = Annotated[ProfileName, typer.Option(help="Profile whose needs are meant.")]


def _chosen(names: list[str] | None, profile: ProfileName) -> list[asset_store.Asset]:
    try:
        if names:
            return [asset_store.get_asset(name) for name in names]
    except asset_store.AssetError as error:
        errors.print(f"[red]error:[/] {error}")
        raise typer.Exit(2) from None
    return asset_store.list_assets(profile)


@assets_app.command("list")
def list_command() -> None:
    """Show every known asset: purpose, size, licence, profiles, and whether it is here."""
    table = Table("asset", "purpose", "MB", "licence", "profiles", "here")
    for asset in asset_store.list_assets():
        try:
            asset_store.asset_path(asset.name)
            here = "[green]yes[/]"
        except asset_store.MissingAssetError:
            here = "no"
        licence = asset.licence + ("" if asset.commercial else " (non-commercial)")
        table.add_row(
            asset.name,
            asset.purpose + (f" [dim]{asset.note}[/]" if asset.note else ""),
            "?" if asset.size_bytes is None else f"{asset.size_bytes / 1e6:.1f}",
            licence,
            ", ".join(asset.profiles) or "-",
            here,
        )
    console.print(table)
    console.print(f"store: {asset_store.store()}")


@assets_app.command("fetch")
def fetch_command(names: Names = None, profile: Profile = ProfileName.SAMPLE) -> None:
    """Fetch assets into the store that all checkouts share; what is there already is kept.

    Example: dimitra assets fetch dlib_68
    """
    failed = False
    columns = (
        TextColumn("{task.description:<22}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
    )
    with Progress(*columns, console=errors) as progress:
        for asset in _chosen(names, profile):
            task = progress.add_task(asset.name, total=asset.size_bytes)

            def show(done: int, total: int, task: object = task) -> None:
                progress.update(task, completed=done, total=total)  # type: ignore[arg-type]

            try:
                fetching.fetch(asset.name, show)
                progress.update(task, completed=asset.size_bytes, total=asset.size_bytes)
            except asset_store.AssetError as error:
                failed = True
                progress.console.print(f"[red]error:[/] {error}")
    if failed:
        raise typer.Exit(1)


@assets_app.command("verify")
def verify_command(names: Names = None, profile: Profile = ProfileName.SAMPLE) -> None:
    """Read all bytes of the assets and compare their sha256; exit 1 if any is missing or wrong."""
    table = Table("asset", "sha256", "state")
    bad = False
    for asset in _chosen(names, profile):
        state = asset_store.verify(asset.name)
        bad = bad or state != "ok"
        colour = "green" if state == "ok" else "red"
        table.add_row(asset.name, (asset.sha256 or "-")[:16], f"[{colour}]{state}[/]")
    console.print(table)
    if bad:
        errors.print("get what is missing or wrong with: dimitra assets fetch NAME")
        raise typer.Exit(1)


@app.command()
def doctor(profile: Profile = ProfileName.SAMPLE) -> None:
    """Say in one screen whether a profile can run here, and what to do if not."""
    from dimitra.doctor import examine

    findings = examine(profile)
    table = Table("what", "found", "ok", "what to do")
    for finding in findings:
        mark = "[green]yes[/]" if finding.ok else "[red]no[/]"
        table.add_row(finding.what, finding.found, mark, finding.remedy)
    console.print(table)
    if not all(finding.ok for finding in findings):
        raise typer.Exit(1)


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
    """Entry point: the library's commands and those that ``pipelines/`` registers."""
    for entry in entry_points(group="dimitra.commands"):
        app.add_typer(entry.load(), name=entry.name)
    app()
