"""Ablations: numbers that no stage writes, whose file carries the lineage of every variant.

``metrics/ablations.json`` holds, for each variant, its numbers and what they came from: the commit
that its experiment started from, the parameters that it changed, digests of code, shards and
models. The file is held against the record and the lock of the report, which has read it; what a
variant tells is held against the git objects of its commit.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from dimitra.git_files import GitError, git, listed, read_objects
from dimitra.lineage.findings import Finding, absent, broken, differs, note, short
from dimitra.lineage.graph import Graph
from dimitra.lineage.lock import LOCK, Lock, LockError, md5_of, parse_lock, read_lock
from dimitra.lineage.record import FOLDER, record_path
from dimitra.shards import sha256_file

FILE = "metrics/ablations.json"
FULL = "full"
"""The variant that the others are measured against."""
_PARAMS = "params.yaml"
_FIELDS = ("baseline_commit", "code", "digests", "experiment", "fingerprint", "params", "seed")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_SHORT_MARK = 10
_ROUNDING = 1.6e-4
"""Most that three numbers of four decimals can be apart from their sum."""


def read_entries(root: Path) -> tuple[dict[str, Any], list[Finding]]:
    """Variants by key, those without a lineage left out, and what is wrong with the file."""
    try:
        content = json.loads((root / FILE).read_bytes())
    except FileNotFoundError:
        return {}, [broken(FILE, "it is not there, though it is committed")]
    except ValueError as error:
        return {}, [broken(FILE, f"it cannot be read: {error}")]
    if not isinstance(content, dict):
        return {}, [broken(FILE, "it is no table of variants")]
    entries, findings = {}, []
    for key, one in content.items():
        told = one.get("lineage") if isinstance(one, dict) else None
        missing = [name for name in _FIELDS if not isinstance(told, dict) or name not in told]
        if missing or not isinstance(one.get("metrics"), dict):
            findings.append(broken(f"{FILE}#{key}", f"its lineage lacks {', '.join(missing)}"))
        else:
            entries[key] = one
    return entries, findings


def numbers_of(entries: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Numbers as an audit shows them: method is the variant; with the change against ``full``."""
    return [
        {
            "method": key,
            "dataset": dataset,
            "metric": metric,
            **cell,
            "change": one.get("change", {}).get(dataset, {}).get(metric),
        }
        for key, one in entries.items()
        for dataset, row in one["metrics"].items()
        for metric, cell in row.items()
    ]


@dataclass(frozen=True)
class Commit:
    """What git has of the commit that an experiment started from.

    Attributes:
        name: of the commit.
        params: flat parameters of its ``params.yaml``; None where it has none.
        lock: its ``dvc.lock``; None where it has none.
        code: stage to the digest of its code, by the records of the commit.
    """

    name: str
    params: Mapping[str, Any] | None
    lock: Lock | None
    code: Mapping[str, str]


