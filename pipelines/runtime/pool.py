"""The driver's side of a shard job: hands units to actors, and replaces those that die or hang."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from pipelines.errors import JobError
from pipelines.runtime.actor import Home, Order, Report, ShardActor
from pipelines.runtime.blame import Blame
from pipelines.runtime.in_flight import InFlight, Record, record_lost
from pipelines.runtime.job import Job, Resources
from pipelines.runtime.slot import Slot, starvation
from pipelines.runtime.task import Task
from pipelines.runtime.units import Unit
from pipelines.runtime.workers import ENVIRONMENT
from pipelines.runtime.workspace import Delivery, Parcel, Workspace
from pipelines.stores.work_cache import Finished, WorkCache

logger = logging.getLogger(__name__)

WARN_S = 60.0
"""While no worker works, the reason is said this often."""
_POLL_S = 0.25
_LOOK_SHARE = 0.1
"""Most of the driver's time that looking at the records may take."""
_PER_RECORD = 512
_LOST_NODE = ("node has died", "node was terminated", "node is dead", "node failure")
_UNREACHABLE_S = 60.0
_LEAVE_S = 10.0
_LATE_S = 3.0
"""What is left by a worker that takes longer is removed by the next one on its machine."""


@dataclass(frozen=True)
class State:
    """Running totals for whoever watches."""

    done: int = 0
    quarantined: int = 0
    shards_done: int = 0
    workers: int = 0
    nodes: int = 0
    deaths: int = 0


