"""1,000,000 clips on 8, 64 and 512 machines: a simulation out of measured costs.

    python benchmarks/scaling.py                          # tables
    python benchmarks/scaling.py --plot docs/images/scaling.png --json scaling.json

Measured (`benchmarks/cluster/measured/`): the CPU seconds and bytes of a clip in every stage
(`stage_costs.py`), what the runtime costs a clip, a shard and a worker (`scheduling.py`), and the
requests that it makes of an object store (`object_requests.py`). Assumed (`Cluster` in
`cluster/costs.py`): the machines, their price, how often they are taken away, latency, network and
limits of the store.
`--set name=value` changes an assumption: `--set usd_hour=0.7 --set lost_per_hour=0`.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402

from benchmarks.cluster.costs import (  # noqa: E402
    RAW_STAGES,
    TEST_STAGES,
    Cluster,
    RuntimeCost,
    StageCost,
    runtime_cost,
    stage_costs,
)
from benchmarks.cluster.simulation import Outcome, simulate  # noqa: E402

console = Console(highlight=False, width=120)
NODES = (8, 64, 512)
COUNTS = tuple(2**k for k in range(9, 18))
SEEDS = 3


def clips_of(stage: str, clips: int, test_share: float) -> int:
    """Clips that a stage sees."""
    return max(1, round(clips * (test_share if stage in TEST_STAGES else 1.0)))


def pipeline(
    costs: Sequence[StageCost],
    runtime: RuntimeCost,
    cluster: Cluster,
    clips: int,
    shards: int,
    test_share: float,
    seed: int = 0,
) -> list[Outcome]:
    """Every stage, one after another as DVC runs them."""
    return [
        simulate(
            cost,
            runtime,
            cluster,
            clips_of(cost.stage, clips, test_share),
            shards,
            seed=100 * seed + 10 * number,
        )
        for number, cost in enumerate(costs)
    ]


def hours(outcomes: Sequence[Outcome]) -> float:
    """Of all stages."""
    return sum(outcome.hours for outcome in outcomes)


def show_stages(outcomes: Sequence[Outcome], cluster: Cluster) -> None:
    """Print the stages on one cluster: where the time goes, then what is asked of whom."""
    title = f"{cluster.nodes} machines of {cluster.cores} cores, {cluster.workers:,} workers"
    times = Table(title=title)
    times.add_column("stage", no_wrap=True)
    for name in ("hours", "mach.-h", "USD"):
        times.add_column(name, justify="right", no_wrap=True)
    for name in ("work", "start", "wait", "tail", "redo", "alone"):
        times.add_column(f"{name} %", justify="right", no_wrap=True)
    asked = Table(title=title)
    asked.add_column("stage", no_wrap=True)
    for name in (
        "shards", "MB each", "PUT", "GET", "GET/s", "driver %", "record %", "lost",
    ):  # fmt: skip
        asked.add_column(name, justify="right", no_wrap=True)
    for o in outcomes:
        whole = o.hours * 3600
        parts = (o.work_s, o.start_s, o.idle_s, o.tail_s, o.redo_s, o.serial_s)
        times.add_row(
            o.stage,
            f"{o.hours:.2f}",
            f"{o.node_hours:.1f}",
            f"{o.usd:.1f}",
            *(f"{100 * part / whole:.1f}" for part in parts),
        )
        asked.add_row(
            o.stage,
            f"{o.shards:,}",
            f"{o.shard_bytes / 1e6:.2f}",
            f"{o.puts:,.0f}",
            f"{o.gets:,.0f}",
            f"{o.gets_per_s:,.0f}",
            f"{100 * o.driver:.1f}",
            f"{100 * o.record:.0f}",
            str(o.losses),
        )
    machine_hours, usd = sum(o.node_hours for o in outcomes), sum(o.usd for o in outcomes)
    times.add_section()
    times.add_row("all", f"{hours(outcomes):.2f}", f"{machine_hours:.0f}", f"{usd:.0f}")
    asked.add_section()
    asked.add_row(
        "all", "", "", f"{sum(o.puts for o in outcomes):,.0f}",
        f"{sum(o.gets for o in outcomes):,.0f}", "", "", "", str(sum(o.losses for o in outcomes)),
    )  # fmt: skip
    console.print(times)
    console.print(asked)


def show_counts(
    costs: Sequence[StageCost], runtime: RuntimeCost, cluster: Cluster, test_share: float
) -> dict[str, dict[str, dict[str, float]]]:
    """Print the hours of the pipeline for shard counts, clips and clusters."""
    found: dict[str, dict[str, dict[str, float]]] = {}
    for clips, nodes in ((10_000, (1, 4)), (100_000, (1, 8, 64)), (1_000_000, NODES)):
        counts = tuple(2**k for k in range(6, 18) if 5 <= clips / 2**k <= 2500)
        table = Table(title=f"hours for {clips:,} clips by shards.count")
        table.add_column("machines", justify="right")
        for count in counts:
            table.add_column(f"{count:,}", justify="right")
        rows = found.setdefault(str(clips), {})
        for number in nodes:
            pool = replace(cluster, nodes=number)
            row = [
                sum(hours(pipeline(costs, runtime, pool, clips, c, test_share, s))
                    for s in range(SEEDS)) / SEEDS
                for c in counts
            ]  # fmt: skip
            rows[str(number)] = dict(zip(map(str, counts), row, strict=True))
            best = min(row)
            cells = [f"{h:.2f}*" if h <= 1.03 * best else f"{h:.2f} " for h in row]
            table.add_row(str(number), *cells)
        console.print(table, "*: within 3 % of the best\n")
    return found


def show_batches(costs: Sequence[StageCost], runtime: RuntimeCost, cluster: Cluster) -> None:
    """Print what noting clips in batches gives the stages whose clips are cheap."""
    table = Table("stage", "machines", "minutes, batch 1", "16", title="clips noted in batches")
    for cost in costs:
        for nodes in NODES if cost.core_s < 0.5 else ():
            pool = replace(cluster, nodes=nodes)
            times = [
                60 * simulate(cost, runtime, pool, 1_000_000, 16384, batch).hours
                for batch in (1, 16)
            ]
            table.add_row(cost.stage, str(nodes), *(f"{minutes:.1f}" for minutes in times))
    console.print(table)


def show_mixed(
    costs: Sequence[StageCost], runtime: RuntimeCost, cluster: Cluster, faster: float
) -> None:
    """Print stages on the GPUs of a mixed pool against the same pool's cores."""
    table = Table(
        "stage", "machines", "of them with a GPU", "hours on the cores", "hours on the GPUs",
        title=f"a mixed pool; 4 workers a GPU, each {faster:g} times a core (assumed)",
    )  # fmt: skip
    for cost in costs:
        if cost.stage not in {"fit", "transcribe", "speech"}:
            continue
        for nodes in NODES:
            for share in (1 / 8, 1 / 2, 1):
                gpus = max(1, round(nodes * share))
                on_cores = simulate(cost, runtime, replace(cluster, nodes=nodes), 1_000_000, 16384)
                quick = replace(cost, core_s=cost.core_s / faster)
                on_gpus = simulate(
                    quick, runtime, replace(cluster, nodes=gpus, cores=4), 1_000_000, 16384
                )
                table.add_row(
                    cost.stage, str(nodes), str(gpus), f"{on_cores.hours:.2f}",
                    f"{on_gpus.hours:.2f}",
                )  # fmt: skip
    console.print(table)


