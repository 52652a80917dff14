"""Variants of the models, what each gives, and what the numbers came from.

`dimitra ablations run` makes one DVC experiment of each variant (train, generate, score: no video)
and keeps its numbers in the committed `metrics/ablations.json`. A variant is known by a fingerprint
of all that its numbers depend on; the same fingerprint is never computed twice.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
import yaml
from scipy import stats

from dimitra.metrics.records import ClipRecord
from dimitra.metrics.summary import rounded
from dimitra.shards import json_bytes, write_atomic
from pipelines.closure import code_digest
from pipelines.errors import StageError
from pipelines.params import Params
from pipelines.stores.work_cache import digest_of

FILE = Path("metrics/ablations.json")
METHOD = "dimitra_hp"
FULL = "full"

STAGES = ("train", "generate", "score")
"""Modules of ``pipelines`` that a variant runs; all before them is shared."""
SHARED = ("data/shards", "data/motion", "data/crops", "data/manifest", "data/split")
"""Outputs that every variant starts from."""
_SECTIONS = ("model", "diffusion", "train", "generate", "fit", "datasets", "crop", "evaluate")
_HOW_TO_RUN = {"deadline_s"}
CONFIDENCE = 0.95
COMPARED = ("mouth_mae", "expression_mae")
"""Errors that are compared clip by clip, each against fit and truth."""


SHARED_CHANGES: Mapping[str, str] = {"generate.samples": "1"}
"""What every variant sets, the full one too: the first sample is the same, however many follow."""


@dataclass(frozen=True)
class Variant:
    """One row of the table.

    Attributes:
        key: name in ``metrics/ablations.json``.
        label: as printed.
        changes: parameters and their values, as ``dvc exp run -S`` takes them.
        hurts: the error that is expected to grow without what the variant leaves out.
    """

    key: str
    label: str
    changes: Mapping[str, str] = field(default_factory=dict)
    hurts: tuple[str, ...] = COMPARED

    @property
    def overrides(self) -> dict[str, str]:
        """All parameters that its experiment sets."""
        return {**SHARED_CHANGES, **self.changes}


def _without(condition: str) -> Mapping[str, str]:
    kept = (one for one in ("speech", "phonemes", "text", "first_pose") if one != condition)
    return MappingProxyType({"model.conditions": f"[{','.join(kept)}]"})


VARIANTS = (
    Variant(FULL, "Full"),
    Variant("no_phonemes", "No phonemes", _without("phonemes"), ("mouth_mae",)),
    Variant("no_text", "No text", _without("text"), ("expression_mae",)),
    Variant("no_speech", "No speech features", _without("speech")),
    Variant("no_first_pose", "No first pose", _without("first_pose")),
    Variant(
        "joint",
        "One joint model",
        MappingProxyType({"train.parts": "[all]", "generate.models": "joint"}),
    ),
    Variant("softmax", "Vanilla attention", MappingProxyType({"model.attention": "softmax"})),
)
"""The full model first: the others are measured against it."""
BY_KEY = {variant.key: variant for variant in VARIANTS}


@dataclass(frozen=True)
class Difference:
    """Change of a clip's error against the full model, mean over clips.

    Attributes:
        mean: of the variant's value less the full model's.
        low: of its 95 % confidence interval (Student's t over clips; one training of each).
        high: of the same.
        n: clips.
    """

    mean: float
    low: float
    high: float
    n: int

    @property
    def verdict(self) -> Literal["worse", "better", "no difference"]:
        """Of an error: what the interval allows to say."""
        if self.low > 0.0:
            return "worse"
        return "better" if self.high < 0.0 else "no difference"


def paired(full: Sequence[float], variant: Sequence[float]) -> Difference | None:
    """Compare values of the same clips; None for fewer than two.

    Raises:
        ValueError: the counts differ.
    """
    pairs = list(zip(full, variant, strict=True))
    if len(pairs) < 2:
        return None
    changes = np.array([after - before for before, after in pairs])
    mean, count = float(changes.mean()), len(changes)
    spread = float(changes.std(ddof=1)) / math.sqrt(count)
    reach = float(stats.t.ppf(0.5 + CONFIDENCE / 2, count - 1)) * spread
    mean, low, high = (round(value, 4) + 0.0 for value in (mean, mean - reach, mean + reach))
    return Difference(mean, low, high, count)


def compare(
    full: Mapping[str, ClipRecord], variant: Mapping[str, ClipRecord]
) -> dict[str, dict[str, Any]]:
    """Changes of the errors of one data set against the full model.

    Args:
        full: records by clip id.
        variant: of the same data set.
    """
    found = {}
    both = sorted(full.keys() & variant.keys())
    for key in (f"{error}_{aim}" for error in COMPARED for aim in ("fit", "truth")):
        values = [
            (full[i].values[METHOD][key].value, variant[i].values[METHOD][key].value) for i in both
        ]
        known = [(a, b) for a, b in values if a is not None and b is not None]
        change = paired([a for a, _ in known], [b for _, b in known])
        if change is not None:
            found[key] = asdict(change)
    return found


def lock_digests(lock: Mapping[str, Any], paths: Sequence[str] | None = None) -> dict[str, str]:
    """Digests of outputs in a ``dvc.lock``: path to md5.

    Args:
        lock: content of the file.
        paths: which; all of ``SHARED`` and of the stages after them where None.
    """
    outs = {
        out["path"]: out["md5"]
        for stage in lock.get("stages", {}).values()
        for out in stage.get("outs", [])
    }
    if paths is None:
        late = ("models/", "data/generated", "data/scores", *SHARED)
        return {path: md5 for path, md5 in sorted(outs.items()) if path.startswith(late)}
    missing = [path for path in paths if path not in outs]
    if missing:
        raise StageError(
            f"dvc.lock does not know {', '.join(missing)}: run `dvc repro` and commit dvc.lock"
        )
    return {path: outs[path] for path in paths}


def code() -> dict[str, str]:
    """Code version of the stages that a variant runs."""
    return {stage: code_digest(f"pipelines.{stage}") for stage in STAGES}


def fingerprint(variant: Variant, params: Params, lock: Mapping[str, Any]) -> str:
    """Digest of all that a variant's numbers depend on.

    Args:
        variant: which.
        params: of the full model.
        lock: content of ``dvc.lock``.

    Raises:
        StageError: the shared stages have not run.
    """
    sections = {
        name: getattr(params, name).model_dump(mode="json", exclude=_HOW_TO_RUN)
        for name in _SECTIONS
    }
    return digest_of(
        {
            "changes": variant.overrides,
            "params": sections,
            "seed": params.seed,
            "inputs": lock_digests(lock, SHARED),
            "truth": _truth_digest(lock, params.evaluate.truth),
            "code": code(),
        }
    )


def _truth_digest(lock: Mapping[str, Any], folder: str) -> str | None:
    deps = lock["stages"].get("score", {}).get("deps", [])
    return next((one["md5"] for one in deps if one["path"] == folder), None)


def flatten(values: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """``{"a": {"b": 1}}`` to ``{"a.b": 1}``."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        name = f"{above}{key}"
        flat |= flatten(value, f"{name}.") if isinstance(value, Mapping) else {name: value}
    return flat


def changed_params(before: str, after: str) -> dict[str, Any]:
    """Keys in which two parameter files differ, with the values of the second."""
    one, two = flatten(yaml.safe_load(before)), flatten(yaml.safe_load(after))
    return {
        key: two.get(key) for key in sorted(one.keys() | two.keys()) if one.get(key) != two.get(key)
    }


def read(root: Path = Path()) -> dict[str, Any]:
    """Entries by variant; empty where there is no file yet."""
    path = root / FILE
    return dict(json.loads(path.read_text())) if path.is_file() else {}


def write(entries: Mapping[str, Any], root: Path = Path()) -> None:
    """Write the entries of known variants."""
    known = {key: entries[key] for key in BY_KEY if key in entries}
    write_atomic(root / FILE, json_bytes(known))


def entry(
    variant: Variant,
    scores: Mapping[str, Mapping[str, Any]],
    full: Mapping[str, Mapping[str, Any]],
    lineage: Mapping[str, Any],
) -> dict[str, Any]:
    """What ``metrics/ablations.json`` holds of one variant.

    Args:
        variant: which.
        scores: data set to content of ``data/scores/<dataset>.json``.
        full: the same of the full model.
        lineage: where they came from.
    """

    def records(content: Mapping[str, Any]) -> dict[str, ClipRecord]:
        found = (ClipRecord.from_json(value) for value in content["clips"])
        return {record.clip_id: record for record in found}

    return {
        "label": variant.label,
        "metrics": {name: content["table"][METHOD] for name, content in scores.items()},
        "change": {}
        if variant.key == FULL
        else {name: compare(records(full[name]), records(scores[name])) for name in scores},
        "lineage": dict(lineage),
    }


def relative(entries: Mapping[str, Any], key: str, dataset: str, metric: str) -> float | None:
    """Change of a metric against the full model, as a share of the full model's value."""
    values = [
        entries.get(name, {}).get("metrics", {}).get(dataset, {}).get(metric, {}).get("value")
        for name in (FULL, key)
    ]
    if values[0] is None or values[1] is None or values[0] == 0.0:
        return None
    return rounded(values[1] / values[0] - 1.0)


def aim_of(change: Mapping[str, Any], error: str) -> str | None:
    """Metric of an error against the truth, or against the fit where no truth is known."""
    return next((name for name in (f"{error}_truth", f"{error}_fit") if name in change), None)


_PART = {"mouth_mae": "lips", "expression_mae": "expression"}


def findings(entries: Mapping[str, Any], dataset: str) -> list[str]:
    """What the numbers say of each variant on one data set, a sentence each, for or against."""
    said = []
    for variant in VARIANTS[1:]:
        change = entries.get(variant.key, {}).get("change", {}).get(dataset, {})
        for error in variant.hurts:
            metric = aim_of(change, error)
            if metric is None:
                continue
            found = Difference(**change[metric])
            share = relative(entries, variant.key, dataset, metric)
            size = f"{found.mean:+.4f}" + ("" if share is None else f", {100 * share:+.1f} %")
            verdict = {
                "worse": "worse",
                "better": "better, not worse",
                "no difference": "no difference that shows",
            }[found.verdict]
            said.append(
                f"{variant.label}: {_PART[error]} {verdict} ({metric} {size} against full; "
                f"95 % over {found.n} clips {found.low:+.4f} to {found.high:+.4f})."
            )
    return said
