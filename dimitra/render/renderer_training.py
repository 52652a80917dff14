"""Training of PIRender's network: first the warping net, then warping and editing together.

As Ren et al. (2021) train it: Adam with betas 0.5 and 0.999, a rate that falls in steps, weights
averaged over time, no adversary. A training can stop after any step and go on from its
``TrainingState`` as if it had not stopped.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from dimitra.learning.pace import StepTiming, ema_decay_at
from dimitra.learning.prefetch import made_ahead
from dimitra.learning.state import TrainingState
from dimitra.morphable.deng_coefficients import DESCRIPTOR_SIZE
from dimitra.render.pirender_network import PIRenderNet
from dimitra.render.reconstruction import Reconstruction
from dimitra.render.renderer_pairs import PairBatch, Pairs
from dimitra.render.renderer_state import STATE, RendererStep

BETAS = (0.5, 0.999)
AHEAD = 2
"""Batches that are being made, or wait."""
FIRST = "mapping_net.first.0"
"""The layer that sees the descriptors."""


@dataclass(frozen=True)
class RendererTraining:
    """How a renderer is trained; the defaults are PIRender's.

    Attributes:
        steps: optimiser steps.
        warp_steps: of these, the first ones, which train mapping and warping alone.
        learning_rate: of the first steps.
        decay: factor of the rate every ``decay_every`` steps.
        decay_every: steps.
        ema: decay of the averaged weights; PIRender's halves a weight's trace in 312 steps.
        warp_weight: of the moved photo's loss.
        final_weight: of the drawn picture's.
        precision: of the network; weights, losses and moments stay float32.
    """

    steps: int = 400_000
    warp_steps: int = 200_000
    learning_rate: float = 1e-4
    decay: float = 0.2
    decay_every: int = 300_000
    ema: float = 0.5 ** (32 / 10_000)
    warp_weight: float = 2.5
    final_weight: float = 4.0
    precision: Literal["float32", "bfloat16"] = "float32"


class RendererDivergedError(RuntimeError):
    """Loss or gradient is not a finite number; the message names step and clips."""


@dataclass(frozen=True, eq=False)
class DescriptorScale:
    """Shift and scale [73] of the descriptors that the network is trained on.

    Raw descriptors hold pixels of about 128 beside radians of about 0.01, and little would be
    learnt of the latter in few steps. The published network has no such layer: ``folded`` puts it
    into the first convolution, so that what is saved takes raw descriptors.
    """

    shift: Tensor
    scale: Tensor

    @classmethod
    def none(cls) -> DescriptorScale:
        """Raw descriptors, as PIRender trains."""
        return cls(torch.zeros(DESCRIPTOR_SIZE), torch.ones(DESCRIPTOR_SIZE))

    def __call__(self, window: Tensor) -> Tensor:
        """Windows [B, 73, 27] as the network in training sees them."""
        shift, scale = (one.to(window)[:, None] for one in (self.shift, self.scale))
        return (window - shift) / scale

    def folded(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Weights that make of raw descriptors what ``state`` makes of scaled ones."""
        weight = state[f"{FIRST}.weight"].double()
        narrow = weight / self.scale.double()[:, None]
        bias = state[f"{FIRST}.bias"].double()
        moved = bias - (narrow * self.shift.double()[:, None]).sum(dim=(1, 2))
        return state | {f"{FIRST}.weight": narrow.float(), f"{FIRST}.bias": moved.float()}


