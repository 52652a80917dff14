"""Long motion in chunks: where they are cut, how they are joined, how well the seams close."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def chunk_bounds(frames: int, longest: int, overlap: int = 0) -> list[tuple[int, int]]:
    """Cut ``frames`` into chunks (start, end) of near-equal length, each of at most ``longest``.

    A chunk starts at a frame of the one before, whose pose is its condition, and shares ``overlap``
    more frames with it: none means that it starts at the last frame of the one before.

    Args:
        frames: of the motion.
        longest: most frames of a chunk.
        overlap: frames after a chunk's first that the one before has too.

    Raises:
        ValueError: there is no frame, a chunk cannot hold two, or the overlap is more than half of
            a chunk.
    """
    if frames < 1 or longest < 2:
        raise ValueError(f"cannot cut {frames} frames into chunks of {longest}")
    if not 0 <= overlap <= (longest - 2) // 2:
        raise ValueError(
            f"an overlap of {overlap} frames, but chunks of {longest} can share "
            f"0 to {(longest - 2) // 2}"
        )
    if frames <= longest:
        return [(0, frames)]
    free = frames - 1 - overlap
    count = math.ceil(free / (longest - 1 - overlap))
    starts = [round(index * free / count) for index in range(count + 1)]
    return [(start, end + overlap + 1) for start, end in itertools.pairwise(starts)]


def blend_weights(overlap: int) -> Tensor:
    """[overlap] share of the later chunk in each shared frame after its first: half a cosine.

    No frame stands still at 0 or 1: the weights lie strictly between.
    """
    progress = torch.arange(1, overlap + 1, dtype=torch.float32) / (overlap + 1)
    return 0.5 - 0.5 * torch.cos(math.pi * progress)


def join(motion: Tensor, chunk: Tensor, overlap: int) -> Tensor:
    """Motion that goes on with a chunk.

    The chunk's first frame reproduces its condition, the pose that stands there already, and is
    dropped, so that no pose stands twice; its next ``overlap`` frames are blended with those that
    stand there; the rest follows.

    Args:
        motion: [T, d]; its last ``overlap + 1`` frames are shared.
        chunk: [N, d].
        overlap: frames that are blended.

    Returns:
        [T + N - 1 - overlap, d].
    """
    kept, shared = motion[: len(motion) - overlap], motion[len(motion) - overlap :]
    weights = blend_weights(overlap)[:, None].to(motion)
    blended = torch.lerp(shared, chunk[1 : 1 + overlap], weights)
    return torch.cat([kept, blended, chunk[1 + overlap :]])


@dataclass(frozen=True)
class SeamReport:
    """Change from frame to frame where chunks meet, beside that within chunks.

    Each is the mean over frames of the mean absolute difference over values.

    Attributes:
        seams: frames at which a chunk begins to count.
        seam_step: first difference at the seams.
        inside_step: first difference elsewhere.
        seam_bend: second difference at the seams.
        inside_bend: second difference elsewhere.
    """

    seams: int
    seam_step: float
    inside_step: float
    seam_bend: float
    inside_bend: float


def seam_report(
    motions: Sequence[NDArray[np.float32]], longest: int, overlap: int = 0
) -> SeamReport | None:
    """How the seams of generated motion compare with its inside.

    A seam is every pair of neighbouring frames that two chunks share in making: from a chunk's
    first frame to one after its last blended one.

    Args:
        motions: [T, d] each, generated with ``longest`` and ``overlap``; in units that make the
            values comparable.
        longest: most frames of a chunk.
        overlap: frames blended.

    Returns:
        None where no motion has a seam.
    """
    steps: tuple[list[float], list[float]] = ([], [])
    bends: tuple[list[float], list[float]] = ([], [])
    seams = 0
    for motion in motions:
        starts = [start for start, _ in chunk_bounds(len(motion), longest, overlap)[1:]]
        seams += len(starts)
        at_seam = np.zeros(len(motion) - 1, dtype=bool)
        for start in starts:
            at_seam[start : start + overlap + 1] = True
        for found, order in ((steps, 1), (bends, 2)):
            changes = np.abs(np.diff(motion, n=order, axis=0)).mean(axis=1)
            here = at_seam if order == 1 else at_seam[:-1] | at_seam[1:]
            found[0].extend(changes[here].tolist())
            found[1].extend(changes[~here].tolist())
    if not seams:
        return None
    return SeamReport(
        seams,
        float(np.mean(steps[0])),
        float(np.mean(steps[1])),
        float(np.mean(bends[0])),
        float(np.mean(bends[1])),
    )
