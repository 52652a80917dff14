"""What stands behind each number: one card a number, found by its anchor in the page."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dimitra.lineage.record import LineageRecord
from dimitra.metrics.definitions import (
    COEFFICIENT_METRICS,
    DECIMALS,
    METHODS,
    METRICS,
    Method,
    Metric,
)
from dimitra.metrics.version import code_digest
from pipelines.report import lineage
from pipelines.report.digests import split_digest
from pipelines.report.lineage import Lineage
from pipelines.report.tables import GENERATED, anchor, interval, number

SHORT = 16
"""Digits of a digest that a card shows; the stage's own card has all."""
_SYNC = "sync_"
"""How the names of the metrics begin that SyncNet gives."""


@dataclass(frozen=True)
class Fact:
    """A line of a card.

    Attributes:
        name: what it is.
        text: its value.
        link: anchor of the stage's card that says more; empty for none.
    """

    name: str
    text: str
    link: str = ""


@dataclass(frozen=True)
class AuditCard:
    """All that stands behind one number.

    Attributes:
        anchor: its name in the page.
        title: data set, method and metric.
        value: as in the metrics file, not rounded further; empty where there is none.
        reason: why there is none, else empty.
        about: what is measured, in which unit, which direction is better.
        command: audits it outside the page.
        facts: n, intervals, code, checkpoints, data.
    """

    anchor: str
    title: str
    value: str
    reason: str
    about: str
    command: str
    facts: tuple[Fact, ...]


def _short(digest: str | None) -> str:
    return digest[:SHORT] if digest else "not known"


def _commit(record: LineageRecord) -> str:
    return (record.code.commit or "not known")[:10]


def _stage_fact(name: str, stage: str, record: LineageRecord | None) -> Fact:
    if record is None:
        return Fact(name, f"{stage}: no lineage record")
    changed = ", with uncommitted changes" if record.code.uncommitted else ""
    return Fact(
        name,
        f"{stage}, commit {_commit(record)}{changed}, code {_short(record.code.digest)}",
        lineage.anchor(stage),
    )


def _checkpoint(part: str, known: Lineage, digests: Mapping[str, str]) -> Fact:
    record = known.of(f"train@{part}")
    name = f"Checkpoint {part}"
    if record is None:
        return Fact(name, f"sha256 {_short(digests.get(part))}; commit and parameters not recorded")
    return Fact(
        name,
        f"sha256 {_short(record.digests.get('model') or digests.get(part))}, "
        f"commit {_commit(record)}, parameters {_short(lineage.params_digest(record))}",
        lineage.anchor(record.stage),
    )


def _weights(record: LineageRecord | None) -> list[Fact]:
    """Third-party weights that the evaluation loads."""
    if record is None:
        return []
    return [
        Fact(
            f"Weights {one.reference}",
            f"sha256 {_short(one.sha256)}, {one.licence}",
            lineage.anchor(record.stage),
        )
        for one in record.assets
    ]


@dataclass(frozen=True)
class Behind:
    """What all numbers of a run have in common.

    Attributes:
        lineage: the run's records.
        split: digest of the split.
        manifest: digest of the manifest.
        shards: digest of the shard index.
        models: name of a trained model to the digest of its weights.
    """

    lineage: Lineage
    split: str
    manifest: str
    shards: str | None
    models: Mapping[str, str]

    @classmethod
    def of(cls, root: Path, known: Lineage, digests: Mapping[str, str]) -> Behind:
        """That of a run.

        Args:
            root: of the run.
            known: its records.
            digests: file to sha256, of those that there are.
        """
        models = {
            Path(file).parent.name: digest
            for file, digest in digests.items()
            if file.endswith("model.safetensors")
        }
        return cls(
            lineage=known,
            split=split_digest(root),
            manifest=digests["data/manifest/clips.parquet"],
            shards=digests.get("data/shards/index.parquet"),
            models=models,
        )


def _data(dataset: str, behind: Behind) -> list[Fact]:
    known = behind.lineage

    def linked(name: str, text: str, stage: str) -> Fact:
        return Fact(name, text, lineage.anchor(stage) if known.of(stage) else "")

    facts = [
        linked("Data set", f"{dataset}; manifest sha256 {_short(behind.manifest)}", "ingest"),
        linked("Split", f"sha256 {_short(behind.split)}", "split"),
    ]
    shard = known.of("shard")
    output = shard.output("data/shards") if shard else None
    whole = output.sha256 if output else None
    if whole or behind.shards:
        of = f"folder sha256 {_short(whole)}" if whole else f"index sha256 {_short(behind.shards)}"
        facts.append(linked("Shards", of, "shard"))
    return facts


