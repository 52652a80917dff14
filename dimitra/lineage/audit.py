"""The audit of a target: everything that it rests on, and whether all links hold."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from dimitra.lineage import ablations
from dimitra.lineage.committed import (
    check_assets,
    check_code,
    check_metrics,
    check_params,
    check_rules,
    check_sources,
    prove_split,
)
from dimitra.lineage.findings import Finding, absent, broken, differs, holds
from dimitra.lineage.graph import Graph, check_links
from dimitra.lineage.lock import LockError, check_lock, read_lock
from dimitra.lineage.record import LineageRecord, read_records, record_path
from dimitra.lineage.target import EVALUATE, Target, find_target, read_numbers
from dimitra.shards import sha256_file

_SPLIT = "split"
_MEASURES = ("train_sync", "score", EVALUATE)


@dataclass
class Audit:
    """What an audit says.

    Attributes:
        target: what it is about.
        numbers: of a metric: method, metric, value, n, interval; of ablations: method is the
            variant, with data set and change against the full model.
        variants: of ablations: what each rests on, and what bears it out.
        stages: that it rests on, in order: stage, commit, digests, counts, surroundings.
        split: proof of each dataset that train and test share nothing.
        assets: third-party weights and data.
        history: of a clip, or of each clip of a video.
        findings: what does not hold, is absent, or is worth knowing.
        causes: with ``--diff``: why it changed.
        replay: with ``--replay``: how the numbers made again compare.
    """

    target: Target
    numbers: list[dict[str, Any]] = field(default_factory=list)
    variants: list[dict[str, Any]] = field(default_factory=list)
    stages: list[dict[str, Any]] = field(default_factory=list)
    split: dict[str, Any] = field(default_factory=dict)
    assets: list[dict[str, Any]] = field(default_factory=list)
    history: list[dict[str, Any]] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    causes: list[dict[str, Any]] | None = None
    replay: dict[str, Any] | None = None

    @property
    def ok(self) -> bool:
        """Whether every link holds."""
        return holds(self.findings)

    def add(self, findings: Iterable[Finding]) -> None:
        """Take up findings; what is told of a place already is not told twice."""
        told = {(one.kind, one.where) for one in self.findings}
        for one in findings:
            if one.kind == "note" or (one.kind, one.where) not in told:
                told.add((one.kind, one.where))
                self.findings.append(one)

    def to_json(self) -> dict[str, Any]:
        """For programs."""
        return {"ok": self.ok, **asdict(self)}


def _numbers(target: Target, root: Path) -> list[dict[str, Any]]:
    if target.kind != "metric":
        return []
    rows: list[dict[str, Any]] = []
    for method, row in read_numbers(root / target.path).items():
        for metric, cell in row.items():
            if target.method not in (None, method) or target.metric not in (None, metric):
                continue
            if isinstance(cell, dict):
                rows.append({"method": method, "metric": metric, **cell})
            else:  # paired tests: the first name is the data set's
                rows += [_pair(method, metric, test) for test in cell]
    return rows


def _pair(dataset: str, metric: str, test: Mapping[str, Any]) -> dict[str, Any]:
    """A paired test as a number: the mean difference."""
    return {
        "method": f"{test['first']} less {test['second']}",
        "metric": f"{dataset}.{metric}",
        "value": test["difference"],
        **{key: value for key, value in test.items() if key != "difference"},
    }


def _follow_ablations(result: Audit, graph: Graph, root: Path, verify: bool) -> list[LineageRecord]:
    """Numbers, lineage and findings of the variants; returns the records that they rest on."""
    target = result.target
    entries, found = ablations.read_entries(root)
    wanted = [key for key in entries if target.method in (None, key)]
    result.numbers = [
        one
        for one in ablations.numbers_of(entries)
        if target.method in (None, one["method"])
        and target.dataset in (None, one["dataset"])
        and target.metric in (None, one["metric"])
    ]
    result.add(found)
    result.add(ablations.check_file(graph, root))
    result.variants, found = ablations.check_variants(entries, wanted, root)
    result.add(found)
    if verify:
        from dimitra.lineage.experiment_cache import verify_variants

        result.add(verify_variants(entries, wanted, root))
    return _shared_stages(wanted, entries, graph, root)


def _shared_stages(
    wanted: Sequence[str], entries: Mapping[str, Any], graph: Graph, root: Path
) -> list[LineageRecord]:
    """Stages of this checkout's run whose outputs every one of the variants has started from."""
    try:
        lock = read_lock(root)
    except LockError:
        lock = None
    if lock is None or not wanted:
        return []
    digests = [entries[key]["lineage"]["digests"] for key in wanted]
    same = [
        stage
        for path, (md5, stage) in lock.made.items()
        if stage in graph.records and all(one.get(path) == md5 for one in digests)
    ]
    return graph.upstream(same)


