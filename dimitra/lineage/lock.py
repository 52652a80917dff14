"""The lock of the run, ``dvc.lock``, as a second witness of what is in git: records and metrics.

A record that was edited would vouch for itself. The lock, which DVC writes, holds the md5 of every
output of that run.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from dimitra.lineage.findings import Finding, broken, short

LOCK = Path("dvc.lock")
_IN_GIT = ("lineage/", "metrics/", "inventory/")
"""Outputs that are committed."""
_FOLDER = ".dir"


def _outputs(content: Any) -> Iterator[tuple[str, str]]:
    """Path and md5 of the committed files in a lock."""
    for stage in content["stages"].values():
        for out in stage.get("outs", []):
            path, md5 = str(out["path"]), str(out.get("md5", ""))
            if path.startswith(_IN_GIT) and md5 and not md5.endswith(_FOLDER):
                yield path, md5


def check_lock(root: Path) -> Iterator[Finding]:
    """Committed outputs have the bytes that the lock tells of; nothing where there is no lock.

    Args:
        root: the checkout.
    """
    lock = root / LOCK
    if not lock.is_file():
        return
    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times as fast
    try:
        told = sorted(_outputs(yaml.load(lock.read_text(), Loader=loader)))  # noqa: S506 - safe
    except (yaml.YAMLError, UnicodeDecodeError, AttributeError, KeyError, TypeError) as error:
        yield broken(str(LOCK), f"cannot be read as DVC's lock: {str(error).splitlines()[0]}")
        return
    for path, md5 in told:
        file = root / path
        if not file.is_file():
            continue
        found = hashlib.md5(file.read_bytes(), usedforsecurity=False).hexdigest()
        if found != md5:
            yield broken(
                path,
                f"md5 {short(found)}, dvc.lock says {short(md5)}: it was edited, or is of another "
                "run; `dvc repro`, or check out both from one commit",
            )