@dataclass
class Pool:
    """Hands out units, takes what is done, and puts a fresh actor where one died or hangs.

    Attributes:
        job: the stage's work.
        resources: what each worker asks for.
        keys: work key of each unit.
        cache: the work cache.
        workspace: where workers find their files.
        output: the folder that workers write to; None where the driver does.
        parcel: what workers fetch first.
        packages: versions that every node must have.
        deliver: puts a unit's inputs where workers find them.
        collected: called with each finished unit and its tracebacks.
        waiting: units to do, in order.
    """

    job: Job
    resources: Resources
    keys: Mapping[str, str]
    cache: WorkCache
    workspace: Workspace
    output: Path | None
    parcel: Parcel
    packages: Mapping[str, str]
    deliver: Callable[[Unit], Delivery]
    collected: Callable[[Unit, Finished, Mapping[str, str]], None]
    waiting: deque[Task]
    slots: list[Slot] = field(default_factory=list)
    deaths: int = 0
    _left: int = 0
    _done: int = 0
    _bad: int = 0
    _shards_done: int = 0
    _records: list[Any] = field(default_factory=list)
    _started: int = 0
    _actor_class: Any = None
    _coming: dict[str, Future[Delivery]] = field(default_factory=dict)
    _states: dict[str, InFlight] = field(default_factory=dict)
    _next_look: float = 0.0
    _warned: float = 0.0
    _leaving: list[Any] = field(default_factory=list)
    _blame: Blame = field(init=False)
    _threads: ThreadPoolExecutor = field(init=False)

    def __post_init__(self) -> None:
        self._blame = Blame(self.job.stage)

    def work(self, workers: int, watch: Callable[[State], None]) -> None:
        """Do all units.

        Args:
            workers: actors.
            watch: called a few times a second.

        Raises:
            JobError: workers keep dying without a clip to blame, or the cluster can hold none.
            OSError: a machine is at fault, for example its disk is full.
            StageError: the storage or an input shard is at fault.
        """
        import ray

        self._left = len(self.waiting)
        self._warned = time.monotonic()
        self._actor_class = ray.remote(ShardActor)  # once: every call exports the class anew
        self._records = [self._record() for _ in range(-(-workers // _PER_RECORD))]
        with ThreadPoolExecutor(4, "deliver") as self._threads:
            try:
                self.slots = [self._start() for _ in range(workers)]
                while self._left:
                    self._step()
                    watch(self._state())
                ray.wait(self._leaving, num_returns=len(self._leaving), timeout=_LEAVE_S)
                # Who is still starting has no work left, but may have fetched files already.
                late = [slot.actor.leave.remote() for slot in self.slots]
                ray.wait(late, num_returns=len(late), timeout=_LATE_S)
            finally:
                for future in self._coming.values():
                    future.cancel()

    def _record(self) -> Any:
        """Start a record actor."""
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        # Beside the driver: a node that is taken away must not take the record along.
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), False)
        record: Any = ray.remote(Record)
        return record.options(num_cpus=0, scheduling_strategy=here).remote()

    def _start(self) -> Slot:
        """Start an actor and have it load its models."""
        record = self._records[self._started % len(self._records)]
        self._started += 1
        actor = self._actor_class.options(
            num_cpus=self.resources.cpus,
            num_gpus=self.resources.gpus,
            memory=self.resources.memory_mb * 1_000_000 or None,
            max_restarts=0,
            max_task_retries=0,
            runtime_env={"env_vars": ENVIRONMENT},
        ).remote(
            self.job.stage,
            self.job.worker,
            dict(self.job.params),
            self.output,
            self.cache,
            self.workspace,
            record,
        )
        return Slot(actor, actor.arrive.remote(self.packages), record)

    def _recorded(self, references: Any) -> Any:
        """What the records answer.

        Raises:
            JobError: a record is gone.
        """
        import ray
        from ray.exceptions import RayError, RayTaskError

        try:
            return ray.get(references)
        except RayTaskError:  # a fault of the program keeps its traceback
            raise
        except RayError as error:
            raise record_lost(self.job.stage, error) from None

    def _delivery(self, task: Task) -> Delivery:
        """Inputs of a task, and of the next ones in the background."""
        for other in (task, *islice(self.waiting, len(self.slots))):
            if other.unit.name not in self._coming:
                self._coming[other.unit.name] = self._threads.submit(self.deliver, other.unit)
        return self._coming.pop(task.unit.name).result()

    def _assign(self, slot: Slot) -> None:
        """Give the next waiting unit to a free actor; let the actor go if there is none."""
        if not self.waiting:
            self._leaving.append(slot.actor.leave.remote())
            self.slots.remove(slot)
            return
        task = self.waiting.popleft()
        task.tries += 1
        slot.task = task
        slot.order = Order(
            key=self.keys[task.unit.name],
            attempt=f"{task.unit.name}#{task.tries}",
            given_up=tuple(task.given_up),
            batch=1 if task.suspects else task.batch,
            ahead=self.resources.ahead and not task.suspects and not task.careful,
            delivery=self._delivery(task),
            trial=task.suspects,
        )
        slot.pending = slot.actor.run.remote(task.unit, slot.order)

    def _again(self, slot: Slot) -> None:
        """Put a slot's task back in front, and a fresh actor into the slot."""
        import ray

        ray.kill(slot.actor, no_restart=True)
        if slot.task is not None:
            self.waiting.appendleft(slot.task)
        self.slots.remove(slot)
        self.slots.append(self._start())

    def _certain(self, slot: Slot, error: Exception) -> Exception:
        """Wait until it is known what became of an actor that cannot be reached."""
        import ray
        from ray.exceptions import ActorUnavailableError, RayError

        began = time.monotonic()
        while isinstance(error, ActorUnavailableError):
            if self._node_lost(slot, error) or time.monotonic() - began > _UNREACHABLE_S:
                break
            try:
                ray.get(slot.actor.__ray_ready__.remote(), timeout=_POLL_S)
            except TimeoutError:
                continue
            except RayError as later:
                error = later
                time.sleep(_POLL_S)
            else:
                break
        return error

    def _node_lost(self, slot: Slot, error: Exception) -> bool:
        import ray

        if any(text in str(error) for text in _LOST_NODE):
            return True
        nodes: Any = ray.nodes
        alive = {node["NodeID"] for node in nodes() if node["Alive"]}
        return slot.home is not None and slot.home.node not in alive

    def _died(self, slot: Slot, error: Exception) -> None:
        """A worker died: find out whether a clip is to blame, and try the unit again.

        Raises:
            JobError: it died three times without a clip to blame.
        """
        from ray.exceptions import ActorUnavailableError

        self.deaths += 1
        error = self._certain(slot, error)
        task, stage = slot.task, self.job.stage
        flying: tuple[str, ...] = ()
        if slot.order is not None:
            flying = self._recorded(slot.record.forget.remote(slot.attempt)).flying
        name = task.unit.name if task is not None else "loading"
        if self._node_lost(slot, error):
            logger.warning("%s: a node was lost, with the worker at %s", stage, name)
        elif isinstance(error, ActorUnavailableError):
            logger.warning("%s: the worker at %s could not be reached", stage, name)
        elif task is None or not flying:
            self._blame.strike(name, str(error))
        else:
            logger.warning("%s: a worker died at %s, clips %s", stage, name, ", ".join(flying))
            self._blame.suspect(task, flying, error)
        self._again(slot)

    def _late(self, slot: Slot, task: Task, state: InFlight) -> None:
        """Clips are past their deadline: kill the worker, quarantine the clip that hangs."""
        self._recorded(slot.record.forget.remote(slot.attempt))
        self._blame.late(task, state.flying, self.job.deadline_s)
        self._again(slot)

    def _collect(self, slot: Slot) -> None:
        """Take a slot's result, or find out that its actor died."""
        import ray
        from ray.exceptions import RayError, RayTaskError, TaskCancelledError

        try:
            value = ray.get(slot.pending)
        except TaskCancelledError as error:  # a KeyboardInterrupt within the worker
            self._died(slot, error)
            return
        except RayTaskError as error:
            cause = error.cause
            raise cause if isinstance(cause, Exception) else JobError(str(error)) from None
        except RayError as error:
            self._died(slot, error)
            return
        if isinstance(value, Home):
            slot.home, slot.loading_since = value, time.monotonic()
            slot.pending = slot.actor.prepare.remote(self.parcel)
            return
        slot.loading_since, slot.ready = None, True
        if isinstance(value, Report) and slot.task is not None:
            self._recorded(slot.record.forget.remote(slot.attempt))
            if value.finished is None:
                slot.task.suspects = ()
                self.waiting.appendleft(slot.task)
            else:
                self._done += len(slot.task.unit.clips)
                self._bad += len(value.finished.rows)
                self._shards_done += 1
                self._left -= 1
                self.collected(slot.task.unit, value.finished, value.tracebacks)
        slot.task, slot.order = None, None
        self._assign(slot)

    def _step(self) -> None:
        """Wait a moment, take what is ready, look at what is late."""
        import ray

        busy = {slot.pending: slot for slot in self.slots}
        ready, _ = ray.wait(list(busy), num_returns=1, timeout=_POLL_S)
        if ready:  # take along whatever else is ready
            ready, _ = ray.wait(list(busy), num_returns=len(busy), timeout=0)
        for reference in ready:
            self._collect(busy[reference])
        self._look()
        self._end_slow_loading()
        self._warn_of_starvation()

    def _look(self) -> None:
        """Ask the records what is in flight, now and then, and end what is late."""
        began = time.monotonic()
        if began < self._next_look:
            return
        self._states = {}
        for states in self._recorded([record.all.remote() for record in self._records]):
            self._states.update(states)
        for slot in list(self.slots):
            state = self._states.get(slot.attempt)
            if slot.task is None or state is None:
                continue
            # Not the age of a clip: one that was loaded ahead has waited for those before it.
            if state.still_s > self.job.deadline_s * len(state.flying):
                self._late(slot, slot.task, state)
        now = time.monotonic()
        self._next_look = max(began + _POLL_S, now + (now - began) / _LOOK_SHARE)

    def _end_slow_loading(self) -> None:
        """Kill workers that load for too long.

        Raises:
            JobError: this, or their death, has happened three times.
        """
        for slot in list(self.slots):
            since = slot.loading_since
            if since is None or time.monotonic() - since <= self.job.loading_s:
                continue
            self.deaths += 1
            node = slot.home.name if slot.home is not None else "?"
            why = (
                f"{self.job.worker} had not loaded after {self.job.loading_s:g} s on {node} (limit "
                f"of {self.job.stage}: Job.loading_s)"
            )
            self._blame.strike("loading", why)
            self._again(slot)

    def _warn_of_starvation(self) -> None:
        """Say once a minute why no worker works."""
        now = time.monotonic()
        if any(slot.ready for slot in self.slots):
            self._warned = now
        elif now - self._warned > WARN_S:
            self._warned = now
            why = starvation(self.slots, self.job, self.resources)
            logger.warning("%s: %s", self.job.stage, why)

    def _state(self) -> State:
        attempts = [slot.attempt for slot in self.slots if slot.order and not slot.order.trial]
        running = [self._states[name] for name in attempts if name in self._states]
        return State(
            done=self._done + sum(state.done for state in running),
            quarantined=self._bad + sum(state.quarantined for state in running),
            shards_done=self._shards_done,
            workers=sum(slot.ready for slot in self.slots),
            nodes=len({slot.home.node for slot in self.slots if slot.home and slot.ready}),
            deaths=self.deaths,
        )
