"""A discrete-event simulation of one stage on a cluster: workers, driver, machines taken away.

Units go to free workers longest first, as in ``pipelines.runtime.pool``. The driver is one server:
units that are finished wait until its loop takes them, and it hands out the next ones one by one.
A machine that is taken away loses what its workers were at; another joins later. What the driver
does before and after (planning, keys, the cache, the balance) is added to the end.
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.cluster.costs import (
    BLOCK_BYTES,
    PART_BYTES,
    RAW_STAGES,
    Cluster,
    RuntimeCost,
    StageCost,
    requests_of,
)

PER_RECORD = 512
"""Workers that share a record actor (``pipelines.runtime.pool``)."""
CLIPS_PER_VIDEO = 7.5
"""VoxCeleb2's development set: 1,092,009 clips of 145,569 videos (Chung and others, 2018)."""


@dataclass(frozen=True)
class Outcome:
    """How a stage went.

    Attributes:
        stage: ``crop``.
        shards: shards that hold a clip.
        shard_bytes: mean size of a shard.
        hours: from the first to the last moment.
        work_s: seconds that a worker was at units that were kept, mean over the workers.
        start_s: seconds until the workers had started, mean.
        idle_s: seconds that a worker waited for the driver, mean.
        tail_s: seconds that a worker was without work at the end, mean.
        redo_s: seconds that a worker was at units that were lost, mean.
        serial_s: seconds of the driver, and of DVC, before and after the work.
        node_hours: machines times hours.
        usd: machines and requests.
        puts: PUT and POST requests.
        gets: GET and HEAD requests.
        gets_per_s: the latter a second while the workers were at work.
        driver: share of the work's time in which the driver's loop was busy.
        record: busy share of one record actor.
        losses: machines that were taken away.
    """

    stage: str
    shards: int
    shard_bytes: float
    hours: float
    work_s: float
    start_s: float
    idle_s: float
    tail_s: float
    redo_s: float
    serial_s: float
    node_hours: float
    usd: float
    puts: float
    gets: float
    gets_per_s: float
    driver: float
    record: float
    losses: int


def shard_sizes(clips: int, shards: int, seed: int) -> NDArray[np.int64]:
    """Clips of each shard that has any, largest first.

    A shard number is a hash of the source video, so a video's clips stay together: 1 + Poisson
    clips a video, every video in a shard at random.
    """
    random = np.random.default_rng(seed)
    most = round(1.1 * clips / CLIPS_PER_VIDEO) + 100
    upto = np.cumsum(1 + random.poisson(CLIPS_PER_VIDEO - 1, most)).clip(max=clips)
    counts = np.diff(upto, prepend=0)
    sizes = np.bincount(random.integers(0, shards, most), weights=counts, minlength=shards)
    sizes = sizes.astype(np.int64)
    return np.sort(sizes[sizes > 0])[::-1]


def requests(cost: StageCost, sizes: NDArray[np.int64]) -> tuple[float, float]:
    """PUT-like and GET-like requests of a stage."""
    counts = requests_of(cost.stage)
    shards = len(sizes)

    def total(methods: tuple[str, ...]) -> float:
        a_shard, a_read, a_clip = (
            sum(n for name, n in counts[part].items() if name.split()[0] in methods)
            for part in ("a shard", "a shard read", "a clip")
        )
        return shards * (a_shard + cost.shards_read * a_read) + float(sizes.sum()) * a_clip

    read, written = sizes * cost.bytes_in, sizes * cost.bytes_out
    more_gets = np.maximum(np.ceil(read / BLOCK_BYTES) - cost.shards_read, 0).sum()
    parts = np.ceil(written / PART_BYTES)
    more_puts = np.where(parts > 1, parts + 1, 0).sum()  # begin, parts, end in place of one PUT
    return total(("PUT", "POST")) + float(more_puts), total(("GET", "HEAD")) + float(more_gets)


def unit_seconds(
    cost: StageCost,
    runtime: RuntimeCost,
    cluster: Cluster,
    sizes: NDArray[np.int64],
    batch: int,
    seed: int,
) -> NDArray[np.float64]:
    """Seconds of a worker on a machine of mean speed for each unit, transfers among them."""
    random = np.random.default_rng(seed)
    workers = min(cluster.workers, len(sizes))
    noise = 1 + cost.spread * random.standard_normal(len(sizes)) / np.sqrt(sizes)
    carried = min(cluster.stream_bytes_s, cluster.node_bytes_s / cluster.cores)
    note_s = (runtime.note_s + runtime.note_record_s) / batch
    a_clip = cost.core_s * np.maximum(noise, 0.1) + runtime.clip_s + note_s
    a_clip = a_clip + (cost.bytes_in + cost.bytes_out) / carried
    if cost.stage in RAW_STAGES:
        a_clip = a_clip + 2 * cluster.request_s + cluster.raw_bytes / carried
        a_clip = np.maximum(a_clip, workers * 2 / cluster.get_per_s)
    # One record actor answers the notes of up to PER_RECORD workers one after another.
    recorded_s = min(workers, PER_RECORD) * runtime.note_record_s / batch
    a_clip = np.maximum(a_clip, recorded_s)
    counts = requests_of(cost.stage)
    in_turn = sum(counts["a shard"].values()) + cost.shards_read * sum(
        counts["a shard read"].values()
    )
    return np.asarray(sizes * a_clip + runtime.shard_s + in_turn * cluster.request_s)


