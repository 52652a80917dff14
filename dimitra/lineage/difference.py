"""Why a number changed: the causes in which the records of two revisions differ.

A cause is a leaf of the graph: a code file, a parameter, raw data, a split list, weights, the
processor. What follows from one (a shard that differs because a parameter does) is no cause. A
stage whose outputs are the same in both revisions hides what differs above it, for it has had no
effect.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from dimitra.git_files import GitError, commit_of, listed, read_objects
from dimitra.lineage.findings import short
from dimitra.lineage.graph import Graph
from dimitra.lineage.record import (
    FOLDER,
    Artefact,
    LineageError,
    LineageRecord,
    parse_record,
)

CauseKind = Literal[
    "code", "parameter", "data", "split", "weights", "evaluator", "environment", "stage", "unknown"
]
EVALUATORS = ("score", "train_sync", "evaluate")
"""Stages that measure; what changes in them alone changes numbers without changing a video."""
_SPLITS = "splits"
_PINS = "weights.yaml"
_LOCK = "lock_sha256"
_NOTHING = "(none)"


@dataclass(frozen=True, order=True)
class Cause:
    """A first difference.

    Attributes:
        kind: what kind of thing it is.
        what: the file, parameter, list or package.
        before: in the older revision.
        after: in the newer one.
        stages: where it enters, in the order of the pipeline.
    """

    kind: CauseKind
    what: str
    before: str
    after: str
    stages: tuple[str, ...]


def revision_of(revision: str, root: Path) -> str:
    """Full id of the commit that a revision names.

    Raises:
        LineageError: git is missing, or there is no such revision here.
    """
    try:
        return commit_of(root, revision)
    except GitError as error:
        raise LineageError(
            f"--diff {revision}: no revision of git here ({error}); a shallow clone lacks older "
            "ones: git fetch --unshallow"
        ) from None


def records_at(revision: str, root: Path) -> Graph:
    """Records of a revision.

    Args:
        revision: as git takes it.
        root: the checkout.

    Raises:
        LineageError: there is no such revision, or it holds no records.
    """
    commit = revision_of(revision, root)
    paths = [path.as_posix() for path in listed(root, commit, FOLDER) if path.suffix == ".json"]
    contents = read_objects(root, [f"{commit}:./{path}" for path in paths])
    found = {}
    for path, data in zip(paths, contents, strict=True):
        record = parse_record(data or b"", f"{revision}:{path}")
        found[record.stage] = record
    if not found:
        raise LineageError(f"{revision} holds no {FOLDER}/*.json: it was before lineage was kept")
    return Graph(found)


def _pairs(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Keys whose values differ, with both values."""
    for key in sorted(before.keys() | after.keys()):
        one, two = before.get(key, _NOTHING), after.get(key, _NOTHING)
        if one != two:
            yield key, str(one), str(two)


def _code(old: LineageRecord, new: LineageRecord) -> Iterator[Cause]:
    kind: CauseKind = "evaluator" if new.stage in EVALUATORS else "code"
    for path, one, two in _pairs(old.code.files, new.code.files):
        yield Cause(kind, path, short(one), short(two), (new.stage,))


def _parameters(old: LineageRecord, new: LineageRecord) -> Iterator[Cause]:
    for key, one, two in _pairs(old.params, new.params):
        yield Cause("parameter", key, one, two, (new.stage,))


def _weights(old: LineageRecord, new: LineageRecord) -> Iterator[Cause]:
    """Weights of other bytes; where another reference was chosen, the parameter says so."""
    both: list[dict[str, str | None]] = [
        {asset.name: asset.sha256 for asset in record.assets} for record in (old, new)
    ]
    for name in sorted(both[0].keys() & both[1].keys()):
        if both[0][name] != both[1][name]:
            yield Cause("weights", name, short(both[0][name]), short(both[1][name]), (new.stage,))


def _environment(old: LineageRecord, new: LineageRecord) -> Iterator[Cause]:
    for what in ("environment", "tools", "packages"):
        for key, one, two in _pairs(getattr(old, what), getattr(new, what)):
            if key != _LOCK:  # the versions that the code imports are told one by one
                yield Cause("environment", key, one, two, (new.stage,))


def _used_lists(record: LineageRecord) -> tuple[str, ...]:
    return tuple(
        f"{value}/"
        for key, value in record.params.items()
        if key.startswith("datasets.sets.") and key.endswith(".split")
    )


