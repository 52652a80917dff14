"""Which clips are in flight, kept where it outlives the worker that is at them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from pipelines.errors import JobError


@dataclass(frozen=True)
class InFlight:
    """Where an attempt at a unit stands.

    Attributes:
        flying: clips under way, sorted.
        still_s: seconds since one of them began, or another ended.
        done: clips of the unit that are finished.
        quarantined: of those, how many went to quarantine.
    """

    flying: tuple[str, ...] = ()
    still_s: float = 0.0
    done: int = 0
    quarantined: int = 0


def record_lost(stage: str, error: Exception) -> JobError:
    """What to say where the record does not answer: no clip can be blamed, or timed, without it.

    Args:
        stage: stage name.
        error: Ray's.
    """
    why = " ".join(str(error).split())
    return JobError(
        f"{stage}: the record of clips in flight (the process `ray::Record`, beside the driver) is "
        "gone: it was killed, or its machine ran out of memory. Finished shards are kept: run the "
        f"same command again. Ray says: {why[:300]}"
    )


class Record:
    """Ray actor that knows which clips each attempt is at; it outlives a worker that dies."""

    def __init__(self) -> None:
        self._flying: dict[str, set[str]] = {}
        self._moved: dict[str, float] = {}
        self._counts: dict[str, tuple[int, int]] = {}

    def at(
        self,
        attempt: str,
        begun: Sequence[str],
        ended: Sequence[str],
        done: int,
        quarantined: int,
    ) -> None:
        """An attempt begins clips, and has ended others."""
        clips = self._flying.setdefault(attempt, set())
        clips.difference_update(ended)
        clips.update(begun)
        self._moved[attempt] = time.monotonic()
        self._counts[attempt] = (done, quarantined)

    def _state(self, attempt: str) -> InFlight:
        flying = tuple(sorted(self._flying.get(attempt, ())))
        still_s = time.monotonic() - self._moved[attempt] if flying else 0.0
        return InFlight(flying, still_s, *self._counts.get(attempt, (0, 0)))

    def forget(self, attempt: str) -> InFlight:
        """Take the entry of an attempt that is over."""
        state = self._state(attempt)
        self._flying.pop(attempt, None)
        self._moved.pop(attempt, None)
        self._counts.pop(attempt, None)
        return state

    def all(self) -> dict[str, InFlight]:
        """Every attempt that is under way."""
        return {attempt: self._state(attempt) for attempt in self._counts}
