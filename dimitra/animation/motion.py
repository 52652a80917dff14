"""The motion of one sample, and what a person asked to be done to it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from dimitra.cmdt.checkpoint import TrainedPart
from dimitra.cmdt.drive import Drive
from dimitra.cmdt.recursion import SamplingConfig, generate_part
from dimitra.morphable.coefficients import MOTION_SIZE
from dimitra.render.mesh import freeze_pose
from dimitra.render.pirender import limit_angles
from dimitra.seeds import clip_seed

NOISE_NAME = "animation"
"""Names the noise beside the seed, where the corpus has clip ids."""


def sample_seed(seed: int, number: int) -> int:
    """Seed of a sample, from 0: the first has the run's own, as in the stage ``generate``."""
    return seed if number == 0 else clip_seed(seed, "sample", str(number))


def sampled_motion(
    parts: Sequence[TrainedPart],
    drive: Drive,
    first: NDArray[np.float32],
    sampling: SamplingConfig,
    number: int,
    done: Callable[[int, int], None],
) -> NDArray[np.float32]:
    """Motion [T, 70] of sample ``number``.

    Args:
        parts: models that cover the 70 values once each.
        drive: what drives them.
        first: [70], what the photo shows.
        sampling: with the seed of the run.
        number: of the sample, from 0.
        done: told how many of the parts are generated.
    """
    own = replace(sampling, seed=sample_seed(sampling.seed, number))
    motion = np.empty((drive.frames, MOTION_SIZE), np.float32)
    for index, part in enumerate(parts):
        motion[:, list(part.columns)] = generate_part(part, drive, first, own, NOISE_NAME)
        done(index + 1, len(parts))
    return motion


def staged(
    motion: NDArray[np.float32],
    first: NDArray[np.float32],
    mouth: Sequence[int],
    *,
    head_pose: bool,
    expression_scale: float,
    angle_limit_rad: float | None,
) -> NDArray[np.float32]:
    """Motion [T, 70] as it is to be drawn.

    Args:
        motion: [T, 70], as generated.
        first: [70], what the photo shows.
        mouth: of the 70 values, those of the mouth: they stay as they are, or lips would not close.
        head_pose: False holds the head as in the photo.
        expression_scale: factor on how far the other expression values go from the photo's.
        angle_limit_rad: largest difference of each angle from frame 0; None for none.
    """
    drawn = motion.copy()
    face = [column for column in range(64) if column not in set(mouth)]
    drawn[:, face] = first[face] + np.float32(expression_scale) * (drawn[:, face] - first[face])
    if angle_limit_rad is not None:
        drawn = limit_angles(drawn, angle_limit_rad)
    return drawn if head_pose else freeze_pose(drawn, first)
