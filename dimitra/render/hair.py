"""How far a photo's hair reaches beyond the fitted head, told by its colour.

Hair is what looks more like the scalp than like the picture far from the head, and hangs together
with the head. Colours are counted in coarse bins (Swain and Ballard 1991, "Color indexing").
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_closing, binary_opening, binary_propagation, gaussian_filter

BINS = 12
SMEAR = 0.8
"""Width of a colour's reach in the bins, so that hair need not repeat the scalp's very colours."""
LEAST_SHARE = 1e-3
"""Share of a colour in the hair below which it is none of its colours."""
FEW_PIXELS = 50


def hair_beyond(
    photo: NDArray[np.float32],
    scalp: NDArray[np.bool_],
    head: NDArray[np.bool_],
    far: NDArray[np.bool_],
) -> NDArray[np.bool_]:
    """Pixels [S, S] of hair outside the head.

    Args:
        photo: [S, S, 3], 0..255.
        scalp: [S, S], where the fitted head has its scalp.
        head: [S, S], where it is at all.
        far: [S, S], what is too far from the head to be its hair.
    """
    if scalp.sum() < FEW_PIXELS or far.sum() < FEW_PIXELS:
        return np.zeros(head.shape, bool)
    smooth = gaussian_filter(photo, (len(photo) / 256.0,) * 2 + (0.0,))
    index = tuple(np.moveaxis(np.clip(smooth * BINS / 256.0, 0, BINS - 1).astype(int), 2, 0))
    hair, rest = (_colours(index, chosen)[index] for chosen in (scalp, far))
    alike = binary_opening((hair > rest) & (hair > LEAST_SHARE) & ~far)
    found = binary_propagation(head, mask=head | alike)
    return np.asarray(binary_closing(found) & ~head)


def _colours(
    index: tuple[NDArray[np.int64], ...], chosen: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Share [BINS, BINS, BINS] of each colour in a choice of pixels."""
    counts = np.zeros((BINS,) * 3)
    np.add.at(counts, tuple(axis[chosen] for axis in index), 1.0)
    return np.asarray(gaussian_filter(counts, SMEAR, mode="constant") / chosen.sum())
