"""What was measured, and what is assumed, about the runtime on a cluster."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MEASURED = Path(__file__).parent / "measured"
TEST_STAGES = frozenset({"generate", "render", "evaluate"})
"""Stages that see the test clips only."""
RAW_STAGES = frozenset({"ingest", "crop"})
"""Stages that read the raw videos."""
BLOCK_BYTES = 16 << 20
PART_BYTES = 10 << 20
"""Most that is asked of the object store at once (``pipelines.stores.object_store``)."""


@dataclass(frozen=True)
class StageCost:
    """What a clip costs in a stage; measured by ``benchmarks/stage_costs.py``.

    Attributes:
        stage: ``crop``.
        core_s: CPU seconds a clip.
        spread: standard deviation of that between clips of one length, over its mean.
        bytes_in: of the shards it reads, a clip.
        bytes_out: of the shard it writes, a clip.
        shards_read: input shards of a unit.
        load_s: CPU seconds to load the models of a worker.
    """

    stage: str
    core_s: float
    spread: float
    bytes_in: float
    bytes_out: float
    shards_read: int
    load_s: float


@dataclass(frozen=True)
class RuntimeCost:
    """What the runtime costs; measured by ``benchmarks/scheduling.py``.

    Attributes:
        clip_s: CPU seconds of a worker for a clip: the tar entry, the reading back.
        note_s: CPU seconds of a worker to tell the record of a clip, or of a batch.
        shard_s: CPU seconds of a worker for a shard.
        note_record_s: CPU seconds of the record actor for that.
        unit_s: seconds of the driver's loop for a unit: collect it, hand out the next.
        unit_clip_s: the same for each clip in it (it travels with the unit).
        step_s: seconds of one step of the loop, for each worker.
        start_s: seconds of the driver to ask for one worker.
        plan_clip_s: seconds of the driver before and after the work, a clip: planning, keys, the
            cache's answer, the balance.
        plan_shard_s: the same a shard.
        rss_clip_bytes: memory of the driver a clip.
        rss_mb: memory of the driver without clips.
    """

    clip_s: float
    note_s: float
    shard_s: float
    note_record_s: float
    unit_s: float
    unit_clip_s: float
    step_s: float
    start_s: float
    plan_clip_s: float
    plan_shard_s: float
    rss_clip_bytes: float
    rss_mb: float


@dataclass(frozen=True)
class Cluster:
    """A pool of machines, and what is assumed about it; only ``dvc_file_s`` was measured.

    Attributes:
        nodes: machines.
        cores: of each; one worker a core.
        usd_hour: price of a machine.
        lost_per_hour: chance that a spot machine is taken away within an hour of work.
        replaced_s: until another one has joined.
        actor_s: from asking for a worker until its process has imported everything.
        actors_per_s: workers that Ray starts a second, over the whole cluster.
        speed_spread: standard deviation of the machines' speed, over its mean.
        request_s: latency of one request to the object store.
        stream_bytes_s: what one worker's connection carries.
        node_bytes_s: what one machine's network carries.
        get_per_s: most GET and HEAD requests a second under one prefix of the bucket.
        usd_put: price of a PUT, POST or LIST request.
        usd_get: price of a GET or HEAD request.
        usd_gb_month: price of storage.
        raw_bytes: of a clip's raw video.
        dvc_file_s: what `dvc repro` takes after a stage for each of its files (`dvc add` of 8,192
            sidecars: 9.8 CPU seconds).
    """

    nodes: int
    cores: int = 16
    usd_hour: float = 0.30
    lost_per_hour: float = 0.05
    replaced_s: float = 180.0
    actor_s: float = 6.0
    actors_per_s: float = 200.0
    speed_spread: float = 0.05
    request_s: float = 0.03
    stream_bytes_s: float = 80e6
    node_bytes_s: float = 1.25e9
    get_per_s: float = 5500.0
    usd_put: float = 5e-6
    usd_get: float = 4e-7
    usd_gb_month: float = 0.023
    raw_bytes: float = 1e6
    dvc_file_s: float = 0.0012

    @property
    def workers(self) -> int:
        """Actors of a stage."""
        return self.nodes * self.cores


def _read(name: str) -> Any:
    return json.loads((MEASURED / name).read_text())


def stage_costs(clip_s: float) -> list[StageCost]:
    """Every stage's cost for clips of this length, in the order of the pipeline."""
    return [
        StageCost(
            stage=stage,
            core_s=row["core_s_per_video_s"] * clip_s,
            spread=row["spread"],
            bytes_in=row["bytes_in_per_video_s"] * clip_s,
            bytes_out=row["bytes_out_per_video_s"] * clip_s,
            shards_read=row["shards_read"],
            load_s=row["load_core_s"],
        )
        for stage, row in _read("stages.json").items()
    ]


