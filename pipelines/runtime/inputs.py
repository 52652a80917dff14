"""Files that a stage reads of the stages before it: named, with what makes them, if missing."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pipelines.errors import StageError


def require_made(files: Mapping[Path, str], root: Path = Path()) -> None:
    """Refuse to start before what a stage reads is there.

    Args:
        files: each file to the command that makes it, after ``python -m pipelines.``.
        root: folder of the run.

    Raises:
        StageError: naming the files that are missing, and what to run.
    """
    missing = {path: command for path, command in files.items() if not (root / path).is_file()}
    if missing:
        commands = dict.fromkeys(missing.values())
        raise StageError(
            f"{', '.join(path.as_posix() for path in missing)}: not there; run "
            + ", ".join(f"`python -m pipelines.{command}`" for command in commands)
            + " first"
        )
