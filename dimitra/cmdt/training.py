"""Training of one cMDT: a plain loop over a stream of batches.

Several processes (``Peers``) train one model by sharing every batch: each computes the gradient of
its own windows, the gradients are added up, and all take the same step. With one process or many,
the sum is over the same windows with the same noise, so the losses agree up to rounding.

A training can stop after any step and go on from its ``TrainingState`` as if it had not stopped.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, cast

import torch
from torch import Tensor, nn

from dimitra.cmdt.batch import Batch
from dimitra.cmdt.dataset import Windows
from dimitra.cmdt.dropout import key
from dimitra.cmdt.loss import LossWeights, losses
from dimitra.cmdt.model import CMDT
from dimitra.cmdt.peers import Alone, Peers
from dimitra.cmdt.prefetch import AHEAD, batches
from dimitra.cmdt.resume import STATE, StepRecord
from dimitra.diffusion.schedule import NoiseSchedule, linear_schedule
from dimitra.diffusion.target import LossSpace, error_in_clean, target_of
from dimitra.diffusion.weighting import Weighting, level_weights
from dimitra.learning.pace import StepTiming, ema_decay_at
from dimitra.learning.state import TrainingState

Precision = Literal["float32", "bfloat16"]

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
        loss_weights: of L_diff (the paper's lambda), of L_first, of the velocity.
        diffusion_steps: steps of the noise schedule.
        loss_space: where errors are counted, for models that do not predict x_0.
        weighting: how much they count at each diffusion step.
        precision: of the forward and backward pass; weights, loss and moments stay float32.
        compiled: run the model through ``torch.compile``; it needs a C++ compiler on a CPU.
    """

    steps: int
    learning_rate: float
    grad_clip: float
    ema: float
    loss_weights: LossWeights
    diffusion_steps: int
    loss_space: LossSpace = "x0"
    weighting: Weighting = "uniform"
    precision: Precision = "float32"
    compiled: bool = False


class TrainingDivergedError(RuntimeError):
    """The loss or the gradient is not a finite number; the message names step and clips.

    Args:
        message: for a person.
        own: whether the bad values are in this process's windows.
    """

    def __init__(self, message: str, own: bool = True) -> None:
        super().__init__(message)
        self.own = own


def learning_rate_at(step: int, config: TrainingConfig) -> float:
    """Linear warm-up, then a half cosine to zero."""
    warm_up = max(1, round(WARM_UP_SHARE * config.steps))
    if step < warm_up:
        return config.learning_rate * (step + 1) / warm_up
    progress = (step - warm_up) / max(1, config.steps - warm_up)
    return config.learning_rate * 0.5 * (1.0 + math.cos(math.pi * progress))


def train_step(
    model: nn.Module,
    core: CMDT,
    batch: Batch,
    schedule: NoiseSchedule,
    optimiser: torch.optim.Optimizer,
    step: int,
    config: TrainingConfig,
    peers: Peers | None = None,
) -> tuple[StepRecord, int]:
    """One optimiser step.

    Args:
        model: what is called; ``core`` itself, or a wrapper of it that shares its weights.
        core: the model's own object, for its normalisation.
        batch: this process's windows, on the model's device.
        schedule: of ``config.diffusion_steps``.
        optimiser: over the model's weights.
        step: from 0.
        config: weights and rates.
        peers: the processes that share the batch.

    Returns:
        The record, and the real frames of the whole batch.

    Raises:
        TrainingDivergedError: loss or gradient is not finite; the weights are left unchanged.
    """
    peers = peers or Alone()
    rate = learning_rate_at(step, config)
    for group in optimiser.param_groups:
        group["lr"] = rate
    counts = torch.stack(
        [batch.mask.sum(), batch.mask.new_tensor(len(batch.mask), dtype=torch.int64)]
    )
    peers.add([counts])
    frames, windows = (int(count) for count in counts.tolist())
    clean = core.normalise(batch.clean)
    noisy = schedule.add_noise(clean, batch.noise, batch.steps)
    if core.config.dropout:
        key(core, batch.keys)
    half = config.precision == "bfloat16"
    with torch.autocast(clean.device.type, torch.bfloat16, enabled=half):
        predicted = model(noisy, batch.steps, batch.mask, batch.conditions)
    target = core.config.target
    error = predicted.float() - target_of(target, schedule, clean, batch.noise, batch.steps)
    if config.loss_space == "x0":
        error = error_in_clean(target, schedule, error, batch.steps)
    levels = None
    if config.weighting != "uniform":
        of_steps = torch.from_numpy(level_weights(schedule, config.weighting)).to(error)
        levels = of_steps[batch.steps]
    parts = losses(error, batch.mask, config.loss_weights, counts[0], windows, levels)
    optimiser.zero_grad(set_to_none=True)
    parts.total.backward()  # type: ignore[no-untyped-call]
    sums = torch.stack([parts.total, parts.diffusion, parts.first_pose, parts.velocity])
    sums = sums.detach()
    if peers.size > 1:
        peers.add([*_gradients(core), sums])
    norm = float(nn.utils.clip_grad_norm_(core.parameters(), config.grad_clip))
    total, diffusion, first_pose, velocity = sums.tolist()
    record = StepRecord(step, total, diffusion, first_pose, velocity, norm, rate)
    if not (math.isfinite(total) and math.isfinite(norm)):
        finite = (clean.isfinite() & predicted.isfinite()).all(dim=2).all(dim=1).tolist()
        bad = [i for i, good in zip(batch.clip_ids, finite, strict=True) if not good]
        raise TrainingDivergedError(
            f"step {step}: the loss is {total}, the gradient norm {norm}, on the clips "
            f"{', '.join(bad or batch.clip_ids)}; look for bad values in them, or lower the "
            "learning rate",
            own=bool(bad) or peers.size == 1,
        )
    optimiser.step()
    return record, frames


