"""The graph that lineage records make: an output of one stage is the input of another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from dimitra.lineage.findings import Finding, broken, short
from dimitra.lineage.record import Artefact, LineageRecord, record_path

_DERIVED = ("data/", "models/", "evaluators/", "renderers/", "metrics/")
"""Where artefacts lie that stages write."""
_BY_HAND = ("metrics/ablations.json", "metrics/tolerance.yaml")
"""In those folders, but of no stage of the pipeline."""


@dataclass(frozen=True)
class Graph:
    """Records, by stage.

    Attributes:
        records: stage to record.
    """

    records: Mapping[str, LineageRecord]

    def producer(self, path: str) -> LineageRecord | None:
        """The stage that writes a path, or the folder it lies in; None for what no stage writes."""
        for record in self.records.values():
            for output in record.outputs:
                if path == output.path or path.startswith(f"{output.path}/"):
                    return record
        return None

    def readers(self, path: str) -> list[LineageRecord]:
        """Stages that read an output."""
        return [record for record in self.records.values() if record.input(path) is not None]

    def upstream(self, stages: Sequence[str]) -> list[LineageRecord]:
        """The stages and all that they rest on, each behind what it reads."""
        order: dict[str, LineageRecord] = {}

        def visit(record: LineageRecord, above: tuple[str, ...]) -> None:
            if record.stage in order or record.stage in above:
                return
            for one in record.inputs:
                maker = self.producer(one.path)
                if maker is not None:
                    visit(maker, (*above, record.stage))
            order[record.stage] = record

        for stage in stages:
            visit(self.records[stage], ())
        return list(order.values())


def check_links(graph: Graph, records: Sequence[LineageRecord]) -> Iterator[Finding]:
    """What a stage read is what another wrote, and two stages read the same sources.

    Args:
        graph: all records.
        records: those to check.
    """
    sources: dict[str, tuple[str, Artefact]] = {}
    for record in records:
        for one in record.inputs:
            maker = graph.producer(one.path)
            if maker is not None:
                yield from _check_made(record, one, maker)
            elif one.path.startswith(_DERIVED) and one.path not in _BY_HAND:
                yield broken(
                    one.path,
                    f"{record.stage} read it, and no record says what made it; a record is missing",
                )
            elif one.path in sources and sources[one.path][1].sha256 != one.sha256:
                other, first = sources[one.path]
                yield broken(
                    one.path,
                    f"{record.stage} read {short(one.sha256)}, {other} {short(first.sha256)}: "
                    "they are of different runs; run `dvc repro`",
                )
            else:
                sources.setdefault(one.path, (record.stage, one))


def written(record: LineageRecord, path: str) -> str | None:
    """Sha256 of an output, or of a file in one; None where the stage wrote none such."""
    for output in record.outputs:
        if path == output.path:
            return output.sha256
        if path.startswith(f"{output.path}/"):
            return output.files.get(path.removeprefix(f"{output.path}/"))
    return None


def _check_made(record: LineageRecord, one: Artefact, maker: LineageRecord) -> Iterator[Finding]:
    wrote = written(maker, one.path)
    if wrote is None or wrote != one.sha256:
        yield broken(
            one.path,
            f"{record.stage} read {short(one.sha256)} ({record_path(record.stage)}), "
            f"{maker.stage} wrote {short(wrote)} ({record_path(maker.stage)})",
        )
