"""The lock of the run, ``dvc.lock``, as a second witness of what is in git: records and metrics.

A record that was edited would vouch for itself. The lock, which DVC writes, holds the md5 of every
output of that run.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from dimitra.lineage.findings import Finding, broken, short

LOCK = Path("dvc.lock")
_IN_GIT = ("lineage/", "metrics/", "inventory/")
"""Outputs that are committed."""
_FOLDER = ".dir"


class LockError(ValueError):
    """Bytes that are no lock of DVC."""


@dataclass(frozen=True)
class Lock:
    """What a lock tells of files and folders.

    Attributes:
        made: output to its md5 and the stage that made it, ``train@lips``.
        read: stage to its dependencies and their md5.
    """

    made: Mapping[str, tuple[str, str]]
    read: Mapping[str, Mapping[str, str]]


@functools.lru_cache(maxsize=4)
def parse_lock(data: bytes) -> Lock:
    """A lock from its bytes.

    Raises:
        LockError: they are none.
    """
    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times as fast
    try:
        stages = yaml.load(data.decode(), Loader=loader)["stages"]  # noqa: S506 - safe
        made = {
            str(out["path"]): (str(out.get("md5", "")), str(name))
            for name, stage in stages.items()
            for out in stage.get("outs", [])
        }
        read = {
            str(name): {str(dep["path"]): str(dep.get("md5", "")) for dep in stage.get("deps", [])}
            for name, stage in stages.items()
        }
    except (yaml.YAMLError, UnicodeDecodeError, AttributeError, KeyError, TypeError) as error:
        raise LockError(str(error).splitlines()[0]) from None
    return Lock(made, read)


def md5_of(file: Path) -> str:
    """Digest of a file as a lock has it."""
    return hashlib.md5(file.read_bytes(), usedforsecurity=False).hexdigest()


def read_lock(root: Path) -> Lock | None:
    """The lock of a checkout; None where there is none.

    Raises:
        LockError: it is damaged.
    """
    file = root / LOCK
    return parse_lock(file.read_bytes()) if file.is_file() else None


def _check_reads(lock: Lock, stages: Collection[str]) -> Iterator[Finding]:
    """What a stage read is what another made, by the lock alone."""
    for stage in sorted(lock.read.keys() & set(stages)):
        for path, md5 in lock.read[stage].items():
            made, maker = lock.made.get(path, ("", ""))
            if md5 and made and md5 != made and maker in stages:
                yield broken(
                    str(LOCK),
                    f"{path}: {stage} read {short(md5)}, {maker} made {short(made)}: it was "
                    "edited, or they are of different runs; `dvc repro`",
                )


def check_lock(root: Path, stages: Collection[str] = ()) -> Iterator[Finding]:
    """Committed outputs have the bytes that the lock tells of; nothing where there is no lock.

    Args:
        root: the checkout.
        stages: those whose inputs are compared with what the others of them made.
    """
    try:
        lock = read_lock(root)
    except LockError as error:
        yield broken(str(LOCK), f"cannot be read as DVC's lock: {error}")
        return
    if lock is None:
        return
    yield from _check_reads(lock, stages)
    for path, (md5, _) in sorted(lock.made.items()):
        file = root / path
        if not path.startswith(_IN_GIT) or not md5 or md5.endswith(_FOLDER) or not file.is_file():
            continue
        found = md5_of(file)
        if found != md5:
            yield broken(
                path,
                f"md5 {short(found)}, dvc.lock says {short(md5)}: it was edited, or is of another "
                "run; `dvc repro`, or check out both from one commit",
            )
