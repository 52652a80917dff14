"""The driver's side of a shard job: actors, the units they are at, clips that hang or kill."""

from __future__ import annotations

import logging
from collections import Counter, defaultdict, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dimitra.clips import Reason
from pipelines.errors import JobError
from pipelines.progress import Bar
from pipelines.quarantine import QuarantineRow, quarantine_row
from pipelines.work_cache import Finished, WorkCache
from pipelines.workers import ENVIRONMENT, ShardActor, Unit

logger = logging.getLogger(__name__)

ATTEMPTS = 3
"""A clip that is in flight each time its worker dies, this many times, is quarantined."""
_POLL_S = 0.25


@dataclass(frozen=True)
class Job:
    """A stage's work.

    Attributes:
        stage: ``crop``.
        worker: ``pipelines.crop:make_worker``, a function from ``params`` to a ``Worker``, called
            once in every actor.
        params: JSON values: all that the worker needs and that the bytes depend on.
        units: the output shards.
        output: the stage's folder, ``data/crops``.
        budget: largest quarantined share of the clips.
        deadline_s: longest time a clip may take, seconds.
        seed: seed of the run.
        assets: third-party weights that the worker loads.
        corpus_inputs: files or folders that the worker reads whole (aligner, models, statistics).
        packages: distributions whose version the bytes depend on.
        refused: clips that were found bad before any work; they count as clips in.
    """

    stage: str
    worker: str
    params: Mapping[str, Any]
    units: tuple[Unit, ...]
    output: Path
    budget: float
    deadline_s: float
    seed: int = 0
    assets: tuple[str, ...] = ()
    corpus_inputs: tuple[Path, ...] = ()
    packages: tuple[str, ...] = ()
    refused: tuple[QuarantineRow, ...] = ()


@dataclass
class Slot:
    """One actor, and the unit it is at."""

    actor: Any
    ready: Any
    unit: Unit | None = None
    attempt: str = ""
    result: Any = None


@dataclass
class Pool:
    """The driver's side of the actors: hands out units, judges clips that hang or kill."""

    job: Job
    keys: Mapping[str, str]
    cache: WorkCache
    partial: Path
    bar: Bar
    record: Any
    finished: dict[str, Finished]
    waiting: deque[Unit]
    slots: list[Slot] = field(default_factory=list)
    given_up: dict[str, list[QuarantineRow]] = field(default_factory=lambda: defaultdict(list))
    deaths: Counter[tuple[str, str | None]] = field(default_factory=Counter)
    attempts: Counter[str] = field(default_factory=Counter)

    def start(self) -> Slot:
        """Start an actor and have it load its models."""
        import ray

        actor_class: Any = ray.remote(ShardActor)
        actor = actor_class.options(
            num_cpus=1, max_restarts=0, max_task_retries=0, runtime_env={"env_vars": ENVIRONMENT}
        ).remote(
            self.job.stage,
            self.job.worker,
            dict(self.job.params),
            self.job.output.resolve(),
            self.cache,
            self.partial,
            self.record,
            Path.cwd(),
        )
        return Slot(actor, actor.prepare.remote())

    def assign(self, slot: Slot) -> None:
        """Give the next waiting unit to an actor that is free."""
        if not self.waiting:
            return
        unit = self.waiting.popleft()
        self.attempts[unit.name] += 1
        slot.unit = unit
        slot.attempt = f"{unit.name}#{self.attempts[unit.name]}"
        slot.result = slot.actor.run.remote(
            unit, self.keys[unit.name], slot.attempt, self.given_up[unit.name]
        )

    def again(self, slot: Slot) -> None:
        """Put a slot's unit back in front, and a fresh actor into the slot."""
        import ray

        ray.kill(slot.actor, no_restart=True)
        if slot.unit is not None:
            self.waiting.appendleft(slot.unit)
        self.slots.remove(slot)
        self.slots.append(self.start())

    def _quarantine(self, unit: Unit, clip_id: str, reason: Reason, why: str, tries: int) -> None:
        clip = next(clip for clip in unit.clips if clip.clip_id == clip_id)
        row = quarantine_row(clip, self.job.stage, reason, why, tries)
        self.given_up[unit.name].append(row)

    def died(self, slot: Slot, error: Exception) -> None:
        """A worker died: count it against the clip in flight, and try the unit again.

        Raises:
            JobError: it died three times without a clip to blame.
        """
        import ray

        clip_id = None
        if slot.unit is not None:
            clip_id = ray.get(self.record.forget.remote(slot.attempt)).clip_id
        name = slot.unit.name if slot.unit is not None else "loading"
        self.deaths[name, clip_id] += 1
        count = self.deaths[name, clip_id]
        logger.warning("%s: a worker died at %s, clip %s", self.job.stage, name, clip_id)
        if count >= ATTEMPTS and (slot.unit is None or clip_id is None):
            raise JobError(f"{self.job.stage}: workers died {count} times at {name}: {error}")
        if count >= ATTEMPTS and slot.unit is not None and clip_id is not None:
            why = f"the worker process died {ATTEMPTS} times while it processed this clip"
            self._quarantine(slot.unit, clip_id, Reason.WORKER_KILLED, why, ATTEMPTS)
        self.again(slot)

    def late(self, slot: Slot, unit: Unit, clip_id: str) -> None:
        """A clip is past its deadline: kill its worker, quarantine it, try the unit without it."""
        import ray

        ray.get(self.record.forget.remote(slot.attempt))
        why = f"took longer than {self.job.stage}.deadline_s = {self.job.deadline_s:g} s"
        self._quarantine(unit, clip_id, Reason.DEADLINE, why, 1)
        self.again(slot)

    def collect(self, slot: Slot) -> None:
        """Take a slot's result, or find out that its actor died."""
        import ray
        from ray.exceptions import RayError, RayTaskError

        pending = slot.result if slot.unit is not None else slot.ready
        try:
            value = ray.get(pending)
        except RayTaskError as error:
            cause = error.cause
            raise cause if isinstance(cause, Exception) else JobError(str(error)) from None
        except RayError as error:
            self.died(slot, error)
            return
        slot.ready = None
        if slot.unit is not None:
            self.finished[slot.unit.name] = value
            ray.get(self.record.forget.remote(slot.attempt))
        slot.unit, slot.result = None, None
        self.assign(slot)

    def step(self) -> None:
        """Wait a moment, take what is ready, look at what is late, move the bar."""
        import ray

        busy = {s.result if s.unit is not None else s.ready: s for s in self.slots}
        busy.pop(None, None)
        ready, _ = ray.wait(list(busy), num_returns=1, timeout=_POLL_S)
        for reference in ready:
            self.collect(busy[reference])
        states = ray.get(self.record.all.remote())
        for slot in list(self.slots):
            state = states.get(slot.attempt)
            if slot.unit is None or state is None or state.clip_id is None:
                continue
            if state.age_s > self.job.deadline_s:
                self.late(slot, slot.unit, state.clip_id)
        for slot in self.slots:
            if slot.unit is None and slot.ready is None:
                self.assign(slot)
        running = states.values()
        done = sum(f.sidecar.clips + len(f.rows) for f in self.finished.values())
        bad = sum(len(f.rows) for f in self.finished.values())
        self.bar.update(
            done + sum(state.done for state in running),
            bad + sum(state.quarantined for state in running),
        )
