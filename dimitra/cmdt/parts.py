"""The three parts of the motion, each with a model of its own (paper, section III-B.4)."""

from __future__ import annotations

from collections.abc import Sequence

EXPRESSION_VALUES = 64
POSE_VALUES = 6
MOTION_VALUES = EXPRESSION_VALUES + POSE_VALUES
"""Expression 64, angles 3, translations 3."""

PARTS = ("lips", "expression", "pose")

MOUTH_INDICES = {
    "open_head": tuple(range(13)),
    "bfm": (0, 1, 2, 3, 4, 5, 7, 9, 10, 11, 12, 13, 14),
}
"""Expression values that move the mouth, per face model.

The open head is built so that they come first; those of BFM are StyleTalk's lower-face indices.
"""


def motion_columns(part: str, mouth_indices: Sequence[int]) -> tuple[int, ...]:
    """Columns of the 70 motion values that a part's model generates, ascending.

    Raises:
        ValueError: there is no such part.
    """
    mouth = sorted(mouth_indices)
    if part == "lips":
        return tuple(mouth)
    if part == "expression":
        return tuple(index for index in range(EXPRESSION_VALUES) if index not in mouth)
    if part == "pose":
        return tuple(range(EXPRESSION_VALUES, MOTION_VALUES))
    raise ValueError(f"part {part!r} is not one of {', '.join(PARTS)}")
