"""What links a run to its code and data: the commit, and the hashes in ``dvc.lock``."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

LOCK = Path("dvc.lock")
RUN_WRITES = (str(LOCK), "lineage", "inventory", "metrics/*.json", "metrics/clips")
"""Committed outputs of the stages."""
_GIT_TIMEOUT_S = 20.0
_POLL_S = 0.5
_STILL_S = 2.0


def _git(*words: str) -> subprocess.CompletedProcess[str] | None:
    """What git answers in the working folder; None where there is no git."""
    program = shutil.which("git")
    if program is None:
        return None
    return subprocess.run(  # noqa: S603 - an argument list, no shell
        [program, *words], capture_output=True, text=True, timeout=_GIT_TIMEOUT_S, check=False
    )


def git_tags() -> dict[str, str]:
    """``git_commit`` and ``git_dirty`` of the working folder; nothing outside git.

    What a run itself writes (``RUN_WRITES``) makes nothing dirty: DVC removes those files before
    it makes them again.
    """
    head = _git("rev-parse", "--verify", "--quiet", "HEAD")
    if head is None or head.returncode:
        return {}
    left_out = (f":(exclude){path}" for path in RUN_WRITES)
    edited = _git("diff", "--quiet", "HEAD", "--", ".", *left_out)
    commit = head.stdout.strip()
    return {
        "git_commit": commit,
        "git_dirty": "true" if edited is None or edited.returncode else "false",
        "mlflow.source.git.commit": commit,
    }


def dvc_tags() -> dict[str, str]:
    """Names that DVC gives to what it runs: the stage, and the experiment where it is one."""
    names = {"dvc_stage": "DVC_STAGE", "dvc_experiment": "DVC_EXP_NAME"}
    return {tag: os.environ[name] for tag, name in names.items() if os.environ.get(name)}


def lock_tags(lock: Mapping[str, Any], stage: str) -> dict[str, str]:
    """Tags ``dvc_dep.<path>`` and ``dvc_out.<path>`` with DVC's hashes, but for code.

    Args:
        lock: content of a ``dvc.lock``.
        stage: as DVC calls it.
    """
    entry = lock.get("stages", {}).get(stage, {})
    return {
        f"dvc_{kind}.{item['path']}": str(item["md5"])
        for kind in ("dep", "out")
        for item in entry.get(f"{kind}s", ())
        if "md5" in item and not str(item["path"]).endswith(".py")
    }


def read_lock() -> dict[str, Any]:
    """``dvc.lock`` of the working folder; empty where there is none."""
    try:
        content = yaml.load(LOCK.read_text(), Loader=yaml.CSafeLoader)
    except (OSError, yaml.YAMLError):
        return {}
    return content if isinstance(content, dict) else {}


def written_since(moment_s: float, timeout_s: float) -> bool:
    """Wait until ``dvc.lock`` is written, and has not changed for a while.

    DVC runs one stage after another and writes the lock behind each: the first writing after a
    stage has ended holds its hashes. It writes in place, and takes a second for it.

    Args:
        moment_s: seconds since the epoch.
        timeout_s: how long to wait.
    """
    until_s = time.monotonic() + timeout_s
    while time.monotonic() < until_s:
        if LOCK.is_file() and moment_s < LOCK.stat().st_mtime < time.time() - _STILL_S:
            return True
        time.sleep(_POLL_S)
    return False
