"""A real `dimitra serve` in a process of its own."""

from __future__ import annotations

import subprocess
from contextlib import AbstractContextManager
from pathlib import Path

from tests.web.house import running


def served(
    models: Path, scratch: Path, *options: str, said: list[str] | None = None
) -> AbstractContextManager[tuple[str, subprocess.Popen[str]]]:
    """The address and the process; ended by Ctrl-C if it still runs."""
    return running(
        ("serve", "--models", str(models), "--port", "0", *options),
        r"open (http://\S+)",
        environment={"TMPDIR": str(scratch)},
        said=said,
    )
