"""Who is to blame where a worker dies or hangs: a clip, or the place itself."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass, field

from dimitra.clips import Reason
from pipelines.errors import JobError
from pipelines.runtime.task import Task

logger = logging.getLogger(__name__)

ATTEMPTS = 3
"""A clip that is alone in flight each time its worker dies, this many times, is quarantined."""
_NO_MEMORY = ("running low on memory", "OutOfMemoryError", "memory monitor")


@dataclass
class Blame:
    """Deaths counted, against the clip that was alone in flight or against the place.

    Attributes:
        stage: the stage, for messages.
    """

    stage: str
    _strikes: Counter[tuple[str, str]] = field(default_factory=Counter)

    def suspect(self, task: Task, flying: tuple[str, ...], error: Exception) -> None:
        """Count a death against a clip that was alone; have several tried one by one."""
        task.suspects = flying
        if len(flying) > 1:
            task.halve()
            return
        (clip_id,) = flying
        self._strikes[task.unit.name, clip_id] += 1
        if self._strikes[task.unit.name, clip_id] >= ATTEMPTS:
            memory = any(text in str(error) for text in _NO_MEMORY)
            reason = Reason.OUT_OF_MEMORY if memory else Reason.WORKER_KILLED
            why = f"the worker process died {ATTEMPTS} times while it processed this clip alone"
            task.quarantine(self.stage, clip_id, reason, why, ATTEMPTS)

    def late(self, task: Task, flying: tuple[str, ...], deadline_s: float) -> None:
        """Clips are past their deadline: give up the one that hangs, try several one by one."""
        if len(flying) == 1:
            why = f"took longer than {self.stage}.deadline_s = {deadline_s:g} s"
            task.quarantine(self.stage, flying[0], Reason.DEADLINE, why, 1)
        else:
            task.suspects = flying
            task.halve()

    def strike(self, name: str, why: str) -> None:
        """Count a death for which no clip is to blame.

        Raises:
            JobError: it is the third at the same place.
        """
        self._strikes[name, ""] += 1
        logger.warning("%s: a worker died at %s: %s", self.stage, name, why)
        if self._strikes[name, ""] >= ATTEMPTS:
            raise JobError(
                f"{self.stage}: workers died {ATTEMPTS} times at {name}, no clip in flight: {why}. "
                "Finished shards are kept"
            )
