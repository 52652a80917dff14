"""Experiments of DVC: run one in a copy of the checkout, find it, read what it left."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from dimitra.cmdt.parts import MODEL_PARTS
from pipelines.ablations.variants import (
    FILE,
    FULL,
    Variant,
    changed_params,
    code,
    entry,
    fingerprint,
    lock_digests,
)
from pipelines.errors import StageError
from pipelines.params import Params

TARGET = "score"
_PATIENCE_S = 120.0
"""Time that DVC gets to clean up after Ctrl-C before it is ended."""


def git(root: Path, *arguments: str) -> str:
    """Output of a git command.

    Raises:
        StageError: git is missing, or the command failed.
    """
    program = shutil.which("git")
    if program is None:
        raise StageError("git is not on the PATH: experiments are commits")
    result = subprocess.run(  # noqa: S603 - an argument list, no shell
        [program, *arguments], cwd=root, capture_output=True, text=True, check=False
    )
    if result.returncode:
        raise StageError(f"git {' '.join(arguments)}: {result.stderr.strip()}")
    return result.stdout


def check_clean(root: Path) -> None:
    """Refuse uncommitted edits: an experiment's lineage names a commit.

    Raises:
        StageError: listing them.
    """
    listed = git(root, "status", "--porcelain", "--untracked-files=no").splitlines()
    edited = [line[3:] for line in listed if line[3:] != FILE.as_posix()]
    if edited:
        raise StageError(
            f"not committed: {', '.join(edited[:10])}; commit first, so that the lineage of an "
            "ablation names the code and the parameters that it ran with"
        )


def name_of(variant: Variant, mark: str) -> str:
    """Name of a variant's experiment.

    Args:
        variant: which.
        mark: its fingerprint.
    """
    return f"ablation-{variant.key.replace('_', '-')}-{mark[:10]}"


def find(root: Path, name: str) -> str | None:
    """Commit of a finished experiment, of any baseline; None where there is none."""
    listed = git(root, "for-each-ref", "--format=%(objectname) %(refname)", "refs/exps")
    for line in listed.splitlines():
        commit, _, reference = line.partition(" ")
        if reference.rpartition("/")[2] == name:
            return commit
    return None


def command(variant: Variant, name: str, queue: bool = False) -> list[str]:
    """The command that runs a variant now, in a copy, or that queues it."""
    changes = [
        word for key, value in variant.overrides.items() for word in ("-S", f"{key}={value}")
    ]
    how = "--queue" if queue else "--temp"
    return [sys.executable, "-m", "dvc", "exp", "run", how, "--name", name, *changes, TARGET]


def call(root: Path, arguments: Sequence[str]) -> None:
    """Run a command that shows its own progress; Ctrl-C reaches it, and it is waited for.

    Raises:
        StageError: it failed.
        KeyboardInterrupt: after the command has ended.
    """
    here = str(Path(sys.executable).parent)
    environment = {**os.environ, "PATH": f"{here}{os.pathsep}{os.environ.get('PATH', '')}"}
    process = subprocess.Popen(arguments, cwd=root, env=environment)  # noqa: S603 - no shell
    try:
        failed = process.wait()
    except KeyboardInterrupt:
        try:
            process.wait(_PATIENCE_S)
        except (KeyboardInterrupt, subprocess.TimeoutExpired):
            process.send_signal(signal.SIGTERM)
            process.wait()
        raise
    if failed:
        raise StageError(f"`{' '.join(arguments[2:])}` exited {failed}; its own words are above")


def scores_of(root: Path, commit: str, datasets: Sequence[str]) -> dict[str, Any]:
    """``data/scores`` of an experiment: data set to content.

    Raises:
        StageError: they are not in DVC's cache (`dvc gc` removed them).
    """
    from dvc.api import read
    from dvc.exceptions import DvcException

    try:
        return {
            name: json.loads(read(f"data/scores/{name}.json", repo=str(root), rev=commit))
            for name in datasets
        }
    except (DvcException, FileNotFoundError) as error:
        raise StageError(
            f"the scores of experiment {commit[:10]} cannot be read: {error}"
        ) from error


def collect(
    root: Path, variant: Variant, params: Params, commits: Mapping[str, str]
) -> dict[str, Any]:
    """Entry of a finished variant.

    Args:
        root: the checkout.
        variant: which.
        params: of the full model.
        commits: variant to the commit of its experiment; this one's and the full model's.
    """
    commit = commits[variant.key]
    datasets = sorted(params.datasets.sets)
    lock = yaml.safe_load(git(root, "show", f"{commit}:dvc.lock"))
    baseline = git(root, "rev-parse", f"{commit}^").strip()
    before = git(root, "show", f"{baseline}:params.yaml")
    after = git(root, "show", f"{commit}:params.yaml")
    parts = yaml.safe_load(after)["train"]["parts"]
    # dvc.lock keeps the models that another choice of parts has trained.
    unused = {f"models/{part}" for part in MODEL_PARTS if part not in parts}
    digests = {path: md5 for path, md5 in lock_digests(lock).items() if path not in unused}
    lineage = {
        "fingerprint": fingerprint(variant, params, read_lock(root)),
        "experiment": name_of(variant, fingerprint(variant, params, read_lock(root))),
        "baseline_commit": baseline,
        "code": code(),
        "params": changed_params(before, after),
        "seed": params.seed,
        "digests": digests,
    }
    own = scores_of(root, commit, datasets)
    full = own if variant.key == FULL else scores_of(root, commits[FULL], datasets)
    return entry(variant, own, full, lineage)


def read_lock(root: Path) -> dict[str, Any]:
    """Content of ``dvc.lock``.

    Raises:
        StageError: there is none.
    """
    path = root / "dvc.lock"
    if not path.is_file():
        raise StageError("there is no dvc.lock: run `dvc repro` first")
    content: dict[str, Any] = yaml.safe_load(path.read_text())
    return content
