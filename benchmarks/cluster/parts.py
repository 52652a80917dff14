"""What single operations of the runtime cost, measured one by one on this machine."""

from __future__ import annotations

import pickle
import tempfile
import time
import tracemalloc
from collections import deque
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import psutil

from benchmarks.cluster import noop
from dimitra.shards import ShardWriter, iterate_shard
from pipelines.runtime.actor import Home, Order, ShardActor
from pipelines.runtime.in_flight import InFlight, Record
from pipelines.runtime.job import Resources
from pipelines.runtime.pool import Pool
from pipelines.runtime.slot import Slot
from pipelines.runtime.task import Task
from pipelines.runtime.workers import ENVIRONMENT
from pipelines.runtime.workspace import Delivery, Parcel, SharedWorkspace
from pipelines.stores.storage import Storage
from pipelines.stores.work_cache import Finished, WorkCache, publish

_SLOTS = (512, 2048, 8192)
_CLIPS = 500
_SHARDS = 30


def _seconds_each(action: Callable[[], Any], times: int) -> float:
    """Mean wall time of an action."""
    began = time.perf_counter()
    for _ in range(times):
        action()
    return (time.perf_counter() - began) / times


def shard_costs() -> dict[str, float]:
    """Writing, keeping, publishing and reading a shard, in the work cache's own steps.

    Returns:
        ``tar_us_clip``: CPU microseconds a clip to add it to a tar; ``join_us_clip``: to read it
        back; ``finish_ms_shard``: wall milliseconds to end, fsync and digest the tar;
        ``keep_ms_shard``: to move it into the cache with its record; ``publish_ms_shard``: to copy
        it into the output.
    """
    data = {"noop.bin": bytes(16)}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        cache = WorkCache(Storage(str(folder / "cache")))
        seconds = dict.fromkeys(("tar", "finish", "keep", "publish", "join"), 0.0)
        for number, unit in enumerate(noop.units(_CLIPS * _SHARDS, _SHARDS)):
            shard = folder / "partial" / f"{unit.name}.tar"
            with ShardWriter(shard) as writer:
                began = time.process_time()
                for clip in unit.clips:
                    writer.add(clip.clip_id, data)
                seconds["tar"] += time.process_time() - began
                began = time.perf_counter()
                finished = Finished(writer.finish(), ())
                seconds["finish"] += time.perf_counter() - began
            began = time.perf_counter()
            cache.keep(shard, finished, f"{number:064x}", "noop")
            seconds["keep"] += time.perf_counter() - began
            began = time.perf_counter()
            publish(cache, finished, unit.name, folder / "out")
            seconds["publish"] += time.perf_counter() - began
            began = time.process_time()
            for _ in iterate_shard(folder / "out" / shard.name):
                pass
            seconds["join"] += time.process_time() - began
    clips = _CLIPS * _SHARDS
    return {
        "tar_us_clip": 1e6 * seconds["tar"] / clips,
        "join_us_clip": 1e6 * seconds["join"] / clips,
        "finish_ms_shard": 1e3 * seconds["finish"] / _SHARDS,
        "keep_ms_shard": 1e3 * seconds["keep"] / _SHARDS,
        "publish_ms_shard": 1e3 * seconds["publish"] / _SHARDS,
    }


class _Noter:
    """Stands where a worker stands: tells the record of every clip, as ``ShardActor`` does."""

    def __init__(self, record: Any) -> None:
        self._record = record

    def notes(self, number: int) -> float:
        """Wall seconds for that many notes, one after another."""
        import ray

        began = time.perf_counter()
        for clip in range(number):
            name = f"noop-id00000-{clip:011d}-00001"
            ray.get(self._record.at.remote("00000#1", [name], [], clip, 0))
        return time.perf_counter() - began


class _Gate:
    """An actor whose calls wait until it is killed: references that are pending for good."""

    def hold(self) -> None:
        time.sleep(3600)


def _cpu_s(actor: Any) -> float:
    import ray

    process = ray.get(actor.__ray_call__.remote(lambda _: __import__("os").getpid()))
    times = psutil.Process(process).cpu_times()
    return float(times.user + times.system)


