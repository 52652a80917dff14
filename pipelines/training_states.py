"""Saved states of trainings that are not finished, kept beside the work cache.

A training is named by its key: a digest of everything that its bytes depend on. Two states are
kept, so that a damaged one costs an interval and not the training.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

from dimitra.cmdt.resume import StateError, TrainingState
from pipelines.storage import Storage

logger = logging.getLogger(__name__)

_KEPT = 2


@dataclass(frozen=True)
class TrainingStates:
    """The states of one training in ``storage``.

    Attributes:
        storage: the work cache's.
        key: names the training.
    """

    storage: Storage
    key: str

    @property
    def _folder(self) -> str:
        return f"training/{self.key[:2]}/{self.key}"

    def _names(self) -> list[str]:
        return [entry.name for entry in self.storage.list(self._folder)]

    def write(self, state: TrainingState) -> None:
        """Keep a state, whole or not at all; all but the last two are removed."""
        name = f"{self._folder}/{state.steps:09d}.safetensors"
        self.storage.write(name, state.to_bytes(self.key))
        for old in self._names()[:-_KEPT]:
            self.storage.remove(old)

    def latest(self) -> TrainingState | None:
        """The last state that can be read; None where there is none."""
        for name in reversed(self._names()):
            try:
                return TrainingState.from_bytes(self.storage.read(name), self.key)
            except (StateError, FileNotFoundError) as error:
                logger.warning("%s is left aside: %s", self.storage.uri(name), error)
        return None

    def clear(self) -> None:
        """Remove all states."""
        for name in self._names():
            self.storage.remove(name)
