"""Which clips are in flight, kept where it outlives the worker that is at them."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class InFlight:
    """Where an attempt at a unit stands.

    Attributes:
        ages_s: clips under way, each with the seconds since it began.
        done: clips of the unit that are finished.
        quarantined: of those, how many went to quarantine.
    """

    ages_s: Mapping[str, float] = field(default_factory=dict)
    done: int = 0
    quarantined: int = 0


class Record:
    """Ray actor that knows which clips each attempt is at; it outlives a worker that dies."""

    def __init__(self) -> None:
        self._began: dict[str, dict[str, float]] = {}
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
        clips = self._began.setdefault(attempt, {})
        for clip_id in ended:
            clips.pop(clip_id, None)
        now = time.monotonic()
        clips.update(dict.fromkeys(begun, now))
        self._counts[attempt] = (done, quarantined)

    def _state(self, attempt: str) -> InFlight:
        now = time.monotonic()
        ages = {clip_id: now - began for clip_id, began in self._began.get(attempt, {}).items()}
        return InFlight(ages, *self._counts.get(attempt, (0, 0)))

    def forget(self, attempt: str) -> InFlight:
        """Take the entry of an attempt that is over."""
        state = self._state(attempt)
        self._began.pop(attempt, None)
        self._counts.pop(attempt, None)
        return state

    def all(self) -> dict[str, InFlight]:
        """Every attempt that is under way."""
        return {attempt: self._state(attempt) for attempt in self._counts}
