"""Where things that outlive one checkout are kept: the work cache and the MLflow database.

``dvc exp run --temp`` and ``--queue`` run in a throw-away copy under ``.dvc/tmp/exps``, and a git
worktree is a second working tree; work done there is kept in the main checkout.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

_GIT_TIMEOUT_S = 20.0


def _above_experiment(folder: Path) -> Path:
    """The checkout that owns a DVC experiment copy, or ``folder`` where it is none."""
    for parent in (folder, *folder.parents):
        if parent.name == "exps" and parent.parent.name == "tmp":
            dvc = parent.parent.parent
            if dvc.name == ".dvc":
                return dvc.parent
    return folder


def main_checkout(folder: Path | None = None) -> Path:
    """Root of the main checkout that ``folder`` (by default the working folder) belongs to.

    Outside a git repository, or without git, it is ``folder`` itself.
    """
    start = _above_experiment((folder or Path.cwd()).resolve())
    git = shutil.which("git")
    if git is None:
        return start
    result = subprocess.run(  # noqa: S603 - an argument list, no shell
        [git, "rev-parse", "--path-format=absolute", "--git-common-dir"],
        cwd=start,
        capture_output=True,
        text=True,
        timeout=_GIT_TIMEOUT_S,
        check=False,
    )
    if result.returncode != 0:
        return start
    common = Path(result.stdout.strip())
    return common.parent if common.name == ".git" else start


def cache_folder() -> Path:
    """Folder of the work cache; ``DIMITRA_CACHE_DIR`` overrides ``.cache/dimitra``."""
    override = os.environ.get("DIMITRA_CACHE_DIR")
    if override:
        return Path(override).resolve()
    return main_checkout() / ".cache" / "dimitra"
