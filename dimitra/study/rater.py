"""A rater, the question before him, and his answers, as the ledger keeps them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from dimitra.study.plan import Side

State = Literal["invited", "agreed", "withdrawn"]


@dataclass(frozen=True)
class Rater:
    """One rater.

    Attributes:
        number: from 1.
        token: the secret in the link; of who has withdrawn, its sha256 alone.
        state: of the consent.
        done: questions answered.
        total: questions.
    """

    number: int
    token: str
    state: State
    done: int
    total: int


@dataclass(frozen=True)
class Current:
    """The question that a rater has before him.

    Attributes:
        position: from 1.
        pair: number of the pair.
        first: side of the pair's first video.
        started_s: when its videos were first played, seconds since 1970; None if not yet.
    """

    position: int
    pair: int
    first: Side
    started_s: float | None


@dataclass(frozen=True)
class Answer:
    """One answer.

    Attributes:
        rater: number.
        position: of the question among the rater's, from 1.
        pair: number.
        first: side of the pair's first video.
        choice: side that was chosen.
        seconds: from the first play to the answer.
    """

    rater: int
    position: int
    pair: int
    first: Side
    choice: Side
    seconds: float

    @property
    def prefers_first(self) -> bool:
        """The pair's first video was chosen."""
        return self.choice == self.first
