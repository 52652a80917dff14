"""Batches made in threads while the model is busy with the one before."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from dimitra.cmdt.batch import Batch
from dimitra.cmdt.dataset import Windows
from dimitra.learning.prefetch import made_ahead

AHEAD = 4
"""Batches that are being made or wait."""


def batches(
    windows: Windows,
    steps: range,
    device: torch.device,
    rank: int = 0,
    peers: int = 1,
    ahead: int = AHEAD,
) -> Iterator[Batch]:
    """The batches of ``steps``, in order, on ``device``.

    Args:
        windows: the stream.
        steps: which.
        device: where to; sent and laid out there by the threads too.
        rank: of this process.
        peers: number of processes.
        ahead: batches made ahead; 0 makes each when it is asked for.
    """
    return made_ahead(lambda step: windows.packed(step, rank, peers).to(device), steps, ahead)
