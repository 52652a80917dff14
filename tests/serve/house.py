"""A real `dimitra serve` in a process of its own."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@contextmanager
def served(
    models: Path, scratch: Path, *options: str, said: list[str] | None = None
) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """The address and the process; ended by Ctrl-C if it still runs."""
    child = subprocess.Popen(
        [
            *(sys.executable, "-c", "from dimitra.cli import app; app()", "serve"),
            *("--models", str(models), "--port", "0", *options),
        ],
        cwd=ROOT,
        env=os.environ | {"TMPDIR": str(scratch)},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert child.stderr is not None
        for line in child.stderr:
            if said is not None:
                said.append(line)
            if found := re.search(r"open (http://\S+)", line):
                yield found[1], child
                return
        raise AssertionError("it did not start")
    finally:
        if child.poll() is None:
            child.send_signal(signal.SIGINT)
        child.communicate(timeout=30)
