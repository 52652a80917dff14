"""Batches made in threads while the model is busy with the one before."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

B = TypeVar("B")


def made_ahead(make: Callable[[int], B], steps: range, ahead: int) -> Iterator[B]:
    """What ``make`` gives for each of ``steps``, in order.

    A batch is a function of its step, so it does not matter which thread makes it or when. An
    error in a thread is raised where its batch would have come.

    Args:
        make: makes the batch of a step; called from ``ahead`` threads.
        steps: which.
        ahead: batches that are being made, or wait; 0 makes each when it is asked for.
    """
    if ahead == 0:
        yield from map(make, steps)
        return
    with ThreadPoolExecutor(ahead, thread_name_prefix="batches") as pool:
        waiting: deque[Future[B]] = deque()
        try:
            for step in steps:
                waiting.append(pool.submit(make, step))
                if len(waiting) > ahead:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
