"""Blinks found by the opening of the eyelids, against the corpus' own."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

UPPER_LIDS, LOWER_LIDS = (37, 38, 43, 44), (41, 40, 47, 46)
EYE_CORNERS = ((36, 39), (42, 45))
SHUT, NEAR_FRAMES = 0.5, 2
SHARES = (SHUT, *(round(0.3 + 0.05 * k, 2) for k in range(14)))
"""Shares of the median lid opening tried; the first is the rule without tuning."""

Events = Sequence[tuple[int, int]]


def lid_opening(points: Tensor) -> NDArray[np.float32]:
    """Opening of both eyes over their widths [T], from landmarks [T, 68, 2 or 3]."""
    height = torch.linalg.vector_norm(
        points[:, list(UPPER_LIDS)] - points[:, list(LOWER_LIDS)], dim=-1
    ).mean(1)
    width = sum(
        torch.linalg.vector_norm(points[:, a] - points[:, b], dim=-1) for a, b in EYE_CORNERS
    )
    return np.asarray((2 * height / width).numpy())


def events(shut: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """First and last frame of every run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], shut.astype(int), [0]])))
    return [(int(low), int(high) - 1) for low, high in zip(edges[::2], edges[1::2], strict=True)]


def matched(first: Events, second: Events) -> int:
    """How many events of one list have one of the other near them; each is used once."""
    free = list(second)
    count = 0
    for low, high in first:
        for other in free:
            if other[0] - NEAR_FRAMES <= high and low <= other[1] + NEAR_FRAMES:
                free.remove(other)
                count += 1
                break
    return count


def blink_counts(points: Tensor, truth: NDArray[np.float32]) -> NDArray[np.int64]:
    """Matched, found and true blinks of a clip for every share [shares, 3].

    Args:
        points: landmarks [T, 68, 2 or 3].
        truth: how far the eyes are shut [T], 0 to 1.
    """
    count = min(len(points), len(truth))
    true = events(truth[:count] > SHUT)
    opening = lid_opening(points[:count])
    rows = []
    for share in SHARES:
        found = events(opening < share * np.median(opening))
        rows.append((matched(found, true), len(found), len(true)))
    return np.array(rows, np.int64)
