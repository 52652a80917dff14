"""Checks that need no artefacts: the committed files against the records, and the split's proof."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from dimitra.git_files import GitError, read_objects
from dimitra.lineage.findings import Finding, absent, broken, differs, note
from dimitra.lineage.record import LineageRecord
from dimitra.lineage.sides import TABLE, read_sides
from dimitra.shards import sha256_file

SPLITS = "splits"
_METRICS = "metrics"
_SHOWN_FILES = 8
_SMALL = ("weights.yaml",)
_PARAMS = "params.yaml"
_PACKAGES = "constraints.txt"
_RULES = {
    "dvc.yaml": "which stages there are",
    "dvc.lock": "what a run of them read and made",
    "metrics/tolerance.yaml": "how far a replay may lie from the recorded number",
}
"""Files that no record holds, and what they say; git holds them."""


def _compare(root: Path, path: str, sha256: str | None, what: str) -> Iterator[Finding]:
    place = root / path
    if not place.is_file():
        yield broken(path, f"{what} is not there, though it is committed")
    elif sha256_file(place) != sha256:
        yield broken(path, f"{what} has changed: {differs(sha256, sha256_file(place))}")


def check_metrics(
    record: LineageRecord, root: Path, wanted: str | None = None
) -> Iterator[Finding]:
    """The metric files and the per-clip tables are those that ``evaluate`` wrote.

    Args:
        record: of ``evaluate``.
        root: the checkout.
        wanted: only of this dataset.
    """
    for output in record.outputs:
        if not output.path.startswith(f"{_METRICS}/"):
            continue
        if not output.files:
            if wanted is None or Path(output.path).stem == wanted:
                yield from _compare(root, output.path, output.sha256, "the metric file")
            continue
        for name, digest in output.files.items():
            if wanted is None or Path(name).stem == wanted:
                path = f"{output.path}/{name}"
                yield from _compare(root, path, digest, "the per-clip table")


def check_sources(records: Sequence[LineageRecord], root: Path) -> Iterator[Finding]:
    """Split lists and pins of weights are those that the stages read."""
    seen: set[str] = set()
    for record in records:
        for one in record.inputs:
            if one.path in seen:
                continue
            seen.add(one.path)
            if one.path == SPLITS:
                for name, digest in one.files.items():
                    yield from _compare(root, f"{SPLITS}/{name}", digest, "the split list")
            elif one.path in _SMALL:
                yield from _compare(root, one.path, one.sha256, "the file")


def check_code(records: Sequence[LineageRecord], root: Path) -> Iterator[Finding]:
    """Whether the code of the checkout is still that of the records; no more than notes."""
    wanted = {path for record in records for path in record.code.files}
    places = {path: root / path for path in sorted(wanted)}
    now = {path: sha256_file(at) if at.is_file() else None for path, at in places.items()}
    edited: dict[str, list[str]] = {}
    for record in records:
        changed = [path for path, sha in record.code.files.items() if now[path] != sha]
        for path in changed:
            edited.setdefault(path, []).append(record.stage)
        if record.code.commit is None:
            yield note(record.stage, "it ran outside git: its code has no commit")
        elif record.code.uncommitted is not None and not changed:
            yield note(
                record.stage, "its code was not committed when it ran; it is this checkout's"
            )
        elif record.code.uncommitted is not None:
            yield note(record.stage, "its code was not committed when it ran, nor is it this one's")
    for path, stages in list(edited.items())[:_SHOWN_FILES]:
        listed = ", ".join(stages[:3]) + (f" and {len(stages) - 3} more" if stages[3:] else "")
        yield note(path, f"the code has changed since {listed} ran")
    if len(edited) > _SHOWN_FILES:
        yield note("code", f"{len(edited) - _SHOWN_FILES} more files of it have changed since")


def check_params(records: Sequence[LineageRecord], root: Path) -> Iterator[Finding]:
    """Whether ``params.yaml`` and the package lock are still what the stages read; only notes."""
    try:
        params = yaml.safe_load((root / _PARAMS).read_text("utf-8"))
    except FileNotFoundError:
        params = None
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        yield note(_PARAMS, f"it cannot be read: {str(error).splitlines()[0]}")
        params = None
    changed: dict[str, tuple[Any, Any, list[str]]] = {}
    for record in records if isinstance(params, dict) else ():
        for key, told in record.params.items():
            now = _lookup(params, key)
            if now != told and str(now) != str(told):  # a date is text in a record
                changed.setdefault(key, (told, now, []))[2].append(record.stage)
    for key, (told, now, stages) in changed.items():
        what = "is gone" if now is None else f"is {now}"
        yield note(_PARAMS, f"{key} {what}; it was {told} when {', '.join(stages)} ran")
    lock = root / _PACKAGES
    sha256 = sha256_file(lock) if lock.is_file() else None
    late = [one.stage for one in records if one.packages.get("lock_sha256", sha256) != sha256]
    if late and sha256 is not None:
        yield note(_PACKAGES, f"it has changed since {', '.join(late)} ran")


def check_rules(root: Path) -> Iterator[Finding]:
    """Whether the files that no record holds are those of the checkout's commit.

    An edited one is a note, since a run or its owner may have written it; a missing one is not.
    """
    try:
        committed = read_objects(root, [f"HEAD:./{path}" for path in _RULES])
    except GitError as error:
        yield note("git", f"{', '.join(_RULES)} were not compared with a commit: {error}")
        return
    for (path, what), data in zip(_RULES.items(), committed, strict=True):
        place = root / path
        if data is not None and not place.is_file():
            yield broken(path, f"it says {what}, and is missing: git checkout {path}")
        elif data is not None and place.read_bytes() != data:
            yield note(path, f"it says {what}, and is not that of the commit: git diff {path}")


def _lookup(params: Mapping[str, Any], key: str) -> Any:
    """Value of ``train.lips.steps``; None where there is none."""
    value: Any = params
    for part in key.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def check_assets(records: Iterable[LineageRecord]) -> Iterator[Finding]:
    """Weights that stages may have loaded without a known digest."""
    for record in records:
        for asset in record.assets:
            if asset.sha256 is None:
                yield note(record.stage, f"{asset.name}: {asset.reference} is not pinned")


def read_list(path: Path) -> set[str]:
    """Identities of a committed list; comments are left out."""
    lines = (line.partition("#")[0].strip() for line in path.read_text("utf-8").splitlines())
    return {line for line in lines if line}


def prove_split(record: LineageRecord, root: Path) -> tuple[dict[str, Any], list[Finding]]:
    """That train and test share neither identity nor source video.

    Args:
        record: of ``split``.
        root: the checkout. With ``data/split`` the sets are made again; without it, the committed
            lists are compared, and the record's counts are shown.

    Returns:
        the proof of each dataset, and what does not hold.
    """
    findings = []
    sides: Mapping[str, Any] = record.sides or {}
    found: dict[str, Any] = {}
    table = root / TABLE
    made_again: dict[str, Any] | None = None
    if table.is_file():
        try:
            made_again = read_sides(table)
        except (KeyError, OSError, ValueError) as error:
            findings.append(broken(TABLE.as_posix(), f"it cannot be read: {error}"))
        if made_again is not None and made_again != sides:
            findings.append(
                broken(TABLE.as_posix(), "the sets of train and test are not those of the record")
            )
    else:
        findings.append(
            absent(
                TABLE.as_posix(),
                "source videos cannot be compared again; the counts are those of the record",
            )
        )
    for dataset, both in sorted((made_again or sides).items()):
        version = record.params.get(f"datasets.sets.{dataset}.split")
        lists = {side: root / SPLITS / str(version) / f"{side}.txt" for side in ("train", "test")}
        listed = {side: read_list(path) for side, path in lists.items() if path.is_file()}
        common = set.intersection(*listed.values()) if len(listed) == len(lists) else None
        for kind, count in both["shared"].items():
            if count:
                findings.append(
                    broken(str(version), f"{dataset}: train and test share {count} {kind}")
                )
        if common:
            findings.append(
                broken(str(version), f"both lists name {', '.join(sorted(common)[:5])}")
            )
        found[dataset] = {
            "version": version,
            "train": both["train"],
            "test": both["test"],
            "shared": both["shared"],
            "shared_in_lists": None if common is None else len(common),
            "by": "data/split made again" if made_again else "the record and the committed lists",
        }
    if not sides:
        findings.append(broken("lineage/split.json", "it does not tell what train and test hold"))
    return found, findings
