"""Drivers and workers are killed while shards are written, and while they come from the cache."""

from __future__ import annotations

import json
import os
import random
import time
from hashlib import sha256
from pathlib import Path

import pytest

from tests.chaos.clone import WORKERS, Clone, copy_code, digests, from_cache
from tests.chaos.tiny import OUTPUT, SHARDS
from tests.chaos.victims import Driver, Stragglers

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(600)]

MODULE = "tests.chaos.tiny"


@pytest.fixture(scope="module")
def quiet_tiny(tmp_path_factory: pytest.TempPathFactory, hook: Path) -> Clone:
    """A folder with the code, after a quiet run of the tiny stage."""
    place = tmp_path_factory.mktemp("tiny")
    for name in ("dimitra", "pipelines", "tests"):
        copy_code(name, place / "clone")
    clone = Clone(place / "clone", place / "cache", hook)
    clone.run(MODULE)
    return clone


def check_whole(clone: Clone) -> None:
    """Whatever has a sidecar or a record has its bytes."""
    for record in clone.record_paths():
        digest = json.loads(record.read_text())["sidecar"]["sha256"]
        stored = clone.cache / "objects" / digest[:2] / f"{digest}.tar"
        assert sha256(stored.read_bytes()).hexdigest() == digest
    for path in (clone.folder / OUTPUT).glob("[0-9]*.json"):
        sidecar = json.loads(path.read_text())
        shard = path.with_name(sidecar["shard"])
        assert sha256(shard.read_bytes()).hexdigest() == sidecar["sha256"]


def written_since(entry: os.DirEntry[str], time_ns: int) -> bool:
    """Whether a file was written after a time; not where it has just been removed."""
    try:
        return entry.stat().st_mtime_ns > time_ns
    except FileNotFoundError:
        return False


def test_kills_while_shards_are_published(
    chance: random.Random,
    quiet_tiny: Clone,
    stragglers: Stragglers,
    tmp_path: Path,
) -> None:
    expected = digests(quiet_tiny.folder / OUTPUT)
    clone = quiet_tiny.copy(tmp_path, OUTPUT.as_posix())
    output = clone.folder / OUTPUT
    redone = 0

    # While workers publish: a worker, and soon after the driver.
    with Driver(clone, MODULE, tmp_path / "1.log") as first:
        first.until_at_work(chance.randrange(1, SHARDS // 4))
        first.kill_worker(chance)
        first.until(lambda: "a worker died" in first.output, "the driver noticed")
        first.until_at_work(chance.randrange(SHARDS // 4, SHARDS // 2))
        first.kill()
        redone += 1 + WORKERS
        stragglers.take(first.check_leftovers_end())
    before = clone.records()
    check_whole(clone)

    # While the next driver takes shards from the cache.
    moment = chance.randrange(1, len(before) // 2)
    began_ns = time.time_ns()

    def restored() -> int:
        with os.scandir(output) as entries:
            return sum(e.name.endswith(".json") and written_since(e, began_ns) for e in entries)

    with Driver(clone, MODULE, tmp_path / "2.log") as second:
        second.until(lambda: restored() >= moment, "shards from the cache")
        second.kill()
        stragglers.take(second.check_leftovers_end())
    check_whole(clone)
    assert clone.records() == before
    assert moment <= restored() <= len(before)

    with Driver(clone, MODULE, tmp_path / "3.log") as third:
        assert from_cache(third.finish()) == (len(before), SHARDS)
    assert digests(output) == expected
    now = clone.records()
    assert {name: now[name] for name in before} == before
    attempts = clone.attempts()
    assert len({attempt.unit for attempt in attempts}) == SHARDS
    assert len(attempts) - SHARDS <= redone  # a kill may fall between two shards
