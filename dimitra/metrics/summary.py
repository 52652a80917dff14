"""Aggregation of per-clip values into the numbers of a table."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from dimitra.metrics.definitions import DECIMALS


@dataclass(frozen=True)
class ClipValue:
    """One metric of one method on one clip.

    Attributes:
        value: None where there is none.
        reason: why there is none.
        dropped: there could have been a value, and the protocol ignored the clip.
    """

    value: float | None
    reason: str | None = None
    dropped: bool = False

    def __post_init__(self) -> None:
        if self.value is None and not self.reason:
            raise ValueError("a clip without a value needs the reason why")
        if self.value is not None and not math.isfinite(self.value):
            raise ValueError(f"{self.value} is not a finite number")


@dataclass(frozen=True)
class Summary:
    """One number of a table.

    Attributes:
        value: mean over clips, None where no clip has a value.
        n: clips in the mean.
        dropped: clips that the protocol ignored.
        reason: why the value is None, else None.
    """

    value: float | None
    n: int
    dropped: int
    reason: str | None


def rounded(value: float | None) -> float | None:
    """Round to ``DECIMALS``; None stays None and negative zero becomes zero."""
    return None if value is None else round(value, DECIMALS) + 0.0


def summarise(values: Sequence[ClipValue]) -> Summary:
    """Mean over clips, every clip with the same weight whatever its length.

    The sum is exact (``math.fsum``), so that it does not depend on the order of clips.
    """
    found = [item.value for item in values if item.value is not None]
    dropped = sum(item.dropped for item in values)
    if found:
        return Summary(rounded(math.fsum(found) / len(found)), len(found), dropped, None)
    reasons = Counter(item.reason for item in values if item.reason)
    reason = max(sorted(reasons), key=reasons.__getitem__) if reasons else "no test clip"
    return Summary(None, 0, dropped, reason)
