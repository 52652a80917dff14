"""From the records of clips to the files of `metrics/`."""

from __future__ import annotations

import itertools
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from dimitra.metrics.definitions import METHODS, OF_ALL_FRAMES
from dimitra.metrics.estimates import Estimate, estimate, no_interval, paired_tests
from dimitra.metrics.frechet import Moments, frechet_distance
from dimitra.metrics.records import CLIP_TABLE_SCHEMA, ClipRecord, clip_rows
from dimitra.metrics.summary import Summary, rounded
from dimitra.shards import iterate_shard, json_bytes, read_npz, write_atomic
from pipelines.errors import StageError
from pipelines.evaluation.scores import OF_THE_SET, read_scores
from pipelines.params import Params
from pipelines.runtime.quarantine import write_table

OUTPUT = Path("data/evaluation")
METRIC_FILES = Path("metrics")
PAIRED = "paired.json"
GROUND_TRUTH = "ground_truth"

NO_NETWORK = {
    "fid": "evaluate.frame_weights is null: no network of FID's features is given",
    "fvd": "evaluate.clip_weights is null: no network of FVD's features is given",
}
"""Why a number may have no features at all."""
FEW_FEATURES = "fewer than two features of it, or of the ground truth"


@dataclass
class Gathered:
    """Features of one kind of one method in a data set.

    Attributes:
        moments: of all of them, None before the first.
        clips: whose features they are.
        identities: who speaks in them.
    """

    moments: Moments | None = None
    clips: int = 0
    identities: set[str] = field(default_factory=set)


@dataclass
class DataSet:
    """What the shards of `evaluate` hold of a data set.

    Attributes:
        records: sorted by clip id once all are read.
        features: ``<metric>.<method>`` to features.
    """

    records: list[ClipRecord] = field(default_factory=list)
    features: dict[str, Gathered] = field(default_factory=lambda: defaultdict(Gathered))


def read_shards(shards: Sequence[Path], datasets: Iterable[str]) -> dict[str, DataSet]:
    """Data set to its clips and features, one clip in memory at a time.

    Args:
        shards: of ``data/evaluation``.
        datasets: those of the run; one without a test clip gets an empty one.
    """
    found = {dataset: DataSet() for dataset in sorted(datasets)}
    for shard in shards:
        for _, parts in iterate_shard(shard):
            record = ClipRecord.from_json(json.loads(parts["metrics.json"]))
            own = found[record.dataset]
            own.records.append(record)
            for name, features in read_npz(parts["features.npz"]).items():
                if len(features):
                    kind = own.features[name]
                    moments = Moments.of(features)
                    kind.moments = moments if kind.moments is None else kind.moments + moments
                    kind.clips += 1
                    kind.identities.add(record.identity)
    for one in found.values():
        one.records.sort(key=lambda record: record.clip_id)
    return found


def frechet_numbers(dataset: DataSet) -> dict[str, dict[str, Estimate]]:
    """Method to metric to the distance of its features to those of the ground truth.

    Methods whose pictures are not compared (they have none, or the ground truth's) are left out.
    """
    table: dict[str, dict[str, Estimate]] = {}
    kinds = {name.partition(".")[0] for name in dataset.features}
    for metric, method in itertools.product(OF_ALL_FRAMES, METHODS):
        cells = [record.values[method.key][metric] for record in dataset.records]
        if not any(cell.reason == OF_THE_SET for cell in cells):
            continue
        own = dataset.features.get(f"{metric}.{method.key}", Gathered())
        true = dataset.features.get(f"{metric}.{GROUND_TRUTH}", Gathered())
        value = _distance(own, true)
        if value is None:
            reason = FEW_FEATURES if metric in kinds else NO_NETWORK.get(metric, FEW_FEATURES)
            number = no_interval(Summary(None, 0, 0, reason), 0)
        else:
            summary = Summary(rounded(value), own.clips, 0, None)
            number = no_interval(summary, len(own.identities))
        table.setdefault(method.key, {})[metric] = number
    return table


def _distance(own: Gathered, true: Gathered) -> float | None:
    """Of two sets of features; None where one of them has no spread that could be told."""
    if own.moments is None or true.moments is None:
        return None
    if min(own.moments.count, true.moments.count) < 2:
        return None
    return frechet_distance(own.moments, true.moments)


def with_scores(record: ClipRecord, scores: Mapping[str, ClipRecord]) -> ClipRecord:
    """A clip's record with the numbers of its coefficients.

    Args:
        record: of its videos.
        scores: of the data set, by clip id.

    Raises:
        StageError: the clip has not been scored.
    """
    if record.clip_id not in scores:
        raise StageError(f"{record.clip_id} is in {OUTPUT}, but not in data/scores: run score")
    scored = scores[record.clip_id].values
    values = {method: {**row, **scored[method]} for method, row in record.values.items()}
    return replace(record, values=values)


def write_metrics(datasets: Mapping[str, DataSet], folder: Path, seed: int) -> None:
    """Write ``<dataset>.json`` and ``clips/<dataset>.parquet``, and ``paired.json`` of them all.

    Args:
        datasets: their records with the scores of their coefficients.
        folder: of the metric files.
        seed: of bootstrap and permutations.
    """
    paired = {}
    for name, dataset in datasets.items():
        numbers = estimate(dataset.records, frechet_numbers(dataset), seed)
        table = {
            method: {metric: asdict(number) for metric, number in row.items()}
            for method, row in numbers.items()
        }
        write_atomic(folder / f"{name}.json", json_bytes(table))
        write_table(
            folder / "clips" / f"{name}.parquet", clip_rows(dataset.records), CLIP_TABLE_SCHEMA
        )
        paired[name] = paired_tests(dataset.records, seed)
    write_atomic(folder / PAIRED, json_bytes(paired))


def write_all(shards: Sequence[Path], params: Params, folder: Path = METRIC_FILES) -> None:
    """Write the metric files of a finished `evaluate`.

    Args:
        shards: of ``data/evaluation``.
        params: of the run.
        folder: of the metric files.

    Raises:
        StageError: a clip has not been scored.
    """
    datasets = read_shards(shards, params.datasets.sets)
    for name, dataset in datasets.items():
        scores = read_scores(name)
        dataset.records = [with_scores(record, scores) for record in dataset.records]
    write_metrics(datasets, folder, params.seed)