def _source(new: LineageRecord, one: Artefact | None, two: Artefact | None) -> Iterator[Cause]:
    """A file or folder that no stage has made."""
    path = (two or one or Artefact("", None, 0)).path
    if path == _PINS:  # those that a stage loads are told one by one
        return
    kind: CauseKind = "split" if path == _SPLITS else "data"
    files = [{} if side is None else side.files for side in (one, two)]
    used = _used_lists(new) if kind == "split" else ()
    named = [
        Cause(kind, f"{path}/{name}", short(old), short(now), (new.stage,))
        for name, old, now in _pairs(*files)
        if not used or name.startswith(used)
    ]
    if named or kind == "split":
        yield from named
        return
    digests = [None if side is None else side.sha256 for side in (one, two)]
    yield Cause(kind, path, short(digests[0]), short(digests[1]), (new.stage,))


def _merge(causes: Iterator[Cause]) -> list[Cause]:
    """The same cause in several stages is told once."""
    found: dict[tuple[str, str, str], Cause] = {}
    for cause in causes:
        kind = "code" if cause.kind == "evaluator" else cause.kind
        key = (kind, cause.what, cause.after)
        if key in found:
            first = found[key]
            shared: CauseKind = first.kind if first.kind == cause.kind else "code"
            stages = tuple(dict.fromkeys((*first.stages, *cause.stages)))
            found[key] = Cause(shared, cause.what, first.before, first.after, stages)
        else:
            found[key] = cause
    return list(found.values())


class _Comparison:
    """Walks the newer graph against the older one."""

    def __init__(self, old: Graph, new: Graph) -> None:
        self._old = old
        self._new = new
        self._visited: set[str] = set()

    def causes(self, path: str) -> Iterator[Cause]:
        """Causes of a difference in a path.

        Args:
            path: an output, or a file in one, that differs.
        """
        new, old = self._new.producer(path), self._old.producer(path)
        record = new or old
        if record is None or record.stage in self._visited:
            return
        self._visited.add(record.stage)
        if new is None or old is None:
            sides = ("there", "not there") if new is None else ("not there", "there")
            yield Cause("stage", record.stage, *sides, (record.stage,))
            return
        found = 0
        for cause in self._above(old, new):
            found += 1
            yield cause
        own = [
            *_code(old, new),
            *_parameters(old, new),
            *_weights(old, new),
            *_environment(old, new),
        ]
        yield from own
        explained = found or own or self._inputs_differ(old, new)
        if not explained:
            yield Cause("unknown", path, "", "", (new.stage,))

    def _inputs_differ(self, old: LineageRecord, new: LineageRecord) -> bool:
        """Whether something above, told already on another branch, explains the difference."""
        both = [{one.path: one.sha256 for one in side.inputs} for side in (old, new)]
        return both[0] != both[1]

    def _above(self, old: LineageRecord, new: LineageRecord) -> Iterator[Cause]:
        paths = dict.fromkeys(one.path for side in (old, new) for one in side.inputs)
        for path in paths:
            one, two = old.input(path), new.input(path)
            if one is not None and two is not None and one.sha256 == two.sha256:
                continue
            if self._new.producer(path) or self._old.producer(path):
                yield from self.causes(path)
            else:
                yield from _source(new, one, two)


def digest_at(graph: Graph, path: str) -> str | None:
    """Digest that a path has in the records; None where none tells of it."""
    record = graph.producer(path)
    if record is None:
        return None
    shard = next((one for one in record.shards if one.path == path), None)
    if shard is not None:
        return shard.sha256
    output = record.output(path)
    if output is not None:
        return output.sha256
    for one in record.outputs:
        name = path.removeprefix(f"{one.path}/")
        if name in one.files:
            return one.files[name]
    return None


def compare(old: Graph, new: Graph, path: str) -> list[Cause]:
    """First causes of what differs in a path between two revisions; none where it does not.

    Args:
        old: records of the older revision.
        new: of the newer one.
        path: a metric file, an output, a file in one, or a shard.

    Raises:
        LineageError: neither revision has a record that tells of the path.
    """
    digests = [digest_at(graph, path) for graph in (old, new)]
    if digests == [None, None]:
        raise LineageError(f"no record of either revision tells of {path}")
    if digests[0] == digests[1]:
        return []
    order = {record.stage: at for at, record in enumerate(new.upstream(sorted(new.records)))}
    found = _merge(_Comparison(old, new).causes(path))
    return sorted(found, key=lambda cause: (order.get(cause.stages[0], -1), cause))
