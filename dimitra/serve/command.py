"""``dimitra serve``: the page on this machine."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

console = Console(stderr=True, highlight=False)


def serve(
    models: Annotated[Path, typer.Option(help="As of `dimitra animate`.")] = Path("models"),
    params: Annotated[Path | None, typer.Option(help="As of `dimitra animate`.")] = None,
    host: Annotated[
        str,
        typer.Option(help="Address to answer at; others than this machine's own let others in."),
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="0: any that is free.")] = 8420,
    name: Annotated[
        list[str] | None, typer.Option(help="Host name by which browsers may call; repeatable.")
    ] = None,
    browse: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
    max_upload_mb: Annotated[int, typer.Option(min=1, help="Largest photo or recording.")] = 1000,
    c2pa_key: Annotated[Path | None, typer.Option(help="As of `dimitra animate`.")] = None,
    c2pa_certificate: Annotated[Path | None, typer.Option(help="As of `dimitra animate`.")] = None,
    c2pa_timestamp: Annotated[str | None, typer.Option(help="As of `dimitra animate`.")] = None,
) -> None:
    """Open a page on which a photo and a recording become a video, until Ctrl-C.

    Example: dimitra serve --open
    """
    from dimitra.animation.credentials import given, load_signer
    from dimitra.animation.drawing import check_size, chosen_renderer, load_renderer
    from dimitra.animation.errors import AnimationError
    from dimitra.animation.models import load_models, models_folder
    from dimitra.animation.settings import parameter_file, read_settings
    from dimitra.render.pirender_weights import PIRenderError
    from dimitra.serve.app import make_app
    from dimitra.serve.studio import Equipment, Studio
    from dimitra.web.server import AddressError, address, bind, is_loopback
    from dimitra.web.server import serve as run
    from dimitra.weights import AssetError

    try:
        credentials = given(c2pa_key, c2pa_certificate, c2pa_timestamp)
        if credentials is not None:
            load_signer(credentials)
        inside = models_folder(models)
        settings = read_settings(parameter_file(inside, params))
        load_models(inside, settings)
        renderer = chosen_renderer(None, settings)
        check_size(settings.render.size, renderer)
        if renderer != "mesh" or settings.render.device != "cpu":  # else there is nothing to lack
            load_renderer(renderer, settings, settings.render.size)
        bound = bind(host, port)
    except (AnimationError, AddressError, AssetError, PIRenderError) as error:
        console.print(f"[red]error:[/] {escape(str(error))}", soft_wrap=True)
        raise typer.Exit(1) from None

    def ready() -> None:
        if not is_loopback(bound):
            console.print(
                f"[bold red]warning:[/] {escape(host)} can be reached from other machines. There "
                "is no password and no encryption: whoever reaches it can use this machine, and "
                "who listens sees photos and voices. Browsers do not record sound there either. "
                f"Safer: ssh -L {port}:127.0.0.1:{port} this-machine",
                soft_wrap=True,
            )
        console.print(f"open {address(bound)} (Ctrl-C ends)", soft_wrap=True)

    names = {given_name.lower() for given_name in name or ()}
    if not is_loopback(bound):
        import socket

        names |= {socket.gethostname().lower(), host.lower()}
    with bound, tempfile.TemporaryDirectory(prefix="dimitra-serve-") as folder:
        studio = Studio(Path(folder), Equipment(models.resolve(), params, credentials))
        run(
            make_app(studio, names=names, max_upload_bytes=max_upload_mb * 1_000_000),
            bound,
            browse=browse,
            ready=ready,
        )
