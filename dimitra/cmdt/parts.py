"""Which motion values a model generates: one of the paper's three parts, or all of them at once."""

from __future__ import annotations

from typing import Literal, TypeAlias

from dimitra.morphable.coefficients import MOTION_SIZE, PARTS, Part, part_indices

ModelPart: TypeAlias = Part | Literal["all"]
Models: TypeAlias = Literal["separate", "joint"]
"""Three models, as the paper has them, or one of all 70 values, which it found to be worse."""
MODEL_PARTS: tuple[ModelPart, ...] = (*PARTS, "all")


def parts_of(models: Models) -> tuple[ModelPart, ...]:
    """Parts that together generate the whole motion."""
    return PARTS if models == "separate" else ("all",)


def part_columns(face_model: str, part: ModelPart) -> tuple[int, ...]:
    """Columns of a part in the 70 motion values, ascending.

    Raises:
        ValueError: unknown face model.
    """
    indices = part_indices(face_model)
    return tuple(range(MOTION_SIZE)) if part == "all" else tuple(indices[part])


def mouth_columns(face_model: str) -> tuple[int, ...]:
    """Columns of the mouth.

    Raises:
        ValueError: unknown face model.
    """
    return tuple(part_indices(face_model)["lips"])
