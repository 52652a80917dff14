"""Generate the motion of every test clip: `python -m pipelines.generate`.

From the fitted first pose and the speech alone; a clip's other frames are not looked at.
"""

from __future__ import annotations

import functools
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import torch

from dimitra.clips import Clip
from dimitra.cmdt.checkpoint import load as load_part
from dimitra.cmdt.dataset import ShardCorpus
from dimitra.cmdt.recursion import SamplingConfig, generate_motion
from dimitra.diffusion.samplers import spaced_steps
from dimitra.morphable.coefficients import PARTS
from dimitra.shards import Members, Sidecar, npz_bytes
from pipelines.jobs import Job, Unit, Worker, read_manifest, run
from pipelines.mainguard import StageError, guarded
from pipelines.params import Params, load
from pipelines.units import sidecars_of

SHARDS = Path("data/shards")
MODELS = Path("models")
OUTPUT = Path("data/generated")


def shard_of(clip: Clip) -> Path:
    """The test shard that holds a clip."""
    return SHARDS / f"test-{clip.dataset}-{clip.shard:05d}.tar"


def make_worker(params: dict[str, Any]) -> Worker:
    """Worker that generates the motion of one clip.

    Args:
        params: ``sampler``, ``steps`` and ``seed``.
    """
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    models = [load_part(MODELS / part) for part in PARTS]
    sampling = SamplingConfig(params["sampler"], params["steps"], params["seed"])
    open_shard = functools.lru_cache(maxsize=2)(lambda path: ShardCorpus([path]))

    def worker(clip: Clip, parts: Members) -> Members:  # noqa: ARG001 - by Worker's signature
        source = open_shard(shard_of(clip)).load(clip.clip_id)
        motion = generate_motion(models, source.drive, source.motion[0], sampling, clip.clip_id)
        return {"generated.npz": npz_bytes({"motion": motion})}

    return worker


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


def check_steps(params: Params) -> None:
    """Refuse a number of sampling steps that the schedule does not offer.

    Raises:
        StageError: naming the counts that work.
    """
    try:
        spaced_steps(params.diffusion.steps, params.generate.steps)
    except ValueError as error:
        raise StageError(f"generate.steps: {error}") from error


def main() -> None:
    """Run the stage."""
    params = load()
    check_steps(params)
    job = Job(
        stage="generate",
        worker="pipelines.generate:make_worker",
        params={
            "sampler": params.generate.sampler,
            "steps": params.generate.steps,
            "seed": params.seed,
        },
        units=plan(read_manifest()),
        output=OUTPUT,
        budget=params.budgets.generate,
        deadline_s=params.generate.deadline_s,
        seed=params.seed,
        corpus_inputs=tuple(MODELS / part for part in PARTS),
        packages=("torch",),
    )
    run(job, params.ray, params.storage)


if __name__ == "__main__":
    sys.exit(guarded(main))
