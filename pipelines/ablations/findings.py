"""What the numbers of the ablations say, in sentences."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dimitra.metrics.definitions import COEFFICIENT_METRICS, Metric
from dimitra.metrics.summary import rounded
from pipelines.ablations.change import Difference
from pipelines.ablations.variants import FULL, VARIANTS, Variant

METRICS = {metric.key: metric for metric in COEFFICIENT_METRICS}
"""Names and units of all numbers of a variant."""
_PARTS = {
    "mouth_mae": "lips",
    "expression_mae": "expression",
    "head_speed_gap": "speed of the head",
    "head_range_gap": "range of the head",
}
_VERDICTS = {
    "worse": "worse",
    "better": "better",
    "no difference": "no difference that shows, the interval covers 0",
}
_AGAINST = {"joint": "of three models"}
"""What the full model is beside a variant, where there is more to say than that it is full."""


def _value(entries: Mapping[str, Any], key: str, dataset: str, metric: str) -> float | None:
    table = entries.get(key, {}).get("metrics", {}).get(dataset, {})
    found: float | None = table.get(metric, {}).get("value")
    return found


def relative(entries: Mapping[str, Any], key: str, dataset: str, metric: str) -> float | None:
    """Change of a metric against the full model, as a share of the full model's value."""
    before, after = (_value(entries, name, dataset, metric) for name in (FULL, key))
    if before is None or after is None or before == 0.0:
        return None
    return rounded(after / before - 1.0)


def aim_of(change: Mapping[str, Any], error: str) -> str | None:
    """Metric of an error against the truth, or against the fit where no truth is known."""
    return next(
        (name for name in (f"{error}_truth", f"{error}_fit", error) if name in change), None
    )


def _sentence(
    entries: Mapping[str, Any], variant: Variant, dataset: str, error: str, metric: Metric
) -> str:
    found = Difference(**entries[variant.key]["change"][dataset][metric.key])
    unit = f" {metric.unit}" if metric.unit else ""
    values = [_value(entries, name, dataset, metric.key) for name in (variant.key, FULL)]
    shown = ["none" if value is None else f"{value:.{metric.decimals}f}{unit}" for value in values]
    share = relative(entries, variant.key, dataset, metric.key)
    against = _AGAINST.get(variant.key, "of the full model")
    change = f"{found.mean:+.4f}{unit}" + ("" if share is None else f" or {100 * share:+.1f} %")
    return (
        f"{variant.label}: {_PARTS[error]} {_VERDICTS[found.verdict]}; {metric.label} {shown[0]} "
        f"against {shown[1]} {against}, {change}, 95 % over {found.n} clips {found.low:+.4f} to "
        f"{found.high:+.4f}{unit}."
    )


def findings(entries: Mapping[str, Any], dataset: str) -> list[str]:
    """What the numbers say of each variant on one data set, for or against.

    Args:
        entries: variant to its entry of ``metrics/ablations.json``.
        dataset: which.
    """
    said = []
    for variant in VARIANTS[1:]:
        change = entries.get(variant.key, {}).get("change", {}).get(dataset, {})
        for error in variant.hurts:
            key = aim_of(change, error)
            if key is not None:
                said.append(_sentence(entries, variant, dataset, error, METRICS[key]))
    return said