class _Pool:
    """The state of one simulated stage."""

    def __init__(
        self, seconds: NDArray[np.float64], unit_s: NDArray[np.float64], runtime: RuntimeCost,
        cluster: Cluster, load_s: float, seed: int,
    ) -> None:  # fmt: skip
        self._random = np.random.default_rng(seed)
        self._seconds, self._unit_s = seconds, unit_s
        self._runtime, self._cluster = runtime, cluster
        self._load_s = cluster.actor_s + load_s
        workers = min(cluster.workers, len(seconds))
        nodes = math.ceil(workers / cluster.cores)
        self._node = np.arange(workers) // cluster.cores
        speeds = 1 + cluster.speed_spread * self._random.standard_normal(nodes)
        self._speed = np.clip(speeds, 0.5, None)
        self._waiting: deque[int] = deque(range(len(seconds)))
        self._free: dict[int, float] = {}
        self._at: dict[int, tuple[int, float]] = {}
        self._epoch = np.zeros(workers, dtype=np.int64)
        self._events: list[tuple[float, int, int, int]] = []
        self.start_s = self.redo_s = self.work_s = self.idle_s = 0.0
        self.driver_s = 0.0
        self.losses = 0
        self.end_s = 0.0
        self._left = len(seconds)
        asked = np.arange(1, workers + 1) * max(runtime.start_s, 1 / cluster.actors_per_s)
        for worker in range(workers):
            ready = float(asked[worker]) + self._load_s
            self.start_s += ready
            heapq.heappush(self._events, (ready, 0, worker, 0))
        for node in range(nodes):
            self._draw_loss(node, 0.0)

    def _draw_loss(self, node: int, now: float) -> None:
        if self._cluster.lost_per_hour:
            after = self._random.exponential(3600 / self._cluster.lost_per_hour)
            heapq.heappush(self._events, (now + after, 1, node, 0))

    def _assign(self, now: float) -> None:
        worker, since = self._free.popitem()
        self.idle_s += now - since
        unit = self._waiting.popleft()
        self._at[worker] = (unit, now)
        ends = now + self._seconds[unit] / self._speed[self._node[worker]]
        heapq.heappush(self._events, (float(ends), 0, worker, int(self._epoch[worker])))

    def _lose(self, node: int, now: float) -> None:
        """A machine is taken away; its units go to the front, its workers come back later."""
        self.losses += 1
        back = now + self._cluster.replaced_s
        for worker in np.flatnonzero(self._node == node).tolist():
            self._epoch[worker] += 1
            if worker in self._at:
                unit, began = self._at.pop(worker)
                self.redo_s += now - began
                self._waiting.appendleft(unit)
            self._free.pop(worker, None)
            ready = back + self._load_s
            self.start_s += ready - now
            heapq.heappush(self._events, (ready, 0, worker, int(self._epoch[worker])))
        self._draw_loss(node, back)

    def run(self) -> None:
        """Let everything happen."""
        step_s = self._runtime.step_s * len(self._epoch)
        driver = 0.0
        while self._left:
            driver = max(driver, self._events[0][0])
            batch = []
            while self._events and self._events[0][0] <= driver:
                batch.append(heapq.heappop(self._events))
            self.driver_s += step_s
            driver += step_s
            for when, kind, who, epoch in batch:
                if kind == 1:
                    self._lose(who, when)
                    continue
                if epoch != self._epoch[who]:
                    continue
                if who in self._at:
                    unit, began = self._at.pop(who)
                    self.work_s += when - began
                    self._left -= 1
                    self.end_s = max(self.end_s, when)
                    spent = float(self._unit_s[unit])
                    self.driver_s += spent
                    driver += spent
                self._free[who] = when
                while self._waiting and self._free:
                    self._assign(driver)
            while self._waiting and self._free:
                self._assign(driver)
        self.end_s = max(self.end_s, driver)


def simulate(
    cost: StageCost,
    runtime: RuntimeCost,
    cluster: Cluster,
    clips: int,
    shards: int,
    batch: int = 1,
    seed: int = 0,
) -> Outcome:
    """One stage over ``clips`` clips in at most ``shards`` shards, noted ``batch`` at a time."""
    sizes = shard_sizes(clips, shards, seed)
    seconds = unit_seconds(cost, runtime, cluster, sizes, batch, seed + 1)
    unit_s = runtime.unit_s + sizes * runtime.unit_clip_s
    pool = _Pool(seconds, np.asarray(unit_s), runtime, cluster, cost.load_s, seed + 2)
    pool.run()
    workers = cluster.workers
    a_shard = runtime.plan_shard_s + cluster.request_s / 16 + cluster.dvc_file_s  # 16 threads ask
    serial_s = clips * runtime.plan_clip_s + len(sizes) * a_shard
    seconds_all = pool.end_s + serial_s
    work_s, redo_s, start_s, idle_s = (
        v / workers for v in (pool.work_s, pool.redo_s, pool.start_s, pool.idle_s)
    )
    tail_s = max(0.0, pool.end_s - work_s - redo_s - start_s - idle_s)
    puts, gets = requests(cost, sizes)
    node_hours = cluster.nodes * seconds_all / 3600
    noted = clips / batch * min(1.0, PER_RECORD / min(workers, len(sizes)))
    return Outcome(
        stage=cost.stage,
        shards=len(sizes),
        shard_bytes=float(sizes.mean() * cost.bytes_out),
        hours=seconds_all / 3600,
        work_s=work_s,
        start_s=start_s,
        idle_s=idle_s,
        tail_s=tail_s,
        redo_s=redo_s,
        serial_s=serial_s,
        node_hours=node_hours,
        usd=node_hours * cluster.usd_hour + puts * cluster.usd_put + gets * cluster.usd_get,
        puts=puts,
        gets=gets,
        gets_per_s=gets / pool.end_s,
        driver=min(1.0, pool.driver_s / pool.end_s),
        record=noted * runtime.note_record_s / pool.end_s,
        losses=pool.losses,
    )
