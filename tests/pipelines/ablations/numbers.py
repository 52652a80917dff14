"""Scores and entries of a few variants, whose errors are chosen."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from dimitra.metrics.definitions import COEFFICIENT_METRICS, METHODS
from dimitra.metrics.records import ClipRecord, tabulate
from dimitra.metrics.summary import ClipValue
from pipelines.ablations.variants import BY_KEY, entry

ERRORS = {"full": 0.1, "no_phonemes": 0.2, "no_text": 0.1, "joint": 0.05}
"""Variant to the size of its numbers."""
_TRUTH = 0.1


def scores(error: float) -> dict[str, dict[str, Any]]:
    """``data/scores`` of one data set whose errors are near ``error``, a little other by clip."""
    clips = []
    for number in range(4):
        apart = 0.001 * number * (1 if error > 0.15 else -1)
        values = {
            method.key: {
                metric.key: ClipValue(_TRUTH if method.key == "truth" else error + apart)
                for metric in COEFFICIENT_METRICS
            }
            for method in METHODS
        }
        clips.append(ClipRecord(f"c{number}", "chorus", "id", 9, {}, values))
    table = {
        method: {metric: asdict(cell) for metric, cell in row.items()}
        for method, row in tabulate(clips, COEFFICIENT_METRICS).items()
    }
    return {"chorus": {"clips": [clip.to_json() for clip in clips], "table": table}}


def entries() -> dict[str, Any]:
    """``metrics/ablations.json`` of some variants."""
    full = scores(ERRORS["full"])
    made = {}
    for key, error in ERRORS.items():
        lineage = {
            "params": {"model.conditions": ["speech"]} if key != "full" else {},
            "experiment": f"ablation-{key}",
            "baseline_commit": "0123456789abcdef",
            "fingerprint": f"all that {key} depends on",
            "code": {"train": "c0de"},
            "digests": {"data/shards": "5hard"},
        }
        made[key] = entry(BY_KEY[key], scores(error), full, lineage)
    return made
