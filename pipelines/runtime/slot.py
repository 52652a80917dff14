"""One actor of a pool, and what it is at."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pipelines.runtime.actor import Home, Order
from pipelines.runtime.job import Job, Resources
from pipelines.runtime.task import Task


@dataclass(eq=False)
class Slot:
    """One actor, and the task it is at.

    Attributes:
        actor: its handle.
        pending: the call that it is at.
        record: the record that it tells of its clips.
        home: where it lives; None until it has found a place.
        loading_since: when it began to load its models; None before and after.
        ready: it has loaded them.
        task: the unit it is at.
        order: how it is to be done.
    """

    actor: Any
    pending: Any
    record: Any
    home: Home | None = None
    loading_since: float | None = None
    ready: bool = False
    task: Task | None = None
    order: Order | None = None

    @property
    def attempt(self) -> str:
        """Name of the attempt under way; empty while loading."""
        return self.order.attempt if self.order is not None else ""


def starvation(slots: Sequence[Slot], job: Job, resources: Resources) -> str:
    """Why no worker works: none is placed, or those that are still load."""
    import ray

    now = time.monotonic()
    placed = [slot.home for slot in slots if slot.home is not None]
    if placed:
        loading = max(now - slot.loading_since for slot in slots if slot.loading_since)
        return (
            f"no worker has finished loading; {len(placed)} of {len(slots)} are placed "
            f"({', '.join(sorted({home.name for home in placed})[:5])}) and have been in "
            f"{job.worker} for up to {loading:.0f} s, {job.loading_s:g} s are allowed"
        )
    offered: Any = ray.cluster_resources
    has = {k: v for k, v in offered().items() if k in ("CPU", "GPU", "memory")}
    return (
        f"no worker has found a place yet; each asks for {resources.demands()}, "
        f"the cluster has {has}"
    )
