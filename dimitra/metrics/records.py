"""Per-clip records of an evaluation, and the tables made of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa

from dimitra.metrics.definitions import METHODS, METRICS, OF_ALL_CLIPS, Metric
from dimitra.metrics.motion import distribution_gap
from dimitra.metrics.summary import ClipValue, Summary, rounded, summarise

Values = Mapping[str, Mapping[str, ClipValue]]
"""Method to metric to value."""


@dataclass(frozen=True)
class ClipRecord:
    """Every number of one clip, the content of ``metrics.json``.

    Attributes:
        clip_id: of the ground-truth clip.
        dataset: dataset name.
        identity: who speaks.
        frames: of the ground-truth video, T.
        missed: frames without a face, for ``ground_truth`` and each method with video.
        values: for each method, each metric.
    """

    clip_id: str
    dataset: str
    identity: str
    frames: int
    missed: Mapping[str, int]
    values: Values

    def to_json(self) -> dict[str, Any]:
        """JSON value, numbers rounded to ``DECIMALS``."""
        value = asdict(self)
        for row in value["values"].values():
            for item in row.values():
                item["value"] = rounded(item["value"])
        return value

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> ClipRecord:
        """Inverse of ``to_json``, up to its rounding."""
        values = {
            method: {metric: ClipValue(**item) for metric, item in row.items()}
            for method, row in value["values"].items()
        }
        return cls(**{**value, "values": values})


def as_kept(record: ClipRecord) -> ClipRecord:
    """The record with its numbers rounded as they are kept."""
    return ClipRecord.from_json(record.to_json())


CLIP_TABLE_SCHEMA = pa.schema(
    [
        pa.field("clip_id", pa.string(), nullable=False),
        pa.field("dataset", pa.string(), nullable=False),
        pa.field("identity", pa.string(), nullable=False),
        pa.field("method", pa.string(), nullable=False),
        pa.field("frames", pa.int32(), nullable=False),
        pa.field("missed", pa.int32()),
        *(pa.field(metric.key, pa.float64()) for metric in METRICS),
        pa.field("dropped", pa.string()),
    ]
)
"""One row for each clip and method; ``dropped`` is the protocol's reason to ignore the clip."""


def clip_rows(records: Iterable[ClipRecord]) -> list[dict[str, Any]]:
    """Rows of ``CLIP_TABLE_SCHEMA``, sorted by clip, methods in table order."""
    rows = []
    for record in sorted(records, key=lambda record: record.clip_id):
        for method in METHODS:
            row = record.values[method.key]
            dropped = sorted({item.reason or "" for item in row.values() if item.dropped})
            rows.append(
                {
                    "clip_id": record.clip_id,
                    "dataset": record.dataset,
                    "identity": record.identity,
                    "method": method.key,
                    "frames": record.frames,
                    "missed": record.missed.get(method.key),
                    **{metric.key: rounded(row[metric.key].value) for metric in METRICS},
                    "dropped": "; ".join(dropped) or None,
                }
            )
    return rows


def _gap(records: Sequence[ClipRecord], method: str, source: str) -> Summary:
    """Distance of a method's distribution over clips to the truth's, the fit's where none is."""

    def values(of: str) -> list[float]:
        found = (record.values[of][source].value for record in records)
        return [value for value in found if value is not None]

    reference = values("truth") or values("ground_truth")
    own = values(method)
    if not own:
        return summarise([record.values[method][source] for record in records])
    gap = distribution_gap(own, reference)
    if gap is None:
        return Summary(None, 0, 0, "no head that moves to compare with")
    return Summary(rounded(gap), len(own), 0, None)


def tabulate(
    records: Sequence[ClipRecord], metrics: Sequence[Metric] = METRICS
) -> dict[str, dict[str, Summary]]:
    """Numbers of a data set for each method and metric, in table order.

    Of values rounded as they are kept, so that a table can be made again from the kept records.
    Means over clips, but for the metrics of ``OF_ALL_CLIPS``, which compare distributions.

    Args:
        records: of the data set; their values may lack metrics that are not asked for.
        metrics: columns.

    Raises:
        ValueError: a clip id comes twice, which would count it twice.
    """
    ids = [record.clip_id for record in records]
    twice = sorted({clip_id for clip_id in ids if ids.count(clip_id) > 1})
    if twice:
        raise ValueError(f"clips evaluated more than once: {', '.join(twice)}")
    records = [as_kept(record) for record in records]
    return {
        method.key: {
            metric.key: (
                _gap(records, method.key, OF_ALL_CLIPS[metric.key])
                if metric.key in OF_ALL_CLIPS
                else summarise([record.values[method.key][metric.key] for record in records])
            )
            for metric in metrics
        }
        for method in METHODS
    }
