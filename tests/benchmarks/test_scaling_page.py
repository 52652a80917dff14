"""Hours and USD of docs/scaling.md are those that the command prints."""

from dataclasses import replace
from pathlib import Path

from benchmarks.cluster.costs import Cluster, runtime_cost, stage_costs
from benchmarks.scaling import NODES, hours, pipeline

PAGE = Path(__file__).parents[2] / "docs" / "scaling.md"


def rows() -> dict[str, list[str]]:
    """Stage to the hours and USD of its row, for each of ``NODES``."""
    _, _, text = PAGE.read_text().partition("## Hours and cost")
    lines = [line for line in text.partition("\n## ")[0].splitlines() if line.startswith("|")]
    table = [[cell.strip(" *") for cell in line.strip("|").split("|")] for line in lines]
    start = next(i for i, row in enumerate(table) if row[0] == "ingest")
    return {row[0]: row[2:8] for row in table[start : start + 10]}


def test_hours_and_usd_are_those_of_the_command() -> None:
    written = rows()
    runtime, costs = runtime_cost(), stage_costs(10.0)
    for place, nodes in enumerate(NODES):
        cluster = replace(Cluster(NODES[0]), nodes=nodes)
        outcomes = pipeline(costs, runtime, cluster, 1_000_000, 16384, 0.08)
        found = {o.stage: (o.hours, o.usd) for o in outcomes}
        found["all"] = (hours(outcomes), sum(o.usd for o in outcomes))
        assert found.keys() == written.keys()
        for stage, values in found.items():
            for value, cell in zip(values, written[stage][2 * place :], strict=False):
                decimals = len(cell.partition(".")[2])
                assert f"{value:.{decimals}f}" == cell, (stage, nodes)
