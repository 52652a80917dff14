"""How far a mouth is open, as a linear function of the expression."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dimitra.morphable.model import FaceModel

UPPER_LIP, LOWER_LIP = 62, 66
"""Middle of the inner lips in the 68-point iBUG scheme, counted from 0."""


def opening_direction(model: FaceModel) -> NDArray[np.float64]:
    """[64]: decimetres by which each expression coefficient parts the inner lips.

    ``expression @ opening_direction(model)`` is the height of the opening less that of the resting
    face; identity and head pose have no part in it.
    """
    lips = model.landmarks_68[[UPPER_LIP, LOWER_LIP]]
    upper, lower = model.subset(lips).expression_basis[:, :, 1].double().unbind(-1)
    return (upper - lower).numpy()
