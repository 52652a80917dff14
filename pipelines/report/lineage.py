"""The run's lineage records, and the graph of its stages drawn from them.

The page draws what the records say: an edge where one stage's record lists as input what another's
lists as output. docs/audit.md tells what is in a record.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dimitra.lineage.record import (
    FOLDER,
    Artefact,
    LineageError,
    LineageRecord,
    parse_record,
    record_path,
)
from pipelines.errors import StageError
from pipelines.report.graph import Layout, lay_out
from pipelines.stores.work_cache import digest_of

OWN = "report"
"""The page's own record is made after the page."""


@dataclass(frozen=True)
class Lineage:
    """What the records say.

    Attributes:
        records: by stage, in the order of their names; empty where the run has left none.
        sources: inputs that no stage of the records makes.
        edges: from stage or source to the stage that reads it.
        layout: the graph, None without records.
    """

    records: Mapping[str, LineageRecord]
    sources: tuple[str, ...]
    edges: tuple[tuple[str, str], ...]
    layout: Layout | None

    def of(self, stage: str) -> LineageRecord | None:
        """A stage's record, None where there is none."""
        return self.records.get(stage)


def anchor(stage: str) -> str:
    """Name of a stage's card in the page."""
    return f"lineage-{record_path(stage).stem}"


def read(root: Path) -> dict[str, LineageRecord]:
    """Records of a run, by stage; empty where it has left none.

    Raises:
        StageError: a file is no record; names it.
    """
    try:
        found = [
            parse_record(path.read_bytes(), path.as_posix())
            for path in sorted((root / FOLDER).glob("*.json"))
        ]
    except LineageError as error:
        raise StageError(str(error)) from None
    return {record.stage: record for record in found if record.stage != OWN}


def _within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(f"{folder}/")


def linked(records: Mapping[str, LineageRecord]) -> Lineage:
    """The graph of some records.

    Raises:
        CycleError: stages read what they themselves have made.
    """
    made = [(one.path, stage) for stage, record in records.items() for one in record.outputs]
    edges, sources = set(), set()
    for stage, record in records.items():
        for path in (one.path for one in record.inputs):
            makers = {
                maker
                for made_path, maker in made
                if maker != stage and (_within(path, made_path) or _within(made_path, path))
            }
            if not makers:
                sources.add(path)
                makers = {path}
            edges |= {(maker, stage) for maker in makers}
    nodes = [*records, *sorted(sources)]
    layout = lay_out(nodes, sorted(edges)) if nodes else None
    return Lineage(
        dict(sorted(records.items())), tuple(sorted(sources)), tuple(sorted(edges)), layout
    )


def params_digest(record: LineageRecord) -> str:
    """Sha256 of a record's resolved parameters."""
    return digest_of(dict(record.params))


@dataclass(frozen=True)
class Card:
    """A stage's record as the page shows it.

    Attributes:
        stage: as in ``dvc.yaml``.
        anchor: name of the card in the page.
        command: that ran it.
        facts: name and text.
        params: key and value.
        inputs: path, digest and size.
        outputs: likewise.
        assets: name, digest and licence.
    """

    stage: str
    anchor: str
    command: str
    facts: tuple[tuple[str, str], ...]
    params: tuple[tuple[str, str], ...]
    inputs: tuple[tuple[str, str, str], ...]
    outputs: tuple[tuple[str, str, str], ...]
    assets: tuple[tuple[str, str, str], ...]


def _size(count: int) -> str:
    """Bytes as people read them."""
    if count < 1000:
        return f"{count} B"
    value, units = count / 1000.0, ["kB", "MB", "GB", "TB"]
    while value >= 1000.0 and len(units) > 1:
        value, units = value / 1000.0, units[1:]
    return f"{value:.3g} {units[0]}" if value < 100 else f"{value:.0f} {units[0]}"


def _listed(items: Sequence[Artefact]) -> tuple[tuple[str, str, str], ...]:
    return tuple((one.path, one.sha256 or "", _size(one.size_bytes)) for one in items)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)


def _card(record: LineageRecord) -> Card:
    code = record.code
    facts = [
        ("Code commit", code.commit or "not known"),
        ("Uncommitted changes", code.uncommitted or "none"),
        ("Code digest", f"{code.digest} ({len(code.files)} files)"),
        ("Parameters digest", params_digest(record)),
    ]
    clips = record.clips
    if clips:
        balance = f"{clips['in']} in = {clips['out']} out + {clips['quarantined']} quarantined"
        facts.append(("Clips", balance))
    if record.shards:
        facts.append(("Shards", f"{len(record.shards)}"))
    sections: dict[str, Mapping[str, Any]] = {
        "Digests": record.digests,
        "Seeds": record.seeds,
        "Tools": record.tools,
        "Packages": record.packages,
        "Environment": record.environment,
    }
    for name, section in sections.items():
        if section:
            told = ", ".join(f"{key} {_text(value)}" for key, value in sorted(section.items()))
            facts.append((name, told))
    return Card(
        stage=record.stage,
        anchor=anchor(record.stage),
        command=record.command,
        facts=tuple(facts),
        params=tuple((key, _text(value)) for key, value in sorted(record.params.items())),
        inputs=_listed(record.inputs),
        outputs=_listed(record.outputs),
        assets=tuple(
            (
                one.reference if one.reference == one.name else f"{one.name}: {one.reference}",
                one.sha256 or "",
                one.licence,
            )
            for one in record.assets
        ),
    )


def cards(lineage: Lineage) -> list[Card]:
    """One card a record."""
    return [_card(record) for record in lineage.records.values()]
