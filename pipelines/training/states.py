"""Saved states of trainings that are not finished, kept beside the work cache.

A training is named by its key: a digest of everything that its bytes depend on. Two states are
kept, so that a damaged one costs an interval and not the training.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from pipelines.stores.storage import Storage

logger = logging.getLogger(__name__)

_KEPT = 2


class SavedState(Protocol):
    """A state of a training that can be written."""

    @property
    def steps(self) -> int:
        """Steps done."""
        ...

    def to_bytes(self, about: str) -> bytes:
        """One file; ``about`` names the training."""
        ...


S = TypeVar("S", bound=SavedState)


@dataclass(frozen=True)
class TrainingStates(Generic[S]):
    """The states of one training in ``storage``.

    Attributes:
        storage: the work cache's.
        key: names the training.
        decode: reads what a state's ``to_bytes`` wrote, given the key; a ``ValueError`` says why
            it cannot be used.
    """

    storage: Storage
    key: str
    decode: Callable[[bytes, str], S]

    @property
    def _folder(self) -> str:
        return f"training/{self.key[:2]}/{self.key}"

    def _names(self) -> list[str]:
        return [entry.name for entry in self.storage.list(self._folder)]

    def write(self, state: S) -> None:
        """Keep a state, whole or not at all; all but the last two are removed."""
        name = f"{self._folder}/{state.steps:09d}.safetensors"
        self.storage.write(name, state.to_bytes(self.key))
        for old in self._names()[:-_KEPT]:
            self.storage.remove(old)

    def latest(self) -> S | None:
        """The last state that can be read; None where there is none."""
        for name in reversed(self._names()):
            try:
                return self.decode(self.storage.read(name), self.key)
            except (ValueError, FileNotFoundError) as error:
                logger.warning("%s is left aside: %s", self.storage.uri(name), error)
        return None

    def clear(self) -> None:
        """Remove all states."""
        for name in self._names():
            self.storage.remove(name)
