"""Drivers and workers are killed while shards are written, and while they come from the cache."""

from __future__ import annotations

import json
import os
import random
import time
from hashlib import sha256
from pathlib import Path

import pytest

from tests.chaos.clone import ROOT, Clone, digests, from_cache
from tests.chaos.tiny import OUTPUT, SHARDS
from tests.chaos.victims import Agents, Driver

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(600)]

MODULE = "tests.chaos.tiny"


def place(folder: Path, hook: Path) -> Clone:
    """A working folder for the tiny stage, with a work cache of its own; code of the checkout."""
    (folder / "work").mkdir(parents=True)
    for name in ("dimitra", "pipelines", "tests"):
        (folder / "work" / name).symlink_to(ROOT / name)
    return Clone(folder / "work", folder / "cache", hook)


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory, hook: Path) -> dict[str, str]:
    """Bytes of a quiet run."""
    clone = place(tmp_path_factory.mktemp("tiny"), hook)
    clone.run(MODULE)
    return digests(clone.folder / OUTPUT)


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
    hook: Path,
    expected: dict[str, str],
    agents: Agents,
    tmp_path: Path,
) -> None:
    clone = place(tmp_path, hook)
    output = clone.folder / OUTPUT
    redone = 0

    # While workers publish: a worker, and soon after the driver.
    with Driver(clone, MODULE, tmp_path / "1.log") as first:
        first.until_at_work(chance.randrange(1, SHARDS // 4))
        first.kill_worker(chance)
        first.until_at_work(chance.randrange(SHARDS // 4, SHARDS // 2))
        first.kill()
        redone += 1 + 2
        agents.take(first.check_leftovers_end())
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
        agents.take(second.check_leftovers_end())
    check_whole(clone)
    assert clone.records() == before
    assert moment <= restored() < len(before)

    with Driver(clone, MODULE, tmp_path / "3.log") as third:
        assert from_cache(third.finish()) == (len(before), SHARDS)
    assert digests(output) == expected
    now = clone.records()
    assert {name: now[name] for name in before} == before
    attempts = clone.attempts()
    assert len({attempt.unit for attempt in attempts}) == SHARDS
    assert 1 <= len(attempts) - SHARDS <= redone
