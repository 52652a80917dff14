"""Batches made in threads while the model is busy with the one before."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import torch

from dimitra.cmdt.batch import Batch
from dimitra.cmdt.dataset import Windows

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

    A batch is a function of its step, so it does not matter which thread makes it or when. An
    error in a thread is raised where its batch would have come.

    Args:
        windows: the stream.
        steps: which.
        device: where to; copied there by the threads too.
        rank: of this process.
        peers: number of processes.
        ahead: batches made ahead; 0 makes each when it is asked for.
    """
    if ahead == 0:
        for step in steps:
            yield windows.packed(step, rank, peers).to(device)
        return

    def make(step: int) -> Batch:
        return windows.packed(step, rank, peers).to(device)

    with ThreadPoolExecutor(ahead, thread_name_prefix="batches") as pool:
        waiting: deque[Future[Batch]] = deque()
        coming = iter(steps)
        try:
            for step in coming:
                waiting.append(pool.submit(make, step))
                if len(waiting) > ahead:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
