"""Values kept in memory up to a number of bytes; what was used longest ago goes first."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

V = TypeVar("V")


class ByteCache(Generic[V]):
    """Reads by name, from memory where it was read lately; used from any thread.

    Args:
        read: makes a value.
        size: of a value, bytes.
        limit: bytes kept; a value larger than that is not kept.
    """

    def __init__(self, read: Callable[[str], V], size: Callable[[V], int], limit: int) -> None:
        self._read, self._size, self._limit = read, size, limit
        self._kept: OrderedDict[str, V] = OrderedDict()
        self._lock = threading.Lock()
        self.held = 0
        """Bytes kept."""

    def get(self, name: str) -> V:
        """The value of a name; several threads may read it at once."""
        with self._lock:
            if name in self._kept:
                self._kept.move_to_end(name)
                return self._kept[name]
        value = self._read(name)
        size = self._size(value)
        with self._lock:
            if name not in self._kept and size <= self._limit:
                self._kept[name] = value
                self.held += size
                while self.held > self._limit:
                    self.held -= self._size(self._kept.popitem(last=False)[1])
        return value
