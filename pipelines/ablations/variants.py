"""Variants of the models, what each gives, and what the numbers came from.

`dimitra ablations run` makes one DVC experiment of each variant (train, generate, score: no video)
and keeps its numbers in the committed `metrics/ablations.json`. A variant is known by a fingerprint
of all that its numbers depend on; the same fingerprint is never computed twice.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yaml

from dimitra.metrics.records import ClipRecord
from dimitra.shards import json_bytes, write_atomic
from pipelines.ablations.change import COMPARED, GAPS, compare
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


SHARED_CHANGES: Mapping[str, str] = {"generate.samples": "1"}
"""What every variant sets, the full one too: the first sample is the same, however many follow."""


@dataclass(frozen=True)
class Variant:
    """One row of the table.

    Attributes:
        key: name in ``metrics/ablations.json``.
        label: as printed.
        changes: parameters and their values, as ``dvc exp run -S`` takes them.
        hurts: the errors that are expected to grow without what the variant leaves out.
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
        (*COMPARED, *GAPS),
    ),
    Variant("softmax", "Vanilla attention", MappingProxyType({"model.attention": "softmax"})),
)
"""The full model first: the others are measured against it."""
BY_KEY = {variant.key: variant for variant in VARIANTS}


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
        else {name: compare(records(full[name]), records(scores[name]), METHOD) for name in scores},
        "lineage": dict(lineage),
    }