def _made_by(method: Method, metric: Metric, parts: Sequence[str], behind: Behind) -> list[Fact]:
    known = behind.lineage
    of_coefficients = metric in COEFFICIENT_METRICS
    stage = "score" if of_coefficients else "evaluate"
    facts = [_stage_fact("Evaluator", stage, known.of(stage))]
    facts.append(Fact("Metric code", f"dimitra/metrics sha256 {code_digest()[:SHORT]}"))
    if not of_coefficients:
        facts += _weights(known.of("evaluate"))
    if metric.key.startswith(_SYNC) and "sync" in behind.models:
        record = known.of("train_sync")
        facts.append(
            Fact(
                "SyncNet, trained here",
                f"sha256 {_short(behind.models['sync'])}",
                lineage.anchor("train_sync") if record else "",
            )
        )
    if method.key in GENERATED:
        facts += [_checkpoint(part, known, behind.models) for part in parts]
        for stage in ("generate",) if of_coefficients else ("generate", "render"):
            if known.of(stage):
                facts.append(_stage_fact(stage.capitalize(), stage, known.of(stage)))
    return facts


def _card(
    dataset: str,
    method: Method,
    metric: Metric,
    item: Mapping[str, Any],
    shared: Sequence[Fact],
) -> AuditCard:
    value = item["value"]
    facts = [Fact("Clips", f"n = {item['n']}, {item['dropped']} dropped")]
    over = interval(item.get("low"), item.get("high"), DECIMALS)
    if over:
        facts.append(Fact("95 % over clips", over))
    people = interval(item.get("identities_low"), item.get("identities_high"), DECIMALS)
    if people:
        facts.append(Fact("95 % over identities", f"{people} ({item['identities']} identities)"))
    unit = f" In {metric.unit}." if metric.unit else ""
    return AuditCard(
        anchor=anchor(dataset, method.key, metric.key),
        title=f"{dataset}, {method.label}, {metric.label}",
        value="" if value is None else number(value, DECIMALS),
        reason=str(item["reason"]) if value is None else "",
        about=f"{metric.description}{unit} {metric.aim}",
        command=f"dimitra audit metrics/{dataset}.json#{method.key}.{metric.key}",
        facts=(*facts, *shared),
    )


def cards(
    tables: Mapping[str, Mapping[str, Any]],
    linked: Container[str],
    parts: Sequence[str],
    behind: Behind,
) -> list[AuditCard]:
    """Cards of the numbers of every table, in table order.

    Args:
        tables: data set to the content of its metrics file.
        linked: anchors of the cards that the page links to.
        parts: trained models of the run.
        behind: what the numbers have in common.
    """
    made = []
    for dataset, table in tables.items():
        data = _data(dataset, behind)
        for method in METHODS:
            for metric in METRICS:
                if anchor(dataset, method.key, metric.key) not in linked:
                    continue
                item = table[method.key][metric.key]
                shared = [*_made_by(method, metric, parts, behind), *data]
                made.append(_card(dataset, method, metric, item, shared))
    return made


def ablation_cards(entries: Mapping[str, Any]) -> list[AuditCard]:
    """One card a variant of the ablations, whose file carries its own lineage.

    Args:
        entries: content of ``metrics/ablations.json``: variant to its entry.
    """
    made = []
    for key, entry in entries.items():
        told = entry["lineage"]
        facts = [
            Fact("Experiment", told["experiment"]),
            Fact("Commit", told["baseline_commit"]),
            Fact("Fingerprint", told["fingerprint"]),
            *(Fact(f"Parameter {name}", str(value)) for name, value in told["params"].items()),
            *(Fact(f"Code of {name}", digest) for name, digest in told["code"].items()),
            *(Fact(name, digest) for name, digest in told["digests"].items()),
        ]
        made.append(
            AuditCard(
                anchor=ablation_anchor(key),
                title=f"Ablation: {entry['label']}",
                value="",
                reason="",
                about="Made by an experiment of its own, at the commit below; not by this run.",
                command="dimitra ablations run",
                facts=tuple(facts),
            )
        )
    return made


def ablation_anchor(variant: str) -> str:
    """Name of the card of a variant."""
    return f"audit-ablation-{variant}"
