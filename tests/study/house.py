"""A real `dimitra study serve` in a process of its own."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
COMMAND = (sys.executable, "-c", "from dimitra.cli import app; app()", "study")


@contextmanager
def served(folder: Path, *options: str, said: list[str] | None = None) -> Iterator[str]:
    """The page's address; the server is ended by Ctrl-C."""
    child = subprocess.Popen(
        [*COMMAND, "serve", str(folder), "--port", "0", *options],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert child.stderr is not None
        for line in child.stderr:
            if said is not None:
                said.append(line)
            if found := re.search(r"open (http://\S+/)#TOKEN", line):
                # Ctrl-C before it answers would end it in the middle of its start.
                port = found[1].rstrip("/").rpartition(":")[2]
                urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=30).close()
                yield found[1]
                break
        else:
            raise AssertionError("it did not start")
    finally:
        child.send_signal(signal.SIGINT)
        child.communicate(timeout=30)
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
