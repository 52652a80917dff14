"""The run's lineage records, and the graph of its stages drawn from them.

A record is ``lineage/<stage>.json``; which fields it has is told in ``docs/audit.md``. The page
draws what they say: an edge where one stage's record lists as input what another's lists as output.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.errors import StageError
from pipelines.report.graph import Layout, lay_out
from pipelines.work_cache import digest_of

FOLDER = Path("lineage")
OWN = "report"
"""The page's own record is made after the page."""

Record = Mapping[str, Any]


@dataclass(frozen=True)
class Lineage:
    """What the records say.

    Attributes:
        records: by stage, in the order of their names; empty where the run has left none.
        sources: inputs that no stage of the records makes.
        edges: from stage or source to the stage that reads it.
        layout: the graph, None without records.
    """

    records: Mapping[str, Record]
    sources: tuple[str, ...]
    edges: tuple[tuple[str, str], ...]
    layout: Layout | None

    def of(self, stage: str) -> Record | None:
        """A stage's record, None where there is none."""
        return self.records.get(stage)


def anchor(stage: str) -> str:
    """Name of a stage's card in the page."""
    return f"lineage-{stage.replace('@', '-')}"


def read(root: Path) -> dict[str, Record]:
    """Records of a run, by stage.

    Raises:
        StageError: a file is no record; names it.
    """
    records: dict[str, Record] = {}
    for path in sorted((root / FOLDER).glob("*.json")):
        try:
            record = json.loads(path.read_text())
        except ValueError as error:
            raise StageError(f"{path}: no lineage record ({error}); run its stage again") from None
        if not isinstance(record, dict) or not isinstance(record.get("stage"), str):
            raise StageError(f"{path}: no lineage record, it names no stage; run its stage again")
        if record["stage"] != OWN:
            records[record["stage"]] = record
    return records


def _within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(f"{folder}/")


def _paths(record: Record, which: str) -> list[str]:
    return [str(one["path"]) for one in record.get(which) or ()]


def linked(records: Mapping[str, Record]) -> Lineage:
    """The graph of some records.

    Raises:
        CycleError: stages read what they themselves have made.
    """
    made = [(path, stage) for stage, one in records.items() for path in _paths(one, "outputs")]
    edges, sources = set(), set()
    for stage, record in records.items():
        for path in _paths(record, "inputs"):
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


def output_digest(record: Record | None, path: str) -> str | None:
    """Sha256 of an output as a record has it, None where it does not."""
    for one in (record or {}).get("outputs") or ():
        if one["path"] == path:
            return str(one["sha256"])
    return None


def params_digest(record: Record) -> str:
    """Sha256 of a record's resolved parameters."""
    return digest_of(record.get("params") or {})


@dataclass(frozen=True)
class Card:
    """A stage's record as the page shows it: rows of name, value and whether that is code."""

    stage: str
    anchor: str
    command: str
    facts: tuple[tuple[str, str], ...]
    params: tuple[tuple[str, str], ...]
    inputs: tuple[tuple[str, str, str], ...]
    outputs: tuple[tuple[str, str, str], ...]
    assets: tuple[tuple[str, str, str], ...]


def _size(count: int | None) -> str:
    """Bytes as people read them."""
    if count is None or count < 1000:
        return "" if count is None else f"{count} B"
    value, units = count / 1000.0, ["kB", "MB", "GB", "TB"]
    while value >= 1000.0 and len(units) > 1:
        value, units = value / 1000.0, units[1:]
    return f"{value:.3g} {units[0]}" if value < 100 else f"{value:.0f} {units[0]}"


def _listed(items: Sequence[Mapping[str, Any]]) -> tuple[tuple[str, str, str], ...]:
    return tuple(
        (str(one["path"]), str(one.get("sha256") or ""), _size(one.get("size_bytes")))
        for one in items
    )


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)


def cards(lineage: Lineage) -> list[Card]:
    """One card a record."""
    made = []
    for stage, record in lineage.records.items():
        code = record.get("code") or {}
        facts = [
            ("Code commit", _text(code.get("commit") or "not known")),
            ("Uncommitted changes", _text(code.get("uncommitted") or "none")),
            ("Code digest", f"{_text(code.get('digest'))} ({len(code.get('files') or {})} files)"),
            ("Parameters digest", params_digest(record)),
        ]
        clips = record.get("clips")
        if clips:
            balance = f"{clips['in']} in = {clips['out']} out + {clips['quarantined']} quarantined"
            facts.append(("Clips", balance))
        if record.get("shards"):
            facts.append(("Shards", f"{len(record['shards'])}"))
        for name in ("seeds", "tools", "packages", "environment"):
            section = record.get(name) or {}
            told = ", ".join(f"{key} {_text(value)}" for key, value in sorted(section.items()))
            if told:
                facts.append((name.capitalize(), told))
        made.append(
            Card(
                stage=stage,
                anchor=anchor(stage),
                command=_text(record.get("command") or ""),
                facts=tuple(facts),
                params=tuple(
                    (key, _text(value))
                    for key, value in sorted((record.get("params") or {}).items())
                ),
                inputs=_listed(record.get("inputs") or ()),
                outputs=_listed(record.get("outputs") or ()),
                assets=tuple(
                    (_text(one.get("name")), _text(one.get("sha256")), _text(one.get("licence")))
                    for one in record.get("assets") or ()
                ),
            )
        )
    return made
