"""Arithmetic of torch in which a repeat gives the same bytes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def exact_arithmetic() -> Iterator[None]:
    """No gradients, no TF32, no algorithm chosen by timing: a repeat gives the same bytes."""
    matmul = torch.backends.cuda.matmul
    allowed = matmul.allow_tf32
    matmul.allow_tf32 = False
    try:
        with (
            torch.backends.cudnn.flags(
                enabled=True, benchmark=False, deterministic=True, allow_tf32=False
            ),
            torch.inference_mode(),
        ):
            yield
    finally:
        matmul.allow_tf32 = allowed
