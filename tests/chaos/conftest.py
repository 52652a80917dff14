"""What the seeds share: a cluster, and a clone in which every stage up to ``speech`` has run."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.clone import Clone, cut, write_hook
from tests.chaos.victims import Nodes, Stragglers

SEEDS = (1, 2, 3)
STAGES = ("ingest", "split", "crop", "transcribe", "align_train", "speech")


@pytest.fixture(scope="session")
def hook(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_hook(tmp_path_factory.mktemp("hook") / "site")


@pytest.fixture(scope="session")
def cluster(hook: Path) -> Iterator[Nodes]:
    nodes = Nodes(hook)
    yield nodes
    nodes.cluster.shutdown()


@pytest.fixture
def nodes(cluster: Nodes) -> Nodes:
    """The cluster with all its nodes."""
    cluster.complete()
    return cluster


@pytest.fixture(scope="session")
def quiet(tmp_path_factory: pytest.TempPathFactory, hook: Path) -> Clone:
    """A clone after a quiet run of each stage."""
    place = tmp_path_factory.mktemp("quiet")
    clone = Clone(place / "clone", place / "cache", hook)
    cut(clone.folder)
    for stage in STAGES:
        clone.run(f"pipelines.{stage}")
    return clone


@pytest.fixture(params=SEEDS, ids=lambda seed: f"seed{seed}")
def chance(request: pytest.FixtureRequest) -> random.Random:
    """Chooses victims and moments."""
    return random.Random(request.param)


@pytest.fixture(scope="session")
def stragglers() -> Iterator[Stragglers]:
    """What Ray leaves of all drivers that were killed."""
    found = Stragglers()
    yield found
    found.check_end()
