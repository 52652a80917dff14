"""``dimitra study serve``: the page for raters; and how the commands open a study."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape

if TYPE_CHECKING:
    from dimitra.study.ledger import Ledger
    from dimitra.study.study import Study

errors = Console(stderr=True, highlight=False)
_CONNECTIONS = 1000
"""Of 150 raters at the same time."""

Folder = Annotated[Path, typer.Argument(help="Of the study, made by `dimitra study build`.")]


@contextmanager
def told() -> Iterator[None]:
    """What stops the command is printed, exit status 2."""
    from dimitra.study.errors import StudyError
    from dimitra.web.server import AddressError

    try:
        yield
    except (StudyError, AddressError) as error:
        errors.print(f"[red]error:[/] {escape(str(error))}", soft_wrap=True)
        raise typer.Exit(2) from None


@contextmanager
def opened(folder: Path, *, verify: bool = False) -> Iterator[tuple[Study, Ledger]]:
    """A study and its answers, closed at the end.

    Args:
        folder: of the study.
        verify: hold every video against its digest.
    """
    from dimitra.study.ledger import Ledger
    from dimitra.study.study import load_study

    with told():
        study = load_study(folder, verify=verify)
        ledger = Ledger(folder, study)
        try:
            yield study, ledger
        finally:
            ledger.close()


def serve(
    folder: Folder,
    host: Annotated[
        str, typer.Option(help="Address to answer at; another lets other machines in.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="0: any that is free.")] = 8421,
    name: Annotated[
        list[str] | None, typer.Option(help="Host name by which browsers may call; repeatable.")
    ] = None,
) -> None:
    """Answer to raters until Ctrl-C; answers are kept at once, and it goes on where it stopped.

    Example: dimitra study serve study
    """
    import socket

    from dimitra.study.app import make_app
    from dimitra.web.server import address, bind, is_loopback
    from dimitra.web.server import serve as run

    with opened(folder, verify=True) as (study, ledger):
        bound = bind(host, port)

        def ready() -> None:
            if not is_loopback(bound):
                errors.print(
                    f"[bold red]warning:[/] {escape(host)} can be reached from other machines, "
                    "without encryption: who listens sees the links, and could answer with them. "
                    "Safer: a proxy with https in front of 127.0.0.1, and --name HOST",
                    soft_wrap=True,
                )
            known = ledger.raters()
            if known:
                errors.print(f"{len(known)} raters; their links: dimitra study raters {folder}")
            else:
                errors.print(f"no raters yet: dimitra study invite {folder} 20", soft_wrap=True)
            errors.print(f"open {address(bound)}#TOKEN (Ctrl-C ends)", soft_wrap=True)

        names = {given.lower() for given in name or ()}
        if not is_loopback(bound):
            names |= {socket.gethostname().lower(), host.lower()}
        with bound:
            run(
                make_app(folder, study, ledger, names=names),
                bound,
                browse=False,
                ready=ready,
                connections=_CONNECTIONS,
            )