def learning_rate_at(step: int, config: RendererTraining) -> float:
    """The rate falls by ``decay`` every ``decay_every`` steps."""
    return float(config.learning_rate * config.decay ** (step // config.decay_every))


def train_step(
    network: PIRenderNet,
    batch: PairBatch,
    scale: DescriptorScale,
    loss_of: Reconstruction,
    optimiser: torch.optim.Optimizer,
    step: int,
    config: RendererTraining,
) -> RendererStep:
    """One optimiser step.

    Raises:
        RendererDivergedError: loss or gradient is not finite; the weights are left unchanged.
    """
    rate = learning_rate_at(step, config)
    for group in optimiser.param_groups:
        group["lr"] = rate
    joint = step >= config.warp_steps
    half = config.precision == "bfloat16"
    with torch.autocast(batch.photo.device.type, torch.bfloat16, enabled=half):
        if joint:
            drawn = network(batch.photo, scale(batch.window))
            picture, warped = drawn.picture, drawn.warped
        else:
            _, warped, _ = network.move(batch.photo, scale(batch.window))
    warp = loss_of(warped, batch.target, batch.region, style=False)
    total, final = config.warp_weight * warp, warp.new_zeros(())
    if joint:
        final = loss_of(picture, batch.target, batch.region, style=True)
        total = total + config.final_weight * final
    optimiser.zero_grad(set_to_none=True)
    total.backward()  # type: ignore[no-untyped-call]
    gradients = [one.grad for one in network.parameters() if one.grad is not None]
    norm = float(torch.nn.utils.get_total_norm(gradients))
    loss, moved, ended = (float(one.detach()) for one in (total, warp, final))
    if not (math.isfinite(loss) and math.isfinite(norm)):
        good = warped.isfinite().flatten(1).all(1) & batch.target.isfinite().flatten(1).all(1)
        names = zip(batch.clip_ids, good.tolist(), strict=True)
        bad = [clip_id for clip_id, finite in names if not finite] or batch.clip_ids
        raise RendererDivergedError(
            f"step {step}: the loss is {loss}, the gradient norm {norm}, on the clips "
            f"{', '.join(dict.fromkeys(bad))}; look for bad values in them, or lower the "
            "learning rate"
        )
    optimiser.step()
    return RendererStep(step, loss, moved, ended, norm, rate)


def train_renderer(
    network: PIRenderNet,
    pairs: Pairs,
    scale: DescriptorScale,
    loss_of: Reconstruction,
    config: RendererTraining,
    device: torch.device,
    on_step: Callable[[RendererStep, StepTiming], None] | None = None,
    *,
    resumed: TrainingState[RendererStep] | None = None,
    save_every: int = 500,
    on_state: Callable[[TrainingState[RendererStep]], None] | None = None,
    ahead: int = AHEAD,
) -> list[RendererStep]:
    """Train ``network`` in place; it ends with the averaged weights, on ``device``.

    The weights are those for scaled descriptors: ``scale.folded`` gives the ones to be saved.

    Args:
        network: to train.
        pairs: the stream of batches.
        scale: of the descriptors.
        loss_of: the loss, with its own weights on ``device``.
        config: steps and rates.
        device: to train on.
        on_step: called after every step.
        resumed: where an earlier training of the same settings stopped.
        save_every: steps between two calls of ``on_state``.
        on_state: is given the state, whose tensors are copies; also after the last step.
        ahead: batches made ahead in threads; 0 makes each when it is asked for.

    Returns:
        The curve, those steps before ``resumed`` included.

    Raises:
        RendererDivergedError: loss or gradient is not finite.
        StateError: ``resumed`` is another network's.
        ValueError: a clip cannot be used.
    """
    network.to(device).train().requires_grad_()
    optimiser = torch.optim.Adam(network.parameters(), lr=config.learning_rate, betas=BETAS)
    averaged = [weight.detach().clone() for weight in network.parameters()]
    curve: list[RendererStep] = []
    if resumed is not None:
        resumed.restore(network, averaged, optimiser)
        curve = list(resumed.curve)
    steps = range(len(curve), config.steps)
    asked = time.perf_counter()
    for step, made in zip(steps, made_ahead(pairs.batch, steps, ahead), strict=True):
        batch = made.to(device)
        came = time.perf_counter()
        curve.append(train_step(network, batch, scale, loss_of, optimiser, step, config))
        with torch.no_grad():
            share = 1.0 - ema_decay_at(step, config.ema)
            torch._foreach_lerp_(averaged, list(network.parameters()), share)
        now = time.perf_counter()
        if on_step is not None:
            on_step(curve[-1], StepTiming(now - asked, came - asked, len(batch.clip_ids)))
        asked = now
        done = step + 1
        if on_state is not None and (done == config.steps or done % save_every == 0):
            on_state(STATE.of(network, averaged, optimiser, curve))
    with torch.no_grad():
        for average, weight in zip(averaged, network.parameters(), strict=True):
            weight.copy_(average)
    network.eval().requires_grad_(requires_grad=False)
    return curve
