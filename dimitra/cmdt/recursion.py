"""Motion of any length, generated in chunks of at most N frames from the last generated pose.

Each chunk after the first begins at a frame of the one before: that pose is its condition. The
mouth's condition is reset to the clip's first mouth at every chunk, as in the authors' code, so
that errors of the mouth do not add up; what was generated is never written over.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dimitra.cmdt.batch import PackedConditions
from dimitra.cmdt.checkpoint import TrainedPart
from dimitra.cmdt.chunks import chunk_bounds, join
from dimitra.cmdt.conditions import Conditions
from dimitra.cmdt.drive import Drive
from dimitra.diffusion.samplers import Denoiser, Sampler, sample
from dimitra.diffusion.schedule import linear_schedule
from dimitra.diffusion.spacing import Spacing, spaced_steps
from dimitra.diffusion.target import clean_from
from dimitra.morphable.coefficients import MOTION_SIZE
from dimitra.seeds import clip_seed

MouthRule: TypeAlias = Literal["reset", "carry"]


@dataclass(frozen=True)
class SamplingConfig:
    """How motion is sampled.

    Attributes:
        sampler: ``ddim`` (eta 0), ``ancestral`` or ``dpm_solver``.
        steps: denoising steps a chunk.
        seed: of the run; the noise comes from (seed, clip id, part, chunk).
        spacing: which of the diffusion steps.
        guidance: weight of the motion with speech against that without (Ho and Salimans, 2021); 1
            is the plain conditional model.
        overlap: frames blended at a seam.
        mouth: ``reset``: each chunk's condition has the clip's first mouth; ``carry``: the last
            generated one, as for all other values.
    """

    sampler: Sampler
    steps: int
    seed: int
    spacing: Spacing = "leading"
    guidance: float = 1.0
    overlap: int = 0
    mouth: MouthRule = "reset"


def denoiser_of(
    trained: TrainedPart, conditions: Conditions, mask: Tensor, guidance: float = 1.0
) -> Denoiser:
    """The part's model under fixed conditions, as samplers call it: x_0 from x_t.

    The conditions are encoded once, whatever the number of steps.

    Args:
        trained: the part.
        conditions: of B windows, on the model's device.
        mask: [B, N] bool, True for the real frames.
        guidance: x_0 is extrapolated from that without speech to that with it by this factor.

    Raises:
        ValueError: guidance of a model that was never trained without speech.
    """
    if guidance != 1.0 and trained.null_probability == 0.0:
        raise ValueError(
            f"guidance of {guidance}, but the part {trained.part} was never trained without "
            "speech: train it with diffusion.null_probability over 0, or leave guidance at 1"
        )
    model = trained.model
    schedule = linear_schedule(trained.diffusion_steps)

    def under(given: Conditions) -> Denoiser:
        encoded = model.encode(given)

        def denoise(noisy: Tensor, step: int) -> Tensor:
            level = torch.full((len(noisy),), step, dtype=torch.int64, device=noisy.device)
            output = model.denoise(noisy, level, mask, encoded)
            return clean_from(model.config.target, schedule, output, noisy, step)

        return denoise

    heard = under(conditions)
    if guidance == 1.0:
        return heard
    unheard = under(conditions.unheard())

    def guided(noisy: Tensor, step: int) -> Tensor:
        return torch.lerp(unheard(noisy, step), heard(noisy, step), guidance)

    return guided


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
        sampling: sampler, steps, seed and seams.
        clip_id: names the noise.

    Returns:
        [T, d].

    Raises:
        ValueError: steps, overlap or guidance that the model does not allow.
    """
    model = trained.model
    device = model.shift.device
    schedule = linear_schedule(trained.diffusion_steps)
    steps = spaced_steps(schedule, sampling.steps, sampling.spacing)
    columns = list(trained.columns)
    first = torch.from_numpy(np.ascontiguousarray(first_pose[columns], dtype=np.float32))
    resets = torch.tensor(
        [sampling.mouth == "reset" and column in trained.mouth for column in columns]
    )
    motion = first[None]
    for index, (start, end) in enumerate(
        chunk_bounds(drive.frames, model.config.frames, sampling.overlap)
    ):
        pose = torch.where(resets, first, motion[start])
        window = drive.window(start, end - start, trained.speech_window)
        conditions = PackedConditions.of([window], pose[None]).to(device)
        mask = torch.ones(1, end - start, dtype=torch.bool, device=device)
        generator = torch.Generator().manual_seed(
            clip_seed(sampling.seed, clip_id, trained.part, str(index))
        )
        noise = torch.randn(1, end - start, len(columns), generator=generator)
        denoise = denoiser_of(trained, conditions, mask, sampling.guidance)
        drawn = sample(sampling.sampler, denoise, noise.to(device), schedule, steps, generator)
        chunk = model.denormalise(drawn)[0].cpu()
        motion = join(motion, chunk, sampling.overlap) if index else chunk
    return motion.numpy()


def generate_motion(
    parts: Sequence[TrainedPart],
    drive: Drive,
    first_pose: NDArray[np.float32],
    sampling: SamplingConfig,
    clip_id: str,
) -> NDArray[np.float32]:
    """Generate a clip's motion [T, 70] from its first pose and its speech.

    Args:
        parts: models whose columns cover the 70 values once each: the paper's three, or one of all.
        drive: speech, phonemes and text of T frames.
        first_pose: [70] motion values of the first frame.
        sampling: sampler, steps, seed and seams.
        clip_id: names the noise.

    Raises:
        ValueError: the parts do not cover every column exactly once, or see ``generate_part``.
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
