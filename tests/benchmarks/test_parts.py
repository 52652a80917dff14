"""Single operations of the runtime are called as the runtime of today wants it."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from benchmarks.cluster import parts


@pytest.fixture
def cluster() -> Iterator[None]:
    import ray

    ray.init(
        address="local",
        num_cpus=2,
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
        object_store_memory=100_000_000,
    )
    yield
    ray.shutdown()


def test_operations_without_ray_have_their_costs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "_SLOTS", (16, 32))
    monkeypatch.setattr(parts, "_CLIPS", 2)
    monkeypatch.setattr(parts, "_SHARDS", 2)
    assert sorted(parts.loop_costs()) == ["state_ms_16", "state_ms_32"]
    assert parts.hand_over_costs(4)["unit_bytes_clip"] > 100
    assert all(cost > 0 for cost in parts.shard_costs().values())


@pytest.mark.usefixtures("cluster")
def test_operations_of_ray_have_their_costs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "_SLOTS", (4, 8))
    costs = {**parts.note_costs(20), **parts.wait_costs(), **parts.start_costs(2)}
    wall = {name: cost for name, cost in costs.items() if "cpu" not in name}
    assert sorted(wall) == ["note_us", "record_all_ms_512", "start_ms", "wait_ms_4", "wait_ms_8"]
    assert all(cost > 0 for cost in wall.values())
