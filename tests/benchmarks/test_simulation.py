"""The simulation of a cluster against closed forms, and against what was counted."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from benchmarks.cluster.costs import MEASURED, Cluster, RuntimeCost, StageCost
from benchmarks.cluster.simulation import _Pool, requests, shard_sizes, simulate

FREE = RuntimeCost(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
CALM = Cluster(
    nodes=2,
    cores=4,
    lost_per_hour=0,
    actor_s=0,
    actors_per_s=math.inf,
    speed_spread=0,
    request_s=0,
    dvc_file_s=0,
)
STAGE = StageCost("fit", core_s=2.0, spread=0, bytes_in=0, bytes_out=0, shards_read=1, load_s=0)


def pool(seconds: np.ndarray, unit_s: float = 0.0, cluster: Cluster = CALM, seed: int = 0) -> _Pool:
    made = _Pool(seconds, np.full(len(seconds), unit_s), FREE, cluster, 0.0, seed)
    made.run()
    return made


def test_equal_units_take_as_many_rounds_as_they_need() -> None:
    done = pool(np.full(100, 7.0))
    assert done.end_s == pytest.approx(math.ceil(100 / 8) * 7)
    assert done.work_s == pytest.approx(700)
    assert (done.idle_s, done.redo_s) == (0, 0)


def test_graham_bounds_the_end_of_any_list() -> None:
    random = np.random.default_rng(5)
    for trial in range(20):
        seconds = np.sort(random.lognormal(3, 1, 60))[::-1]
        least = max(seconds.sum() / 8, seconds.max())
        most = seconds.sum() / 8 + (1 - 1 / 8) * seconds.max()  # Graham, 1966
        assert least - 1e-6 <= pool(seconds, seed=trial).end_s <= most + 1e-6


def test_a_slow_driver_is_what_a_run_of_short_units_waits_for() -> None:
    done = pool(np.full(50, 0.01), unit_s=1.0)
    assert done.driver_s == pytest.approx(50)
    assert 49 <= done.end_s <= 51.1
    assert done.idle_s > 100


def test_units_of_a_lost_machine_are_done_again_and_counted_once() -> None:
    cluster = replace(CALM, nodes=20, lost_per_hour=0.5, replaced_s=60)
    losses = []
    for seed in range(10):
        done = pool(np.full(4000, 180.0), cluster=cluster, seed=seed)
        assert done.work_s == pytest.approx(4000 * 180)
        assert done.redo_s <= done.losses * cluster.cores * 180
        losses.append(done.losses / (done.end_s / 3600 * cluster.nodes))
    assert np.mean(losses) == pytest.approx(0.5, rel=0.2)
    assert done.redo_s > 0


def test_a_stage_takes_its_work_over_its_workers() -> None:
    outcome = simulate(STAGE, FREE, CALM, 10_000, 500)
    assert outcome.work_s == pytest.approx(10_000 * 2 / 8)
    assert outcome.hours * 3600 == pytest.approx(10_000 * 2 / 8, rel=0.05)
    assert outcome.node_hours == pytest.approx(2 * outcome.hours)


def test_the_parts_of_the_time_are_all_of_it() -> None:
    runtime = replace(FREE, unit_s=0.01, step_s=1e-5, start_s=0.01, plan_clip_s=1e-4)
    cluster = replace(CALM, nodes=32, actor_s=5, lost_per_hour=2, actors_per_s=50)
    for shards in (64, 512, 4096):
        o = simulate(STAGE, runtime, cluster, 20_000, shards)
        parts = o.work_s + o.start_s + o.idle_s + o.tail_s + o.redo_s + o.serial_s
        assert parts == pytest.approx(3600 * o.hours, rel=0.02)
        assert o.tail_s >= 0


def test_shards_hold_all_clips_and_whole_videos() -> None:
    sizes = shard_sizes(100_000, 1024, seed=1)
    assert sizes.sum() == 100_000
    assert sizes.min() > 0
    # 13 videos a shard of 7.5 clips: compound Poisson, variance n (mean^2 + variance) of a video
    videos = 100_000 / 7.5 / 1024
    assert sizes.std() == pytest.approx(math.sqrt(videos * (7.5**2 + 6.5)), rel=0.1)


def test_requests_of_large_objects_are_those_that_were_counted() -> None:
    counted = json.loads((MEASURED / "requests.json").read_text())["an object of 40 MB"]
    large = replace(STAGE, bytes_in=40e6, bytes_out=40e6)
    one = np.array([1])
    puts, gets = (
        much - little
        for much, little in zip(requests(large, one), requests(STAGE, one), strict=True)
    )
    put, get = counted["put"], counted["get"]
    assert puts + 1 == sum(n for name, n in put.items() if name.split()[0] in ("PUT", "POST"))
    assert gets + 1 == sum(n for name, n in get.items() if name.split()[0] == "GET")
