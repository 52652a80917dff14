"""Workers, a node and two drivers are killed during ``crop`` and ``speech``; nothing is lost.

See docs/chaos.md.
"""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from dimitra.shards import read_shard
from tests.chaos.clone import WORKERS, Clone, digests, from_cache
from tests.chaos.victims import Driver, Nodes, Stragglers

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(600)]

OUTPUTS = {"crop": "data/crops", "speech": "data/speech"}


@pytest.mark.parametrize("stage", OUTPUTS)
def test_a_stage_that_is_killed_again_and_again_gives_the_bytes_of_a_quiet_run(
    stage: str,
    chance: random.Random,
    quiet: Clone,
    nodes: Nodes,
    stragglers: Stragglers,
    tmp_path: Path,
) -> None:
    clone = quiet.copy(tmp_path, OUTPUTS[stage])
    module = f"pipelines.{stage}"
    expected = digests(quiet.folder / OUTPUTS[stage])
    shards = len([name for name in expected if name.endswith(".tar")])
    moments = sorted(chance.sample(range(1, shards // 2), 3))
    redone = 0

    # On a cluster: a worker and a node in either order, then the driver.
    with Driver(clone, module, tmp_path / "1.log", nodes) as first:
        kills = [first.kill_worker, first.kill_node]
        chance.shuffle(kills)
        for moment, kill in zip(moments[:2], kills, strict=True):
            first.until_at_work(moment)
            kill(chance)
            redone += 1
        first.until_at_work(moments[2])
        first.kill()
        redone += WORKERS
        assert first.check_leftovers_end() == []
    before = clone.records()
    assert moments[2] <= len(before) < shards
    assert not (clone.folder / OUTPUTS[stage] / "balance.json").exists()

    # On a Ray of its own: a worker, then the driver.
    with Driver(clone, module, tmp_path / "2.log") as second:
        second.until_at_work(len(before))
        second.kill_worker(chance)
        second.until_at_work(min(len(before) + 1, shards - 1))
        second.kill()
        redone += 1 + WORKERS
        # Nobody waits for the leftovers of a killed driver.
        between = clone.records()
        with Driver(clone, module, tmp_path / "3.log") as third:
            output = third.finish()
        stragglers.take(second.check_leftovers_end())

    assert digests(clone.folder / OUTPUTS[stage]) == expected
    check_balance(clone.folder / OUTPUTS[stage])
    check_redone(clone, redone, {second: before, third: between}, shards)
    cached, units = from_cache(output)
    assert units == shards
    assert cached >= len(between)
    assert not list((clone.cache / "partial").iterdir())
    clone.run("dimitra.cli", "cache", "verify")


def check_balance(output: Path) -> None:
    """The balance against a count of the clips in the shards."""
    balance = json.loads((output / "balance.json").read_text())
    clips = sum(len(read_shard(path)) for path in output.glob("*.tar"))
    assert balance["clips_out"] == clips
    assert balance["clips_in"] == clips + balance["quarantined"]
    assert "worker_killed" not in balance["reasons"]
    assert "deadline" not in balance["reasons"]


def check_redone(
    clone: Clone, bound: int, resumed: dict[Driver, dict[str, int]], shards: int
) -> None:
    """No finished shard was made again, and of the unfinished only those that were in flight.

    Args:
        clone: where the stages ran.
        bound: shards in flight at all kills, one a worker.
        resumed: drivers that went on from an earlier one's work, with the records they found.
        shards: of the stage.
    """
    attempts = clone.attempts()
    for driver, records in resumed.items():
        begun = {attempt.unit for attempt in attempts if attempt.driver == driver.process.pid}
        assert begun.isdisjoint(records)
        now = clone.records()
        assert {name: now[name] for name in records} == records
    assert len({attempt.unit for attempt in attempts}) == shards
    assert 1 <= len(attempts) - shards <= bound
