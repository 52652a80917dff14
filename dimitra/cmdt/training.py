"""Training of one cMDT: a plain loop over a stream of batches."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import nn

from dimitra.cmdt.dataset import Batch, Windows
from dimitra.cmdt.loss import losses
from dimitra.cmdt.model import CMDT
from dimitra.diffusion.schedule import NoiseSchedule, linear_schedule
from dimitra.diffusion.target import LossSpace, error_in_clean, target_of

WARM_UP_SHARE = 0.05
"""Share of the steps over which the learning rate rises to its peak; then it falls by a cosine."""


@dataclass(frozen=True)
class TrainingConfig:
    """How one model is trained.

    Attributes:
        steps: optimiser steps.
        learning_rate: peak of Adam's.
        grad_clip: largest gradient norm.
        ema: decay of the averaged weights; 0 keeps the last ones.
        loss_weight: the paper's lambda.
        first_pose_weight: weight of L_first.
        diffusion_steps: steps of the noise schedule.
        loss_space: where errors are counted, for models that do not predict x_0.
    """

    steps: int
    learning_rate: float
    grad_clip: float
    ema: float
    loss_weight: float
    first_pose_weight: float
    diffusion_steps: int
    loss_space: LossSpace = "x0"


@dataclass(frozen=True)
class StepRecord:
    """One row of the training curve.

    Attributes:
        step: from 0.
        loss: the weighted sum.
        diffusion: L_diff.
        first_pose: L_first.
        grad_norm: before clipping.
        learning_rate: of this step.
    """

    step: int
    loss: float
    diffusion: float
    first_pose: float
    grad_norm: float
    learning_rate: float


class TrainingDivergedError(RuntimeError):
    """The loss or the gradient is not a finite number; the message names step and batch."""


@contextlib.contextmanager
def deterministic(threads: int) -> Iterator[None]:
    """Run torch with deterministic algorithms and ``threads`` CPU threads, then restore.

    On CUDA the environment must hold ``CUBLAS_WORKSPACE_CONFIG=:4096:8`` before the first call.
    """
    were_threads = torch.get_num_threads()
    were_deterministic = torch.are_deterministic_algorithms_enabled()
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.set_num_threads(were_threads)
        torch.use_deterministic_algorithms(were_deterministic)


def learning_rate_at(step: int, config: TrainingConfig) -> float:
    """Linear warm-up, then a half cosine to zero."""
    warm_up = max(1, round(WARM_UP_SHARE * config.steps))
    if step < warm_up:
        return config.learning_rate * (step + 1) / warm_up
    progress = (step - warm_up) / max(1, config.steps - warm_up)
    return config.learning_rate * 0.5 * (1.0 + math.cos(math.pi * progress))


def ema_decay_at(step: int, decay: float) -> float:
    """Decay that starts low, so that early weights leave no trace in short runs."""
    return min(decay, (1.0 + step) / (10.0 + step))


def train_step(
    model: nn.Module,
    core: CMDT,
    batch: Batch,
    schedule: NoiseSchedule,
    optimiser: torch.optim.Optimizer,
    step: int,
    config: TrainingConfig,
) -> StepRecord:
    """One optimiser step.

    Args:
        model: what is called; ``core`` itself, or a wrapper of it that shares its weights.
        core: the model's own object, for its normalisation.
        batch: on the model's device.
        schedule: of ``config.diffusion_steps``.
        optimiser: over the model's weights.
        step: from 0.
        config: weights and rates.

    Raises:
        TrainingDivergedError: loss or gradient is not finite; the weights are left unchanged.
    """
    rate = learning_rate_at(step, config)
    for group in optimiser.param_groups:
        group["lr"] = rate
    clean = core.normalise(batch.clean)
    noisy = schedule.add_noise(clean, batch.noise, batch.steps)
    predicted = model(noisy, batch.steps, batch.mask, batch.conditions)
    target = core.config.target
    error = predicted - target_of(target, schedule, clean, batch.noise, batch.steps)
    if config.loss_space == "x0":
        error = error_in_clean(target, schedule, error, batch.steps)
    parts = losses(error, batch.mask, config.loss_weight, config.first_pose_weight)
    optimiser.zero_grad(set_to_none=True)
    parts.total.backward()  # type: ignore[no-untyped-call]
    norm = float(nn.utils.clip_grad_norm_(core.parameters(), config.grad_clip))
    record = StepRecord(
        step=step,
        loss=float(parts.total.detach()),
        diffusion=float(parts.diffusion.detach()),
        first_pose=float(parts.first_pose.detach()),
        grad_norm=norm,
        learning_rate=rate,
    )
    if not (math.isfinite(record.loss) and math.isfinite(norm)):
        raise TrainingDivergedError(
            f"step {step}: the loss is {record.loss}, the gradient norm {norm}, on the clips "
            f"{', '.join(batch.clip_ids)}; look for bad values in them, or lower the learning rate"
        )
    optimiser.step()
    return record


def train(
    model: CMDT,
    windows: Windows,
    config: TrainingConfig,
    device: torch.device,
    on_step: Callable[[StepRecord], None] | None = None,
) -> list[StepRecord]:
    """Train ``model`` in place; it ends with the averaged weights, on ``device``.

    Args:
        model: with ``shift`` and ``scale`` set where coefficients are normalised.
        windows: the stream of batches.
        config: weights and rates.
        device: to train on.
        on_step: called after every step.

    Returns:
        The curve, one record a step.

    Raises:
        TrainingDivergedError: loss or gradient is not finite.
    """
    model.to(device).train()
    schedule = linear_schedule(config.diffusion_steps)
    optimiser = torch.optim.Adam(model.parameters(), lr=config.learning_rate)
    averaged = [weight.detach().clone() for weight in model.parameters()]
    curve = []
    for step in range(config.steps):
        batch = windows.batch(step).to(device)
        record = train_step(model, model, batch, schedule, optimiser, step, config)
        decay = ema_decay_at(step, config.ema)
        with torch.no_grad():
            for average, weight in zip(averaged, model.parameters(), strict=True):
                average.lerp_(weight, 1.0 - decay)
        curve.append(record)
        if on_step is not None:
            on_step(record)
    with torch.no_grad():
        for average, weight in zip(averaged, model.parameters(), strict=True):
            weight.copy_(average)
    model.eval()
    return curve
