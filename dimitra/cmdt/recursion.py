"""Motion of any length, generated in chunks of at most N frames from the last generated pose.

Each chunk after the first begins at the last frame of the one before: that pose is its condition,
and its own first frame, which reproduces the condition, is dropped, so that no pose stands twice.
The lips' condition is reset to the clip's first mouth at every chunk, as in the authors' code, so
that errors of the mouth do not add up; what was generated is never written over.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from dimitra.cmdt.checkpoint import TrainedPart
from dimitra.cmdt.dataset import gather_conditions
from dimitra.cmdt.drive import Drive
from dimitra.diffusion.samplers import Sampler, sample, spaced_steps
from dimitra.diffusion.schedule import linear_schedule
from dimitra.morphable.coefficients import MOTION_SIZE
from dimitra.seeds import clip_seed

RESET_PARTS = frozenset({"lips"})
"""Parts whose condition goes back to the clip's first pose at every chunk."""


@dataclass(frozen=True)
class SamplingConfig:
    """How motion is sampled.

    Attributes:
        sampler: ``ddim`` (eta 0) or ``ancestral``.
        steps: denoising steps a chunk.
        seed: of the run; the noise comes from (seed, clip id, part, chunk).
    """

    sampler: Sampler
    steps: int
    seed: int


def chunk_bounds(frames: int, longest: int) -> list[tuple[int, int]]:
    """Cut ``frames`` into chunks (start, end) of near-equal length, each of at most ``longest``.

    Neighbours share one frame: a chunk starts at the last frame of the one before.

    Raises:
        ValueError: there is no frame, or a chunk cannot hold two.
    """
    if frames < 1 or longest < 2:
        raise ValueError(f"cannot cut {frames} frames into chunks of {longest}")
    count = max(1, math.ceil((frames - 1) / (longest - 1)))
    seams = [round(index * (frames - 1) / count) for index in range(count + 1)]
    return [(start, end + 1) for start, end in itertools.pairwise(seams)]


@torch.no_grad()
def generate_part(
    trained: TrainedPart,
    drive: Drive,
    first_pose: NDArray[np.float32],
    sampling: SamplingConfig,
    clip_id: str,
) -> NDArray[np.float32]:
    """Generate one part of a clip's motion.

    Args:
        trained: the part's model.
        drive: speech, phonemes and text of T frames.
        first_pose: [70] motion values of the first frame.
        sampling: sampler, steps and seed.
        clip_id: names the noise.

    Returns:
        [T, d].
    """
    model = trained.model
    device = model.shift.device
    schedule = linear_schedule(trained.diffusion_steps)
    steps = spaced_steps(trained.diffusion_steps, sampling.steps)
    columns = list(trained.columns)
    first = torch.from_numpy(np.ascontiguousarray(first_pose[columns], dtype=np.float32))
    pose = first
    pieces: list[torch.Tensor] = []
    for index, (start, end) in enumerate(chunk_bounds(drive.frames, model.config.frames)):
        window = drive.window(start, end - start, trained.speech_window)
        encoded = model.encode(gather_conditions([window], pose[None]).to(device))
        mask = torch.ones(1, end - start, dtype=torch.bool, device=device)
        generator = torch.Generator().manual_seed(
            clip_seed(sampling.seed, clip_id, trained.part, str(index))
        )
        noise = torch.randn(1, end - start, len(columns), generator=generator)

        def denoise(noisy: torch.Tensor, step: int) -> torch.Tensor:
            level = torch.full((1,), step, dtype=torch.int64, device=device)
            return model.denoise(noisy, level, mask, encoded)  # noqa: B023 - called in this turn

        drawn = sample(sampling.sampler, denoise, noise.to(device), schedule, steps, generator)
        motion = model.denormalise(drawn)[0].cpu()
        pieces.append(motion[1:] if index else motion)
        pose = first if trained.part in RESET_PARTS else motion[-1]
    return torch.cat(pieces).numpy()


def generate_motion(
    parts: Sequence[TrainedPart],
    drive: Drive,
    first_pose: NDArray[np.float32],
    sampling: SamplingConfig,
    clip_id: str,
) -> NDArray[np.float32]:
    """Generate a clip's motion [T, 70] from its first pose and its speech.

    Args:
        parts: models whose columns cover the 70 values once each.
        drive: speech, phonemes and text of T frames.
        first_pose: [70] motion values of the first frame.
        sampling: sampler, steps and seed.
        clip_id: names the noise.

    Raises:
        ValueError: the parts do not cover every column exactly once.
    """
    covered = sorted(column for part in parts for column in part.columns)
    if covered != list(range(MOTION_SIZE)):
        raise ValueError(
            f"the parts {', '.join(part.part for part in parts)} cover {len(covered)} columns, "
            f"but each of the {MOTION_SIZE} motion values must be generated once"
        )
    motion = np.empty((drive.frames, MOTION_SIZE), dtype=np.float32)
    for part in parts:
        generated = generate_part(part, drive, first_pose, sampling, clip_id)
        motion[:, list(part.columns)] = generated
    return motion