def _stage(record: LineageRecord) -> dict[str, Any]:
    """What is shown of a stage; all of it is in its record."""
    return {
        "stage": record.stage,
        "record": record_path(record.stage).as_posix(),
        "role": "evaluator" if record.stage in _MEASURES else "maker",
        "commit": record.code.commit,
        "uncommitted": record.code.uncommitted,
        "code": record.code.digest,
        "params": dict(record.params),
        "outputs": {output.path: output.sha256 for output in record.outputs},
        "shards": len(record.shards),
        "clips": record.clips,
        "digests": dict(record.digests),
        "seeds": dict(record.seeds),
        "tools": dict(record.tools),
        "environment": dict(record.environment),
    }


def _assets(records: Sequence[LineageRecord]) -> list[dict[str, Any]]:
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for record in records:
        for asset in record.assets:
            known = found.setdefault((asset.name, asset.reference), {**asdict(asset), "stages": []})
            known["stages"].append(record.stage)
    return [found[key] for key in sorted(found)]


def _check_file(target: Target, records: Sequence[LineageRecord], root: Path) -> list[Finding]:
    """A shard or a file of an output that is audited by itself is read, whatever its size."""
    expected: str | None = None
    for record in records:
        for shard in record.shards:
            if shard.path == target.path:
                expected = shard.sha256
        for output in record.outputs:
            if output.path == target.path and not output.files:
                expected = output.sha256
            name = target.path.removeprefix(f"{output.path}/")
            expected = output.files.get(name, expected)
    place = root / target.path
    if expected is None or place.is_dir():
        return []
    if not place.is_file():
        return [absent(target.path, "it is not here; the record tells its digest")]
    found = sha256_file(place)
    return [] if found == expected else [broken(target.path, differs(expected, found))]


def _check_models(records: Sequence[LineageRecord], root: Path) -> Iterable[Finding]:
    """Of checkpoints that are here, that they are as large as recorded; ``--verify`` reads them."""
    for record in records:
        for output in record.outputs:
            folder = root / output.path
            if "model" not in record.digests or not folder.is_dir():
                continue
            size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
            if size != output.size_bytes:
                yield broken(
                    output.path,
                    f"{size} bytes, the record says {output.size_bytes}: it has changed",
                )


def audit(name: str, root: Path = Path(), verify: bool = False) -> tuple[Audit, Graph]:
    """Audit a target.

    Args:
        name: see ``dimitra.lineage.target.find_target``.
        root: the checkout.
        verify: read everything again that is here.

    Raises:
        LineageError: there are no records, or no such target.
    """
    graph = Graph(read_records(root))
    target = find_target(name, graph, root)
    result = Audit(target)
    if target.kind == "ablation":
        records = _follow_ablations(result, graph, root, verify)
    else:
        records = graph.upstream(target.stages or [*graph.records])
        result.numbers = _numbers(target, root)
    result.stages = [_stage(record) for record in records]
    result.assets = _assets(records)
    result.add(check_lock(root, [record.stage for record in records]))
    result.add(check_links(graph, records))
    result.add(check_sources(records, root))
    if EVALUATE in graph.records and any(record.stage == EVALUATE for record in records):
        result.add(check_metrics(graph.records[EVALUATE], root, target.dataset))
    if _SPLIT in (record.stage for record in records):
        result.split, found = prove_split(graph.records[_SPLIT], root)
        result.add(found)
    if target.kind in ("shard", "artefact"):
        result.add(_check_file(target, records, root))
    if target.kind == "video":
        from dimitra.lineage.verify import check_raw

        result.add(check_raw(graph.records["ingest"], root, only=target.path))
    result.add(_check_models(records, root))
    result.add(check_assets(records))
    if target.clips:
        from dimitra.lineage.clip_history import clip_history

        for clip_id in target.clips:
            history = clip_history(clip_id, graph, root)
            result.add(history.findings)
            result.history.append(asdict(history) | {"findings": None})
    if verify:
        from dimitra.lineage.verify import verify_records

        result.add(verify_records(records, root))
    result.add(check_code(records, root))
    result.add(check_params(records, root))
    result.add(check_rules(root))
    return result, graph
