"""What the network is trained to predict, and x_0 back from it.

Dimitra's network predicts x_0. Options are the noise ``eps`` (Ho et al., 2020) and the velocity
``v = sqrt(abar) eps - sqrt(1 - abar) x_0`` (Salimans and Ho, 2022): with x_t known, each of the
three gives the other two.
"""

from __future__ import annotations

import math
from typing import Literal, TypeAlias

from torch import Tensor

from dimitra.diffusion.schedule import NoiseSchedule

Target: TypeAlias = Literal["x0", "epsilon", "v"]
LossSpace: TypeAlias = Literal["target", "x0"]
"""Where errors are counted: in what the network says, or in the x_0 that follows from it."""


def target_of(
    target: Target, schedule: NoiseSchedule, clean: Tensor, noise: Tensor, steps: Tensor
) -> Tensor:
    """What the network should have said.

    Args:
        target: what it predicts.
        schedule: of the diffusion steps.
        clean: [B, ...] x_0.
        noise: [B, ...] the noise that made x_t of it.
        steps: [B] int64 step of each sample.
    """
    if target == "x0":
        return clean
    if target == "epsilon":
        return noise
    signal, spread = schedule.weights_of(steps, clean)
    return signal * noise - spread * clean


def error_in_clean(target: Target, schedule: NoiseSchedule, error: Tensor, steps: Tensor) -> Tensor:
    """Error in x_0, up to its sign, that an error in the network's output makes.

    Args:
        target: what the network predicts.
        schedule: of the diffusion steps.
        error: [B, ...] in the output.
        steps: [B] int64 step of each sample.
    """
    if target == "x0":
        return error
    signal, spread = schedule.weights_of(steps, error)
    return spread * error if target == "v" else spread / signal * error


def clean_from(
    target: Target, schedule: NoiseSchedule, output: Tensor, noisy: Tensor, step: int
) -> Tensor:
    """x_0 from the network's output.

    Args:
        target: what the network predicts.
        schedule: of the diffusion steps.
        output: [B, ...] of the network.
        noisy: [B, ...] x_t that it saw.
        step: t, of all samples.
    """
    if target == "x0":
        return output
    kept = schedule.alpha_bar_of(step)
    signal, spread = math.sqrt(kept), math.sqrt(1.0 - kept)
    if target == "epsilon":
        return (noisy - spread * output) / signal
    return signal * noisy - spread * output