def _flat(values: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value


def _missing(commit: str, root: Path) -> Finding:
    """A commit that git does not know: lost, or beyond what a shallow clone has."""
    shallow = git(root, "rev-parse", "--is-shallow-repository")
    if shallow is not None and shallow.strip() == b"false":
        return broken(FILE, f"git has no commit {short(commit)}, which its lineage names")
    return absent(f"commit {short(commit)}", "a shallow clone does not have it: git fetch --deepen")


def read_commit(name: str, stages: Sequence[str], root: Path) -> Commit | Finding:
    """What a clone has of a commit, or why it has nothing.

    Args:
        name: of the commit.
        stages: whose records are wanted.
        root: the checkout.
    """
    if _COMMIT.fullmatch(name) is None:
        return broken(FILE, f"{name!r} is no commit")
    try:
        if git(root, "rev-parse", "--git-dir") is None:
            return absent(f"commit {short(name)}", "this is no git repository")
        if git(root, "cat-file", "-e", f"{name}^{{commit}}") is None:
            return _missing(name, root)
        wanted = tuple(record_path(stage).stem for stage in stages)
        records = [
            path.as_posix()
            for path in listed(root, name, FOLDER)
            if path.stem.partition("-")[0] in wanted
        ]
        names = [_PARAMS, LOCK.as_posix(), *records]
        params, lock, *found = read_objects(root, [f"{name}:./{path}" for path in names])
        told = [json.loads(one) for one in found if one is not None]
        return Commit(
            name,
            None if params is None else dict(_flat(yaml.safe_load(params))),
            None if lock is None else parse_lock(lock),
            {one["stage"].partition("@")[0]: one["code"]["digest"] for one in told},
        )
    except GitError as error:
        return absent(f"commit {short(name)}", str(error))
    except (LockError, ValueError, KeyError, TypeError, AttributeError, yaml.YAMLError) as error:
        return broken(f"commit {short(name)}", f"its files cannot be read: {error}")


def check_file(graph: Graph, root: Path) -> Iterator[Finding]:
    """The file is the one that the report has read, by its record and by the lock."""
    advice = "it was edited, or is newer than the report: `dvc repro report`"
    held = False
    for record in graph.readers(FILE):
        told = record.input(FILE)
        if told is not None and (root / FILE).is_file():
            held = True
            found = sha256_file(root / FILE)
            if found != told.sha256:
                where = record_path(record.stage)
                yield broken(FILE, f"{differs(told.sha256, found)} ({where}): {advice}")
    try:
        lock = read_lock(root)
    except LockError:  # told by check_lock
        lock = None
    reads = {} if lock is None or not (root / FILE).is_file() else lock.read
    for stage, paths in reads.items():
        if FILE in paths:
            held = True
            found = md5_of(root / FILE)
            if found != paths[FILE]:
                told_of = f"{LOCK} has {short(paths[FILE])} of {stage}"
                yield broken(FILE, f"md5 {short(found)}, {told_of}: {advice}")
    if not held:
        yield note(FILE, "no record and no lock tells its digest: `dvc repro report`")


def check_variants(
    entries: Mapping[str, Any], wanted: Sequence[str], root: Path
) -> tuple[list[dict[str, Any]], list[Finding]]:
    """Each variant's lineage, and what of it does not hold.

    Args:
        entries: all variants.
        wanted: those to check.
        root: the checkout.
    """
    findings: list[Finding] = []
    commits: dict[str, Commit | Finding] = {}
    shown = []
    for key in wanted:
        told = entries[key]["lineage"]
        name = str(told["baseline_commit"])
        known = name in commits
        commit = commits[name] if known else read_commit(name, list(told["code"]), root)
        commits[name] = commit
        witnesses: dict[str, str] = {}
        if isinstance(commit, Commit):
            witnesses, found = _check_commit(key, told, commit)
            findings += found
        elif not known:
            findings.append(commit)
        findings += _check_names(key, told)
        findings += _check_change(key, entries)
        shown.append(_variant(key, entries, witnesses))
    return shown, findings


def _variant(key: str, entries: Mapping[str, Any], witnesses: Mapping[str, str]) -> dict[str, Any]:
    told = entries[key]["lineage"]
    full = entries.get(FULL, {}).get("lineage", {}).get("params", {})
    digests = told["digests"]
    return {
        "variant": key,
        "label": entries[key].get("label", key),
        "commit": told["baseline_commit"],
        "experiment": told["experiment"],
        "fingerprint": told["fingerprint"],
        "seed": told["seed"],
        "params": dict(told["params"]),
        "against_full": {k: v for k, v in told["params"].items() if full.get(k) != v},
        "models": {k: v for k, v in digests.items() if k.startswith("models/")},
        "shards": digests.get("data/shards"),
        "split": digests.get("data/split"),
        "evaluator": told["code"].get("score"),
        "code": dict(told["code"]),
        "digests": dict(digests),
        "witnesses": dict(witnesses),
    }


def _check_names(key: str, told: Mapping[str, Any]) -> Iterator[Finding]:
    mark = str(told["fingerprint"])[:_SHORT_MARK]
    if str(told["experiment"]) != f"ablation-{key.replace('_', '-')}-{mark}":
        yield broken(f"{FILE}#{key}", f"experiment {told['experiment']} is not of its fingerprint")


def _check_change(key: str, entries: Mapping[str, Any]) -> Iterator[Finding]:
    """A mean change over the same clips is the difference of both means."""
    for dataset, row in entries[key].get("change", {}).items():
        for metric, change in row.items():
            cells = [
                entries.get(name, {}).get("metrics", {}).get(dataset, {}).get(metric)
                for name in (FULL, key)
            ]
            if None in cells or any(cell["n"] != change["n"] for cell in cells):
                continue
            apart = cells[1]["value"] - cells[0]["value"]
            if abs(apart - change["mean"]) > _ROUNDING:
                yield broken(
                    f"{FILE}#{key}.{dataset}.{metric}",
                    f"{cells[1]['value']} is {apart:+.4f} from full's {cells[0]['value']}, its "
                    f"change says {change['mean']:+.4f}",
                )


def _check_commit(
    key: str, told: Mapping[str, Any], commit: Commit
) -> tuple[dict[str, str], list[Finding]]:
    """What of a variant the commit bears out, to the file that does, and what it contradicts."""
    where, at = f"{FILE}#{key}", short(commit.name)
    findings: list[Finding] = []
    witnesses: dict[str, str] = {}
    if commit.params is not None:
        seed = told["params"].get("seed", commit.params.get("seed"))
        if seed != told["seed"]:
            findings.append(broken(where, f"seed {told['seed']}; {_PARAMS} at {at} has {seed}"))
        for name, value in told["params"].items():
            if name not in commit.params:
                findings.append(broken(where, f"{_PARAMS} at {at} has no parameter {name}"))
            elif commit.params[name] == value:
                findings.append(broken(where, f"{name} is {value} in {_PARAMS} at {at} too"))
            else:
                witnesses[name] = f"{_PARAMS}: {commit.params[name]}"
    for path, md5 in told["digests"].items():
        made, stage = ("", "") if commit.lock is None else commit.lock.made.get(path, ("", ""))
        if made == md5:
            witnesses[path] = str(LOCK)
        elif made and stage.partition("@")[0] not in told["code"]:
            findings.append(
                broken(where, f"{path} {short(md5)}; {LOCK} at {at} has {short(made)} of {stage}")
            )
    for stage, digest in told["code"].items():
        if commit.code.get(stage) == digest:
            witnesses[f"code of {stage}"] = FOLDER.as_posix()
        elif stage in commit.code:
            findings.append(
                note(where, f"code of {stage} is not that of the records at {at}, which are older")
            )
    return witnesses, findings
