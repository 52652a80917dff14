"""Numbers made again from what they were made of: `dimitra audit TARGET --replay`.

A metric file is made again from the records of its clips, which ``evaluate`` and ``score`` keep;
ablations from the scores of their clips; a clip's own numbers from its videos and its sound. On the
processor that the record names they must be the same, elsewhere within ``metrics/tolerance.yaml``.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dimitra.lineage.record import LineageError, LineageRecord
from dimitra.lineage.target import Target
from dimitra.metrics.records import ClipRecord
from dimitra.shards import iterate_shard
from pipelines import evaluate, tolerance
from pipelines.evaluation import tables as evaluate_tables
from pipelines.lineage.surroundings import processor
from pipelines.params import Params, load
from pipelines.stores.work_cache import WorkCache, local_shards

TOLERANCE = Path("metrics/tolerance.yaml")


@dataclass(frozen=True)
class Replay:
    """How numbers made again compare.

    Attributes:
        same_processor: this one is of the type that the record names.
        numbers: compared.
        differing: of those, how many are not exactly the same.
        problems: numbers that are not allowed to differ as they do.
    """

    same_processor: bool
    numbers: int
    differing: int
    problems: tuple[str, ...]

    @property
    def message(self) -> str:
        """One line."""
        where = "" if self.same_processor else ", on another processor"
        if not self.differing:
            return f"{self.numbers} numbers made again, all the same{where}"
        if self.problems:
            return f"{len(self.problems)} of {self.numbers} numbers differ{where}"
        return (
            f"{self.differing} of {self.numbers} numbers differ{where}, within "
            f"{TOLERANCE.as_posix()}"
        )


def _same_processor(record: LineageRecord) -> bool:
    own = processor()
    return all(record.environment.get(key) == value for key, value in own.items())


def _flat(table: Mapping[str, Any]) -> dict[str, Any]:
    return {
        f"{method}.{metric}": cell for method, row in table.items() for metric, cell in row.items()
    }


def _compare(
    name: str, kept: Mapping[str, Any], made: Mapping[str, Any], record: LineageRecord
) -> Replay:
    one, two = _flat(kept), _flat(made)
    differing = sorted(key for key in one.keys() | two.keys() if one.get(key) != two.get(key))
    same = _same_processor(record)
    if same:
        problems = tuple(f"{key}: {two.get(key)} now, {one.get(key)} kept" for key in differing)
    else:
        rule = tolerance.read_tolerance(TOLERANCE)
        problems = tuple(
            f"{found.method}.{found.metric}: {found.problem}"
            for found in tolerance.compare(name, kept, made, rule)
            if found.problem
        )
    return Replay(same, len(one.keys() | two.keys()), len(differing), problems)


def _metric(target: Target, record: LineageRecord, params: Params) -> Replay:
    shards = local_shards(evaluate_tables.OUTPUT, WorkCache.of(params.storage.root))
    if not shards:
        raise LineageError(f"{evaluate_tables.OUTPUT} is not here: `dvc repro evaluate` makes it")
    with tempfile.TemporaryDirectory() as folder:
        evaluate_tables.write_all(shards, params, Path(folder))
        made = json.loads((Path(folder) / Path(target.path).name).read_text())
    kept = json.loads(Path(target.path).read_text())
    if target.metric is not None and target.method is not None:
        made, kept = (
            {target.method: {target.metric: table[target.method][target.metric]}}
            for table in (made, kept)
        )
    return _compare(Path(target.path).stem, kept, made, record)


def _ablation(target: Target) -> Replay:
    """Sums of kept numbers, which are the same on any processor."""
    from pipelines.ablations.replay import replay_ablations

    kept, made = replay_ablations(target)
    names = sorted(kept.keys() | made.keys())
    problems = tuple(
        f"{target.path}#{name}: {made.get(name)} now, {kept.get(name)} kept"
        for name in names
        if made.get(name) != kept.get(name)
    )
    return Replay(True, len(names), len(problems), problems)


def _values(data: bytes) -> dict[str, dict[str, dict[str, Any]]]:
    """A clip's values in the shape of a metric file, which the tolerance is told for."""
    record = ClipRecord.from_json(json.loads(data))
    return {
        method: {
            metric: {**cell, "n": int(cell["value"] is not None), "dropped": int(cell["dropped"])}
            for metric, cell in row.items()
        }
        for method, row in record.to_json()["values"].items()
    }


def _clip(clip_id: str, record: LineageRecord, params: Params) -> Replay:
    job = evaluate.plan(params)
    for unit in job.units:
        clip = next((one for one in unit.clips if one.clip_id == clip_id), None)
        if clip is None:
            continue
        cache = WorkCache.of(params.storage.root)
        parts: dict[str, bytes] = {}
        for folder in (evaluate.VIDEOS, evaluate.CROPS):
            for shard in local_shards(folder, cache, {clip_id}):
                for _, found in iterate_shard(shard, {clip_id}):
                    parts |= found
        made = evaluate.make_worker(dict(job.params))(clip, parts)
        kept = _kept(clip_id, cache)
        return _compare(clip.dataset, _values(kept), _values(made["metrics.json"]), record)
    raise LineageError(f"{clip_id} is no clip of the test set that has been evaluated")


def _kept(clip_id: str, cache: WorkCache) -> bytes:
    for shard in local_shards(evaluate_tables.OUTPUT, cache, {clip_id}):
        for _, parts in iterate_shard(shard, {clip_id}):
            return parts["metrics.json"]
    raise LineageError(f"{evaluate_tables.OUTPUT} does not hold {clip_id}")


def replay(target: Target, record: LineageRecord) -> Replay:
    """Make the numbers of a target again, in the working folder.

    Args:
        target: a metric, ablations, or a clip of the test set.
        record: of ``evaluate``.

    Raises:
        LineageError: the target has no numbers, or what they are made of is not here.
        StageError: a stage before ``evaluate`` has not finished.
    """
    if target.kind == "ablation":
        return _ablation(target)
    params = load()
    if target.kind == "metric":
        return _metric(target, record, params)
    if target.kind == "clip":
        return _clip(target.clips[0], record, params)
    raise LineageError(
        f"--replay makes numbers again, and {target.name} is none: name a metric or a test clip. "
        "`dvc repro -f STAGE` makes a model or a shard again"
    )