def plot(
    path: Path, costs: Sequence[StageCost], runtime: RuntimeCost, cluster: Cluster, share: float
) -> None:
    """Draw hours by shard count, and where the time goes by machines."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    plt.rcParams.update({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False})
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.9), layout="constrained")
    colours = ("#2a6f97", "#e07a1f", "#5b8c5a")
    for nodes, colour in zip(NODES, colours, strict=True):
        pool = replace(cluster, nodes=nodes)
        times = [hours(pipeline(costs, runtime, pool, 1_000_000, c, share)) for c in COUNTS]
        left.plot(COUNTS, times, color=colour, marker="o", markersize=3)
        left.annotate(
            f"{nodes} machines", (COUNTS[-1], times[-1]), textcoords="offset points",
            xytext=(0, 6 if nodes < NODES[-1] else -30), ha="right", color=colour,
        )  # fmt: skip
        ideal = sum(
            cost.core_s * clips_of(cost.stage, 1_000_000, share) for cost in costs
        ) / pool.workers / 3600  # fmt: skip
        left.axhline(ideal, color=colour, linewidth=0.8, linestyle=":")
    left.set(xscale="log", yscale="log", xlabel="shards.count", ylabel="hours, all stages")
    left.set_xticks(COUNTS[::2], [f"{c:,}" for c in COUNTS[::2]])
    left.minorticks_off()
    left.set_yticks([0.2, 0.5, 1, 2, 5, 10, 20], ["0.2", "0.5", "1", "2", "5", "10", "20"])
    left.set_title("1,000,000 clips; dotted: the stages' work alone", fontsize=9, loc="left")
    machines = (8, 16, 32, 64, 128, 256, 512, 1024)
    parts = {
        "work_s": ("work", "#2a6f97"),
        "start_s": ("workers start", "#a9c5d8"),
        "idle_s": ("wait for the driver", "#e07a1f"),
        "tail_s": ("tail", "#f2c14e"),
        "redo_s": ("redone", "#b23a48"),
        "serial_s": ("driver alone", "#6d597a"),
    }
    runs = [
        pipeline(costs, runtime, replace(cluster, nodes=n), 1_000_000, 16384, share)
        for n in machines
    ]
    bottom = [0.0] * len(machines)
    for name, (label, colour) in parts.items():
        shares = [100 * sum(getattr(o, name) for o in run) / (3600 * hours(run)) for run in runs]
        right.bar(
            range(len(machines)), shares, bottom=bottom, color=colour, width=0.75, label=label
        )
        bottom = [b + s for b, s in zip(bottom, shares, strict=True)]
    right.set_xticks(range(len(machines)), [str(n) for n in machines])
    right.set(xlabel="machines of 16 cores", ylabel="% of the time of all cores", ylim=(0, 100))
    right.set_title("16,384 shards: where the time goes", fontsize=9, loc="left")
    right.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, reverse=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120, metadata={"Software": None})


def _changed(cluster: Cluster, settings: Sequence[str]) -> Cluster:
    """Assumptions with ``name=value`` put in place.

    Raises:
        SystemExit: there is no such assumption.
    """
    types = {field.name: field.type for field in fields(Cluster)}
    for setting in settings:
        name, _, text = setting.partition("=")
        if name not in types:
            raise SystemExit(f"--set {setting}: no such assumption; there are {', '.join(types)}")
        value: Any = int(text) if types[name] == "int" else float(text)
        cluster = replace(cluster, **{name: value})
    return cluster


def main() -> None:
    """Simulate and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clips", type=int, default=1_000_000)
    parser.add_argument("--clip-seconds", type=float, default=10.0)
    parser.add_argument("--shards", type=int, default=16384)
    parser.add_argument("--test-share", type=float, default=0.08, help="clips of the test split")
    parser.add_argument("--gpu-faster", type=float, default=8.0, help="a GPU worker over a core")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--plot", type=Path, help="draw the picture of docs/scaling.md")
    parser.add_argument("--json", type=Path, help="write the numbers here too")
    options = parser.parse_args()
    costs = stage_costs(options.clip_seconds)
    runtime = runtime_cost()
    cluster = _changed(Cluster(NODES[0]), options.set)
    console.print(f"the runtime, measured: {runtime}\n\nassumed: {cluster}\n")
    found = {}
    for nodes in NODES:
        pool = replace(cluster, nodes=nodes)
        outcomes = pipeline(costs, runtime, pool, options.clips, options.shards, options.test_share)
        show_stages(outcomes, pool)
        found[str(nodes)] = [asdict(outcome) for outcome in outcomes]
    stored = sum(
        cost.bytes_out * clips_of(cost.stage, options.clips, options.test_share) for cost in costs
    )
    console.print(
        f"stored: {stored / 1e9:,.0f} GB, {stored / 1e9 * cluster.usd_gb_month:.1f} USD a month; "
        f"raw videos read {len(RAW_STAGES)} times. The driver's memory: "
        f"{(runtime.rss_mb + options.clips * runtime.rss_clip_bytes / 1e6) / 1e3:.1f} GB\n"
    )
    counts = show_counts(costs, runtime, cluster, options.test_share)
    show_batches(costs, runtime, cluster)
    show_mixed(costs, runtime, cluster, options.gpu_faster)
    if options.plot is not None:
        plot(options.plot, costs, runtime, cluster, options.test_share)
    if options.json is not None:
        numbers = {"runtime": asdict(runtime), "stages": found, "counts": counts}
        options.json.write_text(json.dumps(numbers, indent=2) + "\n")


if __name__ == "__main__":
    main()
