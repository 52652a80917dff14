"""The numbers of ablations made again from the scores of clips that DVC's cache keeps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from dimitra.lineage.ablations import read_entries
from dimitra.lineage.experiment_cache import read_scores
from dimitra.lineage.record import LineageError
from dimitra.lineage.target import Target
from dimitra.metrics.definitions import COEFFICIENT_METRICS
from dimitra.metrics.records import ClipRecord, tabulate
from pipelines.ablations.variants import BY_KEY, FULL, entry


def _tabulated(scores: Mapping[str, Any]) -> dict[str, Any]:
    """Scores whose table is made again from their clips."""
    made = {}
    for dataset, content in scores.items():
        records = [ClipRecord.from_json(one) for one in content["clips"]]
        table = {
            method: {metric: asdict(summary) for metric, summary in row.items()}
            for method, row in tabulate(records, COEFFICIENT_METRICS).items()
        }
        made[dataset] = {"clips": content["clips"], "table": table}
    return made


def _scores(key: str, entries: Mapping[str, Any], root: Path) -> dict[str, Any] | None:
    try:
        return read_scores(root, entries[key]["lineage"])
    except ValueError as error:
        raise LineageError(f"{key}: {error}") from None


def _numbers(key: str, one: Mapping[str, Any], target: Target) -> dict[str, Any]:
    """Values and changes of a variant that are asked for, flat."""
    return {
        f"{key}.{dataset}.{metric}{suffix}": cell
        for part, suffix in (("metrics", ""), ("change", " against full"))
        for dataset, row in one[part].items()
        for metric, cell in row.items()
        if target.dataset in (None, dataset) and target.metric in (None, metric)
    }


def replay_ablations(target: Target, root: Path = Path()) -> tuple[dict[str, Any], dict[str, Any]]:
    """Numbers of the variants as they are kept, and as they are made again.

    Args:
        target: all ablations, a variant, or a number of it. Variants whose scores are not in the
            cache are left out.
        root: the checkout.

    Raises:
        LineageError: the cache has the scores of none, or is damaged.
    """
    entries, _ = read_entries(root)
    wanted = [key for key in entries if target.method in (None, key) and key in BY_KEY]
    full = _scores(FULL, entries, root) if FULL in entries else None
    kept: dict[str, Any] = {}
    made: dict[str, Any] = {}
    for key in wanted:
        scores = full if key == FULL else _scores(key, entries, root)
        if scores is None or full is None:
            continue
        again = entry(BY_KEY[key], _tabulated(scores), full, entries[key]["lineage"])
        kept |= _numbers(key, entries[key], target)
        made |= _numbers(key, again, target)
    if not kept:
        raise LineageError(
            f"DVC's cache has no scores of {', '.join(wanted)} and {FULL}, whose clips they are "
            "compared with: they are where `dimitra ablations run` was run"
        )
    return kept, made
