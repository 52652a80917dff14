"""A real server of the project in a process of its own."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
COMMAND = (sys.executable, "-c", "from dimitra.cli import app; app()")


@contextmanager
def running(
    arguments: tuple[str, ...],
    opened: str,
    *,
    environment: Mapping[str, str] | None = None,
    said: list[str] | None = None,
) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """The address and the process; ended by Ctrl-C if it still runs.

    Args:
        arguments: of ``dimitra``.
        opened: pattern whose group is the address in a line of what it says.
        environment: added to our own.
        said: gets the lines up to that one.
    """
    child = subprocess.Popen(
        [*COMMAND, *arguments],
        cwd=ROOT,
        env=os.environ | dict(environment or {}),
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert child.stderr is not None
        for line in child.stderr:
            if said is not None:
                said.append(line)
            if found := re.search(opened, line):
                yield found[1], child
                return
        raise AssertionError("it did not start")
    finally:
        if child.poll() is None:
            child.send_signal(signal.SIGINT)
        child.communicate(timeout=30)
