"""Lips that meet at p, b and m: the least change of a motion that brings them together there.

A model that has learnt from little speech leaves some of these sounds open. The gap between the
inner lips is linear in the coefficients, so what closes it with the least change of the mouth's
coefficients (all about N(0, 1), so their distance tells how unlikely a change is) has a closed
form, frame by frame: a step along the gap's gradient. It is whole in the frames of the sound, and
eased in and out beside it, as lips move anyway.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from dimitra.animation.notices import Notify
from dimitra.metrics.bilabials import bilabial_intervals
from dimitra.morphable import open_head
from dimitra.morphable.coefficients import EXPRESSION_SIZE
from dimitra.morphable.model import FaceModel
from dimitra.render.head import INNER_LIPS

EASE = 2
"""Frames of 40 ms before and after a sound in which the lips are on their way."""


@dataclass(frozen=True, eq=False)
class InnerLips:
    """The inner lips of one person: the gaps of three pairs of points, linear in the expression.

    Gaps are vertical, before head pose, in decimetres; negative where the lips overlap.

    Attributes:
        rest: [3] with zero expression.
        basis: [64, 3], by which each expression coefficient widens them.
        direction: [64], the change of expression that narrows the mean of the gaps by 1 dm with the
            least change of the mouth's coefficients; 0 in all others.
    """

    rest: NDArray[np.float64]
    basis: NDArray[np.float64]
    direction: NDArray[np.float64]

    def gaps(self, expression: NDArray[np.floating]) -> NDArray[np.float64]:
        """[T, 3] gaps in the frames of an expression [T, 64]."""
        # Summed frame by frame: the bytes do not depend on how many frames there are.
        widened = expression.astype(np.float64)[:, :, None] * self.basis
        return np.asarray(self.rest + widened.sum(axis=1))

    def closed(
        self, motion: NDArray[np.float32], shares: NDArray[np.float64]
    ) -> NDArray[np.float32]:
        """Motion [T, 70] whose lips have come together by a share of their way in each frame.

        Every frame is changed by itself. At a share of 1 all three pairs meet, the last of them
        exactly; frames in which they do so already, or whose share is 0, stay as they are.

        Args:
            motion: [T, 70].
            shares: [T], 0 to 1, of ``closing_shares``.

        Raises:
            ValueError: the lengths differ.
        """
        if shares.shape != (len(motion),):
            raise ValueError(f"shares {shares.shape} of motion {motion.shape} must be [T]")
        meeting = motion.copy()
        narrowed = -(self.direction @ self.basis)
        expression = motion[:, :EXPRESSION_SIZE]
        way = shares * np.maximum((self.gaps(expression) / narrowed).max(axis=1), 0.0)
        changed = way > 0.0
        meeting[changed, :EXPRESSION_SIZE] += way[changed, None] * self.direction
        return meeting


def inner_lips(model: FaceModel, identity: NDArray[np.floating]) -> InnerLips:
    """The inner lips of a person with the identity [80]."""
    upper, lower = (model.subset(model.landmarks_68[list(lips)]) for lips in INNER_LIPS)
    basis = _apart(upper.expression_basis, lower.expression_basis)
    rest = _apart(upper.mean, lower.mean)
    rest += identity.astype(np.float64) @ _apart(upper.identity_basis, lower.identity_basis)
    gradient = np.zeros(len(basis))
    mouth = list(model.mouth_indices)
    gradient[mouth] = basis[mouth].mean(axis=1)
    return InnerLips(rest, basis, -gradient / (gradient @ gradient))


def lips_of(face_model: str, identity: NDArray[np.floating], notify: Notify) -> InnerLips | None:
    """The inner lips of a person; None, and said, where a face model's gap is not known.

    Args:
        face_model: ``open_head`` or ``bfm``, whose mesh only a person with a licence has.
        identity: [80].
        notify: is told why lips cannot be made to meet.
    """
    if face_model == "open_head":
        return inner_lips(open_head.load(), identity)
    notify(
        f"at p, b and m the lips are as generated: the gap between them is known of the face "
        f"model open_head alone, and the models move {face_model}"
    )
    return None


def _apart(upper: Tensor, lower: Tensor) -> NDArray[np.float64]:
    """By how much points lie above others, [..., 3] from [..., 3, 3]."""
    return np.asarray((upper - lower)[..., 1].double().numpy())


def closing_shares(phonemes: NDArray[np.integer]) -> NDArray[np.float64]:
    """How far lips have come together in each frame for p, b and m, [T], 0 to 1.

    1 in the frames of the sound; before and after it half a wave of a cosine.

    Args:
        phonemes: [T] ids, one a frame.

    Raises:
        ValueError: not one-dimensional.
    """
    shares = np.zeros(len(phonemes))
    slope = 0.5 + 0.5 * np.cos(np.pi * np.arange(EASE + 1) / (EASE + 1))
    for start, end in bilabial_intervals(phonemes):
        frames = np.arange(max(start - EASE, 0), min(end + EASE, len(phonemes)))
        away = np.maximum(np.maximum(start - frames, frames - end + 1), 0)
        shares[frames] = np.maximum(shares[frames], slope[away])
    return shares
