"""``dimitra assets``: third-party weights, listed, fetched, added by hand, pinned, verified."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn
from rich.table import Column, Table

from dimitra import assets, fetching
from dimitra.doctor import DoctorError, needed_assets, parameters
from dimitra.weights import read_pins, weights_file

app = typer.Typer(
    help="Third-party weights: what they are, where they come from, their licence; fetch them.",
    no_args_is_help=True,
)
console = Console()
errors = Console(stderr=True)

_WIDTH = 120
"""Of the list where no terminal says how wide it is."""

References = Annotated[
    list[str] | None,
    typer.Argument(
        help="Names, hf:owner/model@revision or paths; by default all that the profile needs."
    ),
]
Reference = Annotated[str, typer.Argument(help="A name, or hf:owner/model@revision.")]
Profile = Annotated[
    str | None,
    typer.Option(help="Profile whose needs are meant; by default what params.yaml here says."),
]
Replace = Annotated[
    bool, typer.Option("--replace", help="The bytes changed on purpose: pin the others.")
]


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except (assets.AssetError, DoctorError) as error:
        errors.print(f"[red]error:[/] {escape(str(error))}", soft_wrap=True)
        raise typer.Exit(2) from None


def _chosen(references: list[str] | None, profile: str | None) -> list[assets.Asset]:
    """The assets given; or those that the profile lists, and those that its parameters name."""
    with _told():
        if not references:
            examined = parameters(profile)
            listed = [asset.name for asset in assets.list_assets(examined.profile)]
            named = [r for r in needed_assets(examined) if assets.get_asset(r).path is None]
            references = list(dict.fromkeys([*listed, *named]))
        return [assets.get_asset(reference) for reference in references]


@app.command("list")
def list_command() -> None:
    """Show every known asset: purpose, size, licence, profiles, and whether it is here."""
    table = Table(
        Column("asset", no_wrap=True),
        "here",
        Column("MB", no_wrap=True, justify="right"),
        Column("profiles"),
        Column("licence", overflow="fold"),
        Column("purpose", overflow="fold", ratio=1),
        box=None,
    )
    for asset in assets.list_assets():
        try:
            assets.asset_path(asset.name)
            here = "[green]yes[/]"
        except assets.MissingAssetError:
            here = "no"
        table.add_row(
            asset.name,
            here,
            "?" if asset.size_bytes is None else f"{asset.size_bytes / 1e6:.1f}",
            ", ".join(asset.profiles) or "-",
            asset.licence + ("" if asset.commercial else "; not for commerce"),
            escape(asset.purpose) + (f"\n[dim]{escape(asset.note)}[/]" if asset.note else ""),
        )
    (console if console.is_terminal else Console(width=_WIDTH)).print(table)
    console.print(f"store: {assets.store()}")


@app.command("fetch")
def fetch_command(references: References = None, profile: Profile = None) -> None:
    """Fetch assets into the store that all checkouts share; what is there already is kept.

    Example: dimitra assets fetch dlib_68 hf:openai/clip-vit-base-patch32@COMMIT
    """
    failed = False
    columns = (
        TextColumn("{task.description:<22}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
    )
    chosen = _chosen(references, profile)
    pinned = [asset.name for asset in chosen if asset.sha256 is None]
    with Progress(*columns, console=errors) as progress:
        for asset in chosen:
            task = progress.add_task(escape(asset.name), total=asset.size_bytes)

            def show(done: int, total: int, task: object = task) -> None:
                progress.update(task, completed=done, total=total or None)  # type: ignore[arg-type]

            try:
                fetching.fetch(asset.name, show)
                size = assets.get_asset(asset.name).size_bytes
                progress.update(task, completed=size, total=size)
            except assets.AssetError as error:
                failed = True
                progress.console.print(f"[red]error:[/] {escape(str(error))}", soft_wrap=True)
    _remind([name for name in pinned if assets.get_asset(name).sha256 is not None])
    if failed:
        raise typer.Exit(1)


def _remind(references: list[str]) -> None:
    if references:
        console.print(
            f"pinned in {weights_file()}: {', '.join(map(escape, references))}; commit it",
            soft_wrap=True,
        )


@app.command("add")
def add_command(
    reference: Reference,
    path: Annotated[Path, typer.Argument(help="The file or folder that you have got.")],
    replace: Replace = False,
) -> None:
    """Copy weights that only a person can get into the store, and pin their sha256.

    Example: dimitra assets add bfm_2009 ~/BFM/BFM_model_front.mat
    """
    with _told():
        where = fetching.add(reference, path.expanduser(), other=replace)
    console.print(f"{escape(reference)} is at {where}", soft_wrap=True)
    _remind([reference] if reference in read_pins() else [])


@app.command("pin")
def pin_command(
    references: Annotated[list[str], typer.Argument(help="Paths of your own weights.")],
    replace: Replace = False,
) -> None:
    """Pin the sha256 of your own file or folder, or of what the store holds of an asset.

    Example: dimitra assets pin /data/weights/my_encoder
    """
    with _told():
        for reference in references:
            fetching.pin(reference, other=replace)
    _remind(references)


@app.command("verify")
def verify_command(references: References = None, profile: Profile = None) -> None:
    """Read all bytes of the assets and compare their sha256; exit 1 if any is missing or wrong."""
    table = Table("asset", "sha256", "state")
    bad = []
    for asset in _chosen(references, profile):
        state = assets.verify(asset.name)
        if state != "ok":
            bad.append(f"{asset.name}: {assets.remedy(asset)}")
        colour = "green" if state == "ok" else "red"
        table.add_row(escape(asset.name), (asset.sha256 or "-")[:16], f"[{colour}]{state}[/]")
    console.print(table)
    for line in bad:
        errors.print(escape(line), soft_wrap=True)
    if bad:
        raise typer.Exit(1)
