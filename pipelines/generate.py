"""Generate the motion of every test clip: `python -m pipelines.generate`.

From the fitted first pose and the speech alone; a clip's other frames are not looked at.
`generated.npz` is the first of `generate.samples` samples; the others, from other noise, lie in
`samples.npz`, `motion` [S - 1, T, 70], for the numbers that need several.
"""

from __future__ import annotations

import functools
import sys
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dimitra.clips import Clip
from dimitra.cmdt.checkpoint import load as load_part
from dimitra.cmdt.dataset import ShardCorpus
from dimitra.cmdt.parts import parts_of
from dimitra.cmdt.recursion import SamplingConfig, generate_motion
from dimitra.seeds import clip_seed
from dimitra.shards import Members, Sidecar, npz_bytes
from pipelines.lineage.record import with_lineage
from pipelines.params import load
from pipelines.runtime.jobs import Job, Unit, Worker, read_manifest, run
from pipelines.runtime.mainguard import guarded
from pipelines.runtime.units import sidecars_of
from pipelines.training.sampling_check import check_sampling

SHARDS = Path("data/shards")
MODELS = Path("models")
OUTPUT = Path("data/generated")


def shard_of(clip: Clip) -> Path:
    """The test shard that holds a clip."""
    return SHARDS / f"test-{clip.dataset}-{clip.shard:05d}.tar"


def make_worker(params: dict[str, Any]) -> Worker:
    """Worker that generates the motion of one clip.

    Args:
        params: ``models``, ``samples`` and the fields of ``SamplingConfig``.
    """
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    settings = dict(params)
    models = [load_part(MODELS / part) for part in parts_of(settings.pop("models"))]
    others = range(1, settings.pop("samples"))
    sampling = SamplingConfig(**settings)
    open_shard = functools.lru_cache(maxsize=2)(lambda path: ShardCorpus([path]))

    def worker(clip: Clip, parts: Members) -> Members:  # noqa: ARG001 - by Worker's signature
        source = open_shard(shard_of(clip)).load(clip.clip_id)
        motions = [
            generate_motion(models, source.drive, source.motion[0], one, clip.clip_id)
            for one in (sampling, *(sample_of(sampling, number) for number in others))
        ]
        made = {"generated.npz": npz_bytes({"motion": motions[0]})}
        if others:
            made["samples.npz"] = npz_bytes({"motion": np.stack(motions[1:])})
        return made

    return worker


def sample_of(sampling: SamplingConfig, number: int) -> SamplingConfig:
    """The same sampling with the noise of another sample; how many there are changes none."""
    return replace(sampling, seed=clip_seed(sampling.seed, "sample", str(number)))


def plan(clips: list[Clip]) -> tuple[Unit, ...]:
    """One unit per shard number, over the test shards of every dataset."""
    by_id = {clip.clip_id: clip for clip in clips}
    shards: dict[str, dict[Path, Sidecar]] = defaultdict(dict)
    for path, sidecar in sidecars_of(SHARDS).items():
        if path.name.startswith("test-"):
            shards[path.stem.rpartition("-")[2]][path] = sidecar
    units = []
    for name, found in sorted(shards.items()):
        ids = sorted(clip_id for sidecar in found.values() for clip_id in sidecar.clip_ids)
        units.append(Unit(name, tuple(by_id[i] for i in ids), (), files=tuple(found)))
    return tuple(units)


def main() -> None:
    """Run the stage."""
    params = load()
    check_sampling(params)
    job = Job(
        stage="generate",
        worker="pipelines.generate:make_worker",
        params=params.generate.model_dump(exclude={"deadline_s"}) | {"seed": params.seed},
        units=plan(read_manifest()),
        output=OUTPUT,
        budget=params.budgets.generate,
        deadline_s=params.generate.deadline_s,
        seed=params.seed,
        corpus_inputs=tuple(MODELS / part for part in parts_of(params.generate.models)),
        packages=("torch",),
    )
    run(job, params.ray, params.storage)


if __name__ == "__main__":
    sys.exit(guarded(with_lineage(main)))
