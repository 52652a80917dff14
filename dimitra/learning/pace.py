"""How long steps take, and what follows from their number alone."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class StepTiming:
    """How long a step took; differs from run to run, so it is in no record of the training.

    Attributes:
        step_s: seconds from batch to batch.
        wait_s: of these, seconds in which the model waited for its batch.
        frames: real frames of the whole batch.
    """

    step_s: float
    wait_s: float
    frames: int


def ema_decay_at(step: int, decay: float) -> float:
    """Decay of averaged weights that starts low: the first weights leave no trace in short runs."""
    return min(decay, (1.0 + step) / (10.0 + step))


@contextlib.contextmanager
def deterministic(threads: int, algorithms: bool = True) -> Iterator[None]:
    """Run torch with ``threads`` CPU threads and deterministic algorithms, then restore.

    On CUDA the environment must hold ``CUBLAS_WORKSPACE_CONFIG=:4096:8`` before the first call.

    Args:
        threads: on the CPU.
        algorithms: whether the algorithms have to be deterministic.
    """
    were = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(algorithms)
    try:
        yield
    finally:
        torch.set_num_threads(were[0])
        torch.use_deterministic_algorithms(were[1])
