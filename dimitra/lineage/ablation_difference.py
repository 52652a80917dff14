"""Why the numbers of ablations differ between two revisions of their file."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from dimitra.git_files import shown
from dimitra.lineage.ablations import FILE, Commit, numbers_of, read_commit
from dimitra.lineage.difference import EVALUATORS, Cause, CauseKind, revision_of
from dimitra.lineage.findings import short
from dimitra.lineage.record import LineageError
from dimitra.lineage.target import Target

_OWN = ("models/", "data/generated", "data/scores")
"""Outputs of the experiment itself: what differs in them follows from something else."""
_SHARED_MODEL = "models/aligner"
_HOW_TO_RUN = ("ray.", "storage.")
_NOTHING = "(none)"


def entries_at(revision: str, root: Path) -> dict[str, Any]:
    """Variants of the file at a revision.

    Raises:
        LineageError: there is no such revision, or it has no such file.
    """
    data = shown(root, revision_of(revision, root), Path(FILE))
    if data is None:
        raise LineageError(f"{revision} holds no {FILE}")
    try:
        return dict(json.loads(data))
    except ValueError as error:
        raise LineageError(f"{FILE} at {revision}: {error}") from None


def compare_ablations(
    old: Mapping[str, Any], new: Mapping[str, Any], target: Target, root: Path
) -> list[Cause]:
    """Causes of what differs in a target; none where nothing does.

    Args:
        old: variants of the older revision.
        new: of the newer one.
        target: all ablations, a variant, or a number of it.
        root: the checkout, whose git has the commits that the variants name.
    """
    found: dict[tuple[CauseKind, str, str, str], list[str]] = {}
    for key in sorted(old.keys() | new.keys()):
        if target.method not in (None, key):
            continue
        for kind, what, before, after in _of_variant(key, old, new, target, root):
            found.setdefault((kind, what, before, after), []).append(key)
    return sorted(Cause(*told, tuple(keys)) for told, keys in found.items())


def _values(entries: Mapping[str, Any], key: str, target: Target) -> dict[tuple[str, str], Any]:
    return {
        (one["dataset"], one["metric"]): one["value"]
        for one in numbers_of({key: entries[key]})
        if target.dataset in (None, one["dataset"]) and target.metric in (None, one["metric"])
    }


def _of_variant(
    key: str, old: Mapping[str, Any], new: Mapping[str, Any], target: Target, root: Path
) -> Iterator[tuple[CauseKind, str, str, str]]:
    if key not in old or key not in new:
        states = ["there" if key in entries else "not there" for entries in (old, new)]
        yield "stage", f"variant {key}", states[0], states[1]
        return
    if _values(old, key, target) == _values(new, key, target):
        return
    told = [entries[key]["lineage"] for entries in (old, new)]
    causes = [
        *_code(told[0], told[1]),
        *_digests(told[0], told[1]),
        *_pairs("parameter", told[0]["params"], told[1]["params"]),
        *_pairs("parameter", {"seed": told[0]["seed"]}, {"seed": told[1]["seed"]}),
        *_parameters(told[0], told[1], root),
    ]
    yield from causes or [("unknown", f"{FILE}#{key}", "", "")]


def _pairs(
    kind: CauseKind, one: Mapping[str, Any], two: Mapping[str, Any]
) -> Iterator[tuple[CauseKind, str, str, str]]:
    for name in sorted(one.keys() | two.keys()):
        before, after = one.get(name, _NOTHING), two.get(name, _NOTHING)
        if before != after:
            yield kind, name, str(before), str(after)


def _code(
    one: Mapping[str, Any], two: Mapping[str, Any]
) -> Iterator[tuple[CauseKind, str, str, str]]:
    for stage in sorted(one["code"].keys() | two["code"].keys()):
        before, after = one["code"].get(stage), two["code"].get(stage)
        if before != after:
            kind: CauseKind = "evaluator" if stage in EVALUATORS else "code"
            yield kind, f"code of {stage}", short(before), short(after)


def _digests(
    one: Mapping[str, Any], two: Mapping[str, Any]
) -> Iterator[tuple[CauseKind, str, str, str]]:
    for path in sorted(one["digests"].keys() | two["digests"].keys()):
        before, after = one["digests"].get(path), two["digests"].get(path)
        if before != after and (path == _SHARED_MODEL or not path.startswith(_OWN)):
            yield "data", path, short(before), short(after)


def _parameters(
    one: Mapping[str, Any], two: Mapping[str, Any], root: Path
) -> Iterator[tuple[CauseKind, str, str, str]]:
    """What both experiments started from: values of the parameters that both commits know."""
    commits = [read_commit(str(told["baseline_commit"]), (), root) for told in (one, two)]
    before, after = (
        (commit.params or {}) if isinstance(commit, Commit) else {} for commit in commits
    )
    changed = {*one["params"], *two["params"]}
    both = {
        name
        for name in (before.keys() & after.keys()) - changed
        if not name.startswith(_HOW_TO_RUN)
    }
    yield from _pairs(
        "parameter",
        {name: before[name] for name in both},
        {name: after[name] for name in both},
    )
