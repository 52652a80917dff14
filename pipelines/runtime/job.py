"""What a stage declares: its work, and what each of its workers needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pipelines.params import StageResources
from pipelines.runtime.quarantine import QuarantineRow
from pipelines.runtime.units import Unit


@dataclass(frozen=True)
class Resources:
    """What one worker asks Ray for.

    Attributes:
        cpus: cores; every numeric library runs with one thread all the same.
        gpus: GPUs, or a fraction of one.
        memory_mb: memory set aside; Ray places workers by it and does not enforce it.
        batch: clips handed to the worker at once, where it takes several.
        workers: actors of this stage; None for ``ray.workers``.
    """

    cpus: float = 1.0
    gpus: float = 0.0
    memory_mb: int = 0
    batch: int = 1
    workers: int | None = None

    def overridden(self, given: StageResources | None) -> Resources:
        """With what ``ray.stages`` says in place of the defaults."""
        return self if given is None else replace(self, **given.model_dump(exclude_none=True))

    @property
    def ahead(self) -> bool:
        """Whether workers load the next batch while they process one."""
        return self.gpus > 0 or self.batch > 1

    def demands(self) -> dict[str, float]:
        """In Ray's names, memory in bytes."""
        wanted = {"CPU": self.cpus, "GPU": self.gpus, "memory": self.memory_mb * 1e6}
        return {name: amount for name, amount in wanted.items() if amount}


@dataclass(frozen=True)
class Job:
    """A stage's work.

    Attributes:
        stage: ``crop``.
        worker: ``pipelines.crop:make_worker``, a function from ``params`` to a ``Worker`` or a
            ``BatchWorker``, called once in every actor.
        params: JSON values: all that the worker needs and that the bytes depend on.
        units: the output shards.
        output: the stage's folder, ``data/crops``.
        budget: largest quarantined share of the clips.
        deadline_s: longest time a clip may take, seconds.
        seed: seed of the run.
        assets: third-party weights that the worker loads.
        corpus_inputs: files or folders that the worker reads whole (aligner, models, statistics).
        carried: files that the worker reads, whose content is already in its units' keys.
        packages: distributions whose version the bytes depend on.
        refused: clips that were found bad before any work; they count as clips in.
        resources: what each worker needs, unless ``ray.stages`` says otherwise.
        media: dataset to the folder of its raw files, for a worker that reads them.
        loading_s: longest time that a worker may load its models, seconds; where nodes share no
            path this includes fetching them.
    """

    stage: str
    worker: str
    params: Mapping[str, Any]
    units: tuple[Unit, ...]
    output: Path
    budget: float
    deadline_s: float
    seed: int = 0
    assets: tuple[str, ...] = ()
    corpus_inputs: tuple[Path, ...] = ()
    carried: tuple[Path, ...] = ()
    packages: tuple[str, ...] = ()
    refused: tuple[QuarantineRow, ...] = ()
    resources: Resources = Resources()
    media: Mapping[str, str] = field(default_factory=dict)
    loading_s: float = 1800.0