def _gradients(model: nn.Module) -> list[Tensor]:
    """The gradient of every weight: all processes must list the same, so none is left out."""
    for weight in model.parameters():
        if weight.grad is None:
            weight.grad = torch.zeros_like(weight)
    return [weight.grad for weight in model.parameters() if weight.grad is not None]


def train(
    model: CMDT,
    windows: Windows,
    config: TrainingConfig,
    device: torch.device,
    on_step: Callable[[StepRecord, StepTiming], None] | None = None,
    *,
    peers: Peers | None = None,
    resumed: TrainingState[StepRecord] | None = None,
    save_every: int = 500,
    on_state: Callable[[TrainingState[StepRecord]], None] | None = None,
    ahead: int = AHEAD,
) -> list[StepRecord]:
    """Train ``model`` in place; it ends with the averaged weights, on ``device``.

    Args:
        model: with ``shift`` and ``scale`` set where coefficients are normalised. Every process
            begins with the same weights.
        windows: the stream of batches.
        config: weights and rates.
        device: to train on.
        on_step: called after every step.
        peers: the processes that share every batch; by default this one alone.
        resumed: where an earlier training of the same settings stopped.
        save_every: steps between two calls of ``on_state``.
        on_state: is given the state, whose tensors are copies on the CPU; also after the last step.
        ahead: batches made ahead.

    Returns:
        The curve, one record a step, those before ``resumed`` included.

    Raises:
        TrainingDivergedError: loss or gradient is not finite.
        ValueError: ``resumed`` is the state of another model, or there are more processes than
            windows in a batch.
    """
    peers = peers or Alone()
    if peers.size > windows.batch_size:
        raise ValueError(
            f"{peers.size} processes cannot share a batch of {windows.batch_size} windows; raise "
            "train.batch, or lower train.workers"
        )
    model.to(device).train()
    schedule = linear_schedule(config.diffusion_steps)
    optimiser = torch.optim.Adam(model.parameters(), lr=config.learning_rate)
    averaged = [weight.detach().clone() for weight in model.parameters()]
    curve: list[StepRecord] = []
    if resumed is not None:
        resumed.restore(model, averaged, optimiser)
        curve = list(resumed.curve)
    begun = torch.tensor([len(curve)], device=device)
    peers.add([begun])
    if int(begun) != len(curve) * peers.size:
        raise ValueError(
            f"process {peers.rank} has a state after {len(curve)} steps, another process has not"
        )
    called = cast("nn.Module", torch.compile(model)) if config.compiled else model
    steps = range(len(curve), config.steps)
    asked = time.perf_counter()
    for step, batch in zip(
        steps, batches(windows, steps, device, peers.rank, peers.size, ahead), strict=True
    ):
        came = time.perf_counter()
        record, frames = train_step(called, model, batch, schedule, optimiser, step, config, peers)
        decay = ema_decay_at(step, config.ema)
        with torch.no_grad():
            torch._foreach_lerp_(averaged, list(model.parameters()), 1.0 - decay)
        curve.append(record)
        now = time.perf_counter()
        if on_step is not None:
            on_step(record, StepTiming(now - asked, came - asked, frames))
        asked = now
        done = step + 1
        if on_state is not None and (done == config.steps or done % save_every == 0):
            on_state(STATE.of(model, averaged, optimiser, curve))
    with torch.no_grad():
        for average, weight in zip(averaged, model.parameters(), strict=True):
            weight.copy_(average)
    model.eval()
    return curve
