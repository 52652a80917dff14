"""CPU time of this process and of everything that Ray started below it, by part of the runtime."""

from __future__ import annotations

import resource
import threading
import time
from collections import defaultdict
from types import TracebackType
from typing import Self

import psutil

_PARTS = {
    "ray::ShardActor": "workers",
    "ray::Record": "record",
    "raylet": "raylet",
    "gcs_server": "gcs",
}
_EVERY_S = 0.5


def _part(process: psutil.Process) -> str:
    line = " ".join(process.cmdline()[:1])
    return next((part for name, part in _PARTS.items() if name in line), "other")


class Usage:
    """Samples CPU seconds and resident memory while its ``with`` block runs.

    What a process used after its last sample, half a second at most, is not seen.

    Attributes:
        wall_s: seconds that the block took.
        cpu_s: CPU seconds by part: ``driver``, ``workers``, ``record``, ``raylet``, ``gcs``,
            ``other``.
        peak_mb: largest resident memory of one process of the part, MB of 10^6 bytes.
    """

    def __init__(self) -> None:
        self.wall_s = 0.0
        self.cpu_s: dict[str, float] = {}
        self.peak_mb: dict[str, float] = defaultdict(float)
        self._seen: dict[int, tuple[str, float]] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._own_s = 0.0

    def _watch(self) -> None:
        me = psutil.Process()
        while not self._stop.wait(_EVERY_S):
            for process in me.children(recursive=True):
                try:
                    part, times = _part(process), process.cpu_times()
                    memory = process.memory_info().rss / 1e6
                except psutil.Error:  # it ended
                    continue
                self._seen[process.pid] = (part, times.user + times.system)
                self.peak_mb[part] = max(self.peak_mb[part], memory)
        self._own_s = time.thread_time()

    def __enter__(self) -> Self:
        self._began = (time.monotonic(), time.process_time())
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join()
        self.wall_s = time.monotonic() - self._began[0]
        total: dict[str, float] = defaultdict(float)
        for part, seconds in self._seen.values():
            total[part] += seconds
        total["driver"] = time.process_time() - self._began[1] - self._own_s
        self.cpu_s = dict(total)
        peak_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        self.peak_mb["driver"] = peak_kib * 1024 / 1e6
