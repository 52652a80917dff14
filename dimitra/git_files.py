"""Files of a git revision, read by git itself; nothing is checked out."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

_TIMEOUT_S = 60.0


class GitError(ValueError):
    """There is no git, or no such revision."""


def git(root: Path, *words: str, stdin: bytes = b"") -> bytes | None:
    """Output of git; None where it ends with an error.

    Args:
        root: folder to run in.
        words: its arguments.
        stdin: what it reads.

    Raises:
        GitError: git is not there.
    """
    program = shutil.which("git")
    if program is None:
        raise GitError("git is not on the PATH, so no revision can be read")
    done = subprocess.run(  # noqa: S603 - an argument list, no shell
        [program, *words],
        cwd=root,
        input=stdin,
        capture_output=True,
        timeout=_TIMEOUT_S,
        check=False,
    )
    return done.stdout if done.returncode == 0 else None


def commit_of(root: Path, revision: str) -> str:
    """Full id of the commit that a revision names.

    Raises:
        GitError: it names none.
    """
    wanted = ("rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
    found = git(root, *wanted)
    if found is None:
        raise GitError(f"{revision} is neither a file, nor a folder, nor a revision of git here")
    return found.decode().strip()


def shown(root: Path, commit: str, path: PurePosixPath | Path) -> bytes | None:
    """A file of a commit, relative to ``root``; None where the commit lacks it."""
    return git(root, "show", f"{commit}:./{path.as_posix()}")


def listed(root: Path, commit: str, folder: PurePosixPath | Path) -> list[PurePosixPath]:
    """Files below a folder of a commit, relative to ``root``, sorted."""
    found = git(root, "ls-tree", "-r", "-z", "--name-only", commit, "--", f"./{folder.as_posix()}")
    names = [] if found is None else found.decode("utf-8", "surrogateescape").split("\0")
    return sorted(PurePosixPath(name) for name in names if name)


def read_objects(root: Path, names: Sequence[str]) -> list[bytes | None]:
    """Contents of objects, in one call of git.

    Args:
        root: folder to run in.
        names: as git takes them, ``<commit>:./<path from root>``.

    Returns:
        one for each name; None for what git does not know.

    Raises:
        GitError: git is not there, or this is no repository.
    """
    if not names:
        return []
    listed = "".join(f"{name}\n" for name in names).encode("utf-8", "surrogateescape")
    found = git(root, "cat-file", "--batch", stdin=listed)
    if found is None:
        raise GitError("this is no git repository, so no revision can be read")
    return list(_contents(found))


def _contents(output: bytes) -> Iterator[bytes | None]:
    place = 0
    while place < len(output):
        end = output.index(b"\n", place)
        head = output[place:end].split()
        place = end + 1
        if head[-1] in (b"missing", b"ambiguous"):
            yield None
            continue
        size = int(head[-1])
        yield output[place : place + size]
        place += size + 1