def note_costs(number: int = 5000) -> dict[str, float]:
    """A note to the record actor, and the record's answer to the driver.

    Returns:
        ``note_us``: wall microseconds of one note; ``note_record_cpu_us``: CPU of the record actor
        for it; ``note_worker_cpu_us``: of the worker; ``record_all_ms_512``: wall milliseconds of
        the driver for the state of 512 attempts, the most that one record keeps.
    """
    import ray

    record_class: Any = ray.remote(Record)
    record = record_class.options(num_cpus=0).remote()
    noter_class: Any = ray.remote(_Noter)
    noter = noter_class.options(num_cpus=0).remote(record)
    ray.get(noter.notes.remote(200))
    before = (_cpu_s(record), _cpu_s(noter))
    wall_s = ray.get(noter.notes.remote(number))
    after = (_cpu_s(record), _cpu_s(noter))
    ray.get([record.at.remote(f"{n:05d}#1", [f"clip-{n}"], [], 0, 0) for n in range(512)])
    all_s = _seconds_each(lambda: ray.get(record.all.remote()), 50)
    for actor in (record, noter):
        ray.kill(actor)
    return {
        "note_us": 1e6 * wall_s / number,
        "note_record_cpu_us": 1e6 * (after[0] - before[0]) / number,
        "note_worker_cpu_us": 1e6 * (after[1] - before[1]) / number,
        "record_all_ms_512": 1e3 * all_s,
    }


def wait_costs() -> dict[str, float]:
    """``ray.wait`` over the pending calls of many workers when one of them is ready.

    Returns:
        ``wait_ms_<slots>``: wall milliseconds.
    """
    import ray

    gate_class: Any = ray.remote(_Gate)
    gate = gate_class.options(num_cpus=0).remote()
    pending = [gate.hold.remote() for _ in range(max(_SLOTS))]
    costs = {}
    for slots in _SLOTS:
        references = [*pending[: slots - 1], ray.put(0)]
        costs[f"wait_ms_{slots}"] = 1e3 * _seconds_each(
            partial(ray.wait, references, num_returns=1, timeout=0.25), 20
        )
    ray.kill(gate)
    return costs


def loop_costs() -> dict[str, float]:
    """The driver's own look at all its workers, once a step.

    Returns:
        ``state_ms_<slots>``: CPU milliseconds to sum up what every worker has done.
    """
    unit = noop.units(1, 1)[0]
    costs = {}
    for slots in _SLOTS:
        orders = [Order("", f"{number:05d}#1") for number in range(slots)]
        pool = Pool(
            noop.job("noop", (unit,), Path("noop")), Resources(), {}, WorkCache(Storage("/")),
            SharedWorkspace(Path("/"), Path("/")), None, Parcel(), {}, lambda _: Delivery(),
            lambda *_: None, deque(),
            [Slot(None, n, None, Home(n, str(n // 16), f"node{n // 16}"), None, True,
                  Task(unit, 1), orders[n]) for n in range(slots)],
        )  # fmt: skip
        pool._states = {order.attempt: InFlight(("clip",), 1.0, 5) for order in orders}
        began = time.process_time()
        for _ in range(10):
            pool._state()
        costs[f"state_ms_{slots}"] = 1e3 * (time.process_time() - began) / 10
    return costs


def start_costs(number: int = 200) -> dict[str, float]:
    """What the driver pays to ask for a worker, whatever the node then pays to start it.

    Returns:
        ``start_ms``: CPU milliseconds of the driver for one actor and its first call. The actors
        ask for more cores than there are, so that none starts.
    """
    import ray

    actor_class: Any = ray.remote(ShardActor)
    began = time.process_time()
    actors = [
        actor_class.options(num_cpus=1000, runtime_env={"env_vars": ENVIRONMENT}).remote(
            "noop", noop.WORKER, {}, None, None, None, None
        )
        for _ in range(number)
    ]
    calls = [actor.arrive.remote({}) for actor in actors]
    spent_s = time.process_time() - began
    del calls
    return {"start_ms": 1e3 * spent_s / number}


def hand_over_costs(clips: int = 100) -> dict[str, float]:
    """What a unit weighs on its way from the driver to a worker.

    Returns:
        ``unit_bytes_clip``: pickled bytes a clip; ``unit_pickle_us_clip``: CPU microseconds to
        pickle it; ``unit_memory_clip``: bytes of the driver's memory for it.
    """
    tracemalloc.start()
    (unit,) = noop.units(clips, 1)
    memory, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    began = time.process_time()
    for _ in range(100):
        data = pickle.dumps(unit)
    pickled_s = time.process_time() - began
    return {
        "unit_bytes_clip": len(data) / clips,
        "unit_pickle_us_clip": 1e6 * pickled_s / 100 / clips,
        "unit_memory_clip": memory / clips,
    }