def runtime_cost() -> RuntimeCost:
    """The runtime's costs from the runs and the single operations that were measured.

    A shard's share is the difference between shards of one clip and large shards, each less what
    only starting costs.
    """
    found = _read("scheduling.json")
    start, alone, alone_cached = (
        found[name] for name in ("start only", "one clip a shard", "one clip a shard, cached")
    )
    many, cached = found["one shard read"], found["from the cache"]
    batched, batch = found["batches"], found["batch"]
    operations: Mapping[str, float] = found["operations"]
    clips, shards, lone = found["clips"], found["shards"], alone["clips"]

    def cpu(row: Mapping[str, Any], part: str) -> float:
        return float(row["cpu_s"].get(part, 0.0)) - float(start["cpu_s"].get(part, 0.0))

    driver_unit = max(0.0, cpu(alone, "driver")) / lone
    note = (cpu(many, "workers") - cpu(batched, "workers")) / clips / (1 - 1 / batch)
    worker_clip = cpu(many, "workers") / clips - note
    plan_shard = alone_cached["wall_s"] / lone
    plan_clip = max(0.0, cached["wall_s"] - shards * plan_shard) / clips
    peak = many["peak_mb"]["driver"], start["peak_mb"]["driver"]
    slots = 8192
    return RuntimeCost(
        clip_s=worker_clip,
        note_s=note,
        shard_s=max(0.0, cpu(alone, "workers") / lone - worker_clip - note),
        note_record_s=cpu(many, "record") / clips,
        unit_s=driver_unit + 1e-6 * operations["note_us"],  # it waits for the record to forget
        unit_clip_s=1e-6 * operations["unit_pickle_us_clip"],
        step_s=1e-3
        * (2 * operations[f"wait_ms_{slots}"] + operations[f"state_ms_{slots}"])
        / slots,
        start_s=1e-3 * operations["start_ms"],
        plan_clip_s=plan_clip + found["units_s"] / clips,
        plan_shard_s=plan_shard,
        rss_clip_bytes=operations["unit_memory_clip"] + (peak[0] - peak[1]) * 1e6 / clips,
        rss_mb=peak[1] - clips * operations["unit_memory_clip"] / 1e6,
    )


def requests_of(stage: str) -> dict[str, dict[str, float]]:
    """Requests a shard and a clip of a stage: ``{"a shard": {"GET objects": 1, ...}, ...}``.

    A stage that reads several shards makes the requests of one for each of them. Raw videos are
    taken to lie in a bucket of their own (``storage.media``): the worker's HEAD and GET remain, the
    driver's HEAD and PUT do not happen.
    """
    found = _read("requests.json")
    none, one = found["no input"], found["one shard read"]
    looked = found["no input, all from the cache"]["a shard"]
    miss = {"HEAD work": looked.get("HEAD work", 0.0)}
    shard = dict(none["a shard"])
    shard["HEAD work"] = max(shard.get("HEAD work", 0.0), miss["HEAD work"])
    read = {k: one["a shard"].get(k, 0.0) - none["a shard"].get(k, 0.0) for k in one["a shard"]}
    clip = {"HEAD media": 1.0, "GET media": 1.0} if stage in RAW_STAGES else {}
    return {"a shard": shard, "a shard read": read, "a clip": clip}
