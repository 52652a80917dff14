"""A real `dimitra study serve` in a process of its own."""

from __future__ import annotations

import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.web import house

ROOT = house.ROOT
COMMAND = (*house.COMMAND, "study")


@contextmanager
def served(folder: Path, *options: str, said: list[str] | None = None) -> Iterator[str]:
    """The page's address; the server is ended by Ctrl-C."""
    arguments = ("study", "serve", str(folder), "--port", "0", *options)
    with house.running(arguments, r"open (http://\S+/)#TOKEN", said=said) as (address, child):
        # Ctrl-C before it answers would end it in the middle of its start.
        port = address.rstrip("/").rpartition(":")[2]
        urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=30).close()
        yield address
    assert child.returncode == 0


def links(folder: Path, count: int, address: str) -> list[str]:
    """Links of new raters, from `dimitra study invite` beside the running server."""
    done = subprocess.run(
        [*COMMAND, "invite", str(folder), str(count), "--address", address],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout.split()
