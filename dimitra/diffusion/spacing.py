"""Which of the diffusion steps a sampler visits."""

from __future__ import annotations

import math
from typing import Literal, TypeAlias

import numpy as np

from dimitra.diffusion.schedule import NoiseSchedule

Spacing: TypeAlias = Literal["leading", "trailing", "log_snr"]


def spaced_steps(
    schedule: NoiseSchedule, count: int, spacing: Spacing = "leading"
) -> tuple[int, ...]:
    """``count`` steps of the schedule, ascending.

    Args:
        schedule: of the denoiser.
        count: denoiser calls a sample.
        spacing: ``leading``: at one stride from 0, as guided-diffusion's ``ddim<count>`` (500 steps
            and a count of 25 give 0, 20, ..., 480). ``trailing``: at one stride down from the
            noisiest step (Lin et al., 2024), for a few steps: the first sees what it was trained
            on, pure noise. ``log_snr``: from the noisiest to the least noisy, even in the
            logarithm of the signal-to-noise ratio (Lu et al., 2022), DPM-Solver's own time.

    Raises:
        ValueError: no whole stride gives exactly ``count`` leading steps, there are fewer steps
            than asked for, or so many that neighbours in log-SNR coincide.
    """
    steps = schedule.steps
    if not 1 <= count <= steps:
        raise ValueError(f"{count} sampling steps asked for, but 1 to {steps} exist")
    if spacing == "leading":
        return _leading(steps, count)
    if spacing == "trailing":
        return tuple(round((index + 1) * steps / count) - 1 for index in range(count))
    return _even_in_log_snr(schedule, count)


def _leading(steps: int, count: int) -> tuple[int, ...]:
    stride = math.ceil(steps / count)
    chosen = tuple(range(0, steps, stride))
    if len(chosen) != count:
        allowed = sorted({math.ceil(steps / stride) for stride in range(1, steps + 1)})
        nearest = sorted(sorted(allowed, key=lambda value: abs(value - count))[:4])
        raise ValueError(
            f"no stride over {steps} diffusion steps gives {count} sampling steps; "
            f"the nearest counts that work: {nearest}"
        )
    return chosen


def _even_in_log_snr(schedule: NoiseSchedule, count: int) -> tuple[int, ...]:
    """The steps nearest to even positions; the noisiest alone where one is asked for."""
    times = np.array([schedule.log_snr_of(step) for step in range(schedule.steps)])
    wanted = np.linspace(times[-1], times[0], count)
    chosen = tuple(sorted({int(np.abs(times - time).argmin()) for time in wanted}))
    if len(chosen) != count:
        raise ValueError(
            f"{count} sampling steps even in log-SNR, but only {len(chosen)} of "
            f"{schedule.steps} diffusion steps differ: ask for fewer, or space them otherwise"
        )
    return chosen
