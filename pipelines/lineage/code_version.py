"""Which code ran: of a stage, the version of its import closure; of the checkout, its commit."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

from dimitra.lineage.record import CodeVersion
from dimitra.shards import sha256_file
from pipelines.closure import ROOT, closure, code_digest

_GIT_TIMEOUT_S = 30.0


def _git(root: Path, *arguments: str) -> str | None:
    """Output of a git command; None outside a repository, without git, or where it fails."""
    program = shutil.which("git")
    if program is None:
        return None
    try:
        result = subprocess.run(  # noqa: S603 - an argument list, no shell
            [program, *arguments],
            cwd=root,
            capture_output=True,
            text=True,
            timeout=_GIT_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return None
    return result.stdout if result.returncode == 0 else None


def _changed(root: Path, paths: Iterable[str]) -> list[str]:
    """Those files that differ from what is committed, or are not committed at all."""
    listed = _git(
        root, "status", "--porcelain", "-z", "--no-renames", "--untracked-files=all", "--", *paths
    )
    return sorted(entry[3:] for entry in (listed or "").split("\0") if entry)


def _digest(root: Path, paths: Iterable[str]) -> str | None:
    """Digest of the present bytes of files; None where there are none."""
    lines = [
        f"{sha256_file(root / path) if (root / path).is_file() else 'removed'}  {path}\n"
        for path in paths
    ]
    return hashlib.sha256("".join(lines).encode()).hexdigest() if lines else None


def code_version(module: str, root: Path = ROOT) -> CodeVersion:
    """Version of a stage's code.

    Args:
        module: ``pipelines.crop``.
        root: folder that holds the packages.
    """
    files = [path.as_posix() for path in closure(module, root)]
    commit = _git(root, "log", "-1", "--format=%H", "--", *files)
    return CodeVersion(
        commit=(commit or "").strip() or None,
        uncommitted=_digest(root, _changed(root, files)) if commit else None,
        digest=code_digest(module, root),
        files={path: sha256_file(root / path) for path in files},
    )


def checkout_version(root: Path = ROOT) -> tuple[str | None, str | None]:
    """Commit of the checkout, and a digest of all files that differ from it; None where none."""
    commit = _git(root, "rev-parse", "HEAD")
    if commit is None:
        return None, None
    top = Path((_git(root, "rev-parse", "--show-toplevel") or str(root)).strip())
    return commit.strip(), _digest(top, _changed(top, ["."]))
