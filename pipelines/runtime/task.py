"""A unit of work with its history: what was tried, and which clips are not to be tried again."""

from __future__ import annotations

from dataclasses import dataclass, field

from dimitra.clips import Reason
from pipelines.runtime.quarantine import QuarantineRow, quarantine_row
from pipelines.runtime.units import Unit


@dataclass
class Task:
    """A unit with its history.

    Attributes:
        unit: the unit.
        batch: clips handed to the worker at once; halved when a batch kills its worker.
        suspects: clips to be tried alone before the unit is done again.
        given_up: rows of clips that are not to be tried again.
        tries: attempts so far.
        careful: nothing is loaded ahead, so that one clip is in flight at a time.
    """

    unit: Unit
    batch: int
    suspects: tuple[str, ...] = ()
    given_up: list[QuarantineRow] = field(default_factory=list)
    tries: int = 0
    careful: bool = False

    def halve(self) -> None:
        """Fewer clips in flight the next time."""
        self.careful = self.careful or self.batch == 1
        self.batch = max(1, self.batch // 2)

    def quarantine(self, stage: str, clip_id: str, reason: Reason, why: str, attempts: int) -> None:
        """Give one of its clips up: a row of the quarantine is all that becomes of it."""
        clip = next(clip for clip in self.unit.clips if clip.clip_id == clip_id)
        self.given_up.append(quarantine_row(clip, stage, reason, why, attempts))
        self.suspects = tuple(name for name in self.suspects if name != clip_id)
