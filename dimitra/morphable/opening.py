"""How far a mouth is open, as a linear function of the expression, and where it is closed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dimitra.morphable.model import FaceModel

UPPER_LIP, LOWER_LIP = 62, 66
"""Middle of the inner lips in the 68-point iBUG scheme, counted from 0."""
CORNERS = (48, 54)
"""Corners of the mouth."""
CLOSED = 0.03
"""Height of the opening, in widths of the resting mouth, up to which lips count as closed. On the
sample corpus all 425 true sounds p, b and m reach it, and 12 % of the other sounds."""


def opening_direction(model: FaceModel) -> NDArray[np.float64]:
    """[64]: decimetres by which each expression coefficient parts the inner lips.

    ``expression @ opening_direction(model)`` is the height of the opening less that of the resting
    face; identity and head pose have no part in it.
    """
    lips = model.landmarks_68[[UPPER_LIP, LOWER_LIP]]
    upper, lower = model.subset(lips).expression_basis[:, :, 1].double().unbind(-1)
    return (upper - lower).numpy()


def closed_opening(model: FaceModel) -> float:
    """Largest ``expression @ opening_direction(model)`` at which the lips count as closed.

    Of the face model's mean face: how far its resting lips part differs from model to model.
    """
    places = model.landmarks_68[[UPPER_LIP, LOWER_LIP, *CORNERS]]
    upper, lower, left, right = model.subset(places).mean.double()
    return float(CLOSED * (left - right).norm() - (upper - lower)[1])
