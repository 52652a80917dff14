"""Train one part's motion model: `python -m pipelines.train --part lips|expression|pose|all`.

Writes `models/<part>/`; parameters, curves, throughput, pictures of motion and the digests of the
input shards go to MLflow (`mlflow.db` of the main checkout, or `MLFLOW_TRACKING_URI`). Killed at
any time, the same command goes on from the last saved state (every `ray.save_every` steps).

One process by default; `train.workers` processes through Ray Train, here or on the cluster of
`ray.address` / `RAY_ADDRESS`.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from dimitra.cmdt import checkpoint
from dimitra.cmdt.dataset import BadClipError, ShardCorpus
from dimitra.cmdt.model import CMDT
from dimitra.cmdt.parts import MODEL_PARTS, ModelPart, mouth_columns
from dimitra.cmdt.peers import Alone
from dimitra.cmdt.resume import StepRecord
from dimitra.cmdt.training import TrainingDivergedError
from dimitra.learning.state import TrainingState
from dimitra.shards import read_sidecar
from pipelines.closure import code_digest
from pipelines.errors import StageError
from pipelines.lineage.record import with_lineage
from pipelines.params import Params, load
from pipelines.runtime.connection import LOCAL, address_of
from pipelines.runtime.mainguard import guarded
from pipelines.runtime.progress import console
from pipelines.stores.work_cache import WorkCache, digest_of, local_shards, package_version
from pipelines.training.group import Listener, train_group
from pipelines.training.motion_plot import draw
from pipelines.training.record import TrainingRecord, recorded
from pipelines.training.sampling_check import check_sampling
from pipelines.training.share import Plan, build_model, local_corpus, part_params, train_share

SHARDS = Path("data/shards")
MODELS = Path("models")

OF_ONE_PART = {*MODEL_PARTS, "parts"}
"""Keys of ``train`` that do not concern every part."""


def made_of(
    params: Params, part: ModelPart, shards: Sequence[tuple[str, str]], stats: Mapping[str, Any]
) -> dict[str, Any]:
    """All that the bytes of a trained part depend on; its digest is the training's key.

    Args:
        params: of the run.
        part: which.
        shards: path and sha256 of the train shards.
        stats: of the shards.
    """
    return {
        "part": part,
        "model": params.model.model_dump(mode="json"),
        "diffusion": params.diffusion.model_dump(mode="json"),
        "train": params.train.model_dump(mode="json", exclude=OF_ONE_PART),
        "own": part_params(params, part).model_dump(mode="json"),
        "face_model": params.fit.face_model,
        "seed": params.seed,
        "shards": [[Path(place).name, sha256] for place, sha256 in shards],
        "stats": dict(stats),
        "code": code_digest("pipelines.training.share"),
        "torch": package_version("torch"),
    }


def make_plan(params: Params, part: ModelPart) -> Plan:
    """What is trained, and the key that names it.

    Raises:
        StageError: there are no train shards, no clips in them, or those are of another face model.
    """
    cache = WorkCache.of(params.storage.root)
    shards = [path for path in local_shards(SHARDS, cache) if path.name.startswith("train-")]
    if not shards:
        raise StageError(f"no train shards in {SHARDS}; run `python -m pipelines.shard` first")
    sidecars = [read_sidecar(path) for path in shards]
    if not any(sidecar.clips for sidecar in sidecars):
        raise StageError(
            f"the {len(shards)} train shards in {SHARDS} hold no clip: none of the train split "
            "came through the stages before. Look into their quarantine.parquet, and into splits/"
        )
    stats = json.loads((SHARDS / "stats.json").read_text())
    _check_face_model(params, stats)
    places = tuple(
        (str(path.resolve()), sidecar.sha256)
        for path, sidecar in zip(shards, sidecars, strict=True)
    )
    return Plan(
        params=params,
        part=part,
        shards=places,
        stats=stats,
        key=digest_of(made_of(params, part, places, stats)),
        root=cache.storage.root,
    )


def _check_face_model(params: Params, stats: Mapping[str, Any]) -> None:
    """Refuse shards whose motion is of another face model than the parameters say.

    Raises:
        StageError: naming both.
    """
    held = stats["face_model"]
    if held != params.fit.face_model:
        raise StageError(
            f"{SHARDS} holds motion of {held!r}, but fit.face_model is {params.fit.face_model!r}; "
            "run `python -m pipelines.shard` again"
        )


class _Pictures:
    """Draws what the averaged weights of a state make of the first train clip."""

    def __init__(self, plan: Plan, corpus: ShardCorpus, record: TrainingRecord) -> None:
        self._plan = plan
        self._record = record
        self._clip = corpus.load(corpus.clip_ids[0])
        self._part = trained_part(plan, build_model(plan, corpus).eval())

    def state(self, state: TrainingState[StepRecord]) -> None:
        """Draw a state."""
        self._part.model.load_state_dict(state.averaged(), strict=False)
        seed = self._plan.params.seed
        plot = draw(self._part, self._clip, state.steps, seed)
        self._record.figure(plot.figure, f"motion/step-{plot.steps:07d}.png")

    def saved(self, steps: int) -> None:
        """Draw the state that another process has just saved; skipped where it is gone again."""
        state = self._plan.states.latest()
        if state is not None and state.steps == steps:
            self.state(state)


def trained_part(plan: Plan, model: CMDT) -> checkpoint.TrainedPart:
    """The part with what is needed to use it."""
    params = plan.params
    return checkpoint.TrainedPart(
        plan.part,
        plan.columns,
        params.model.window,
        params.diffusion.steps,
        model,
        mouth_columns(params.fit.face_model),
        params.diffusion.null_probability,
    )


def _alone(
    plan: Plan, record: TrainingRecord, pictures: _Pictures, corpus: ShardCorpus
) -> tuple[CMDT, list[StepRecord]]:
    try:
        return train_share(plan, Alone(), record.step, record.resumed, pictures.state, corpus)
    except TrainingDivergedError as error:
        raise StageError(f"training of {plan.part}: {error}") from error


def _together(
    plan: Plan, record: TrainingRecord, pictures: _Pictures, corpus: ShardCorpus
) -> tuple[CMDT, list[StepRecord]]:
    state = train_group(plan, Listener(record.step, record.resumed, pictures.saved))
    model = build_model(plan, corpus)
    model.load_state_dict(state.averaged(), strict=False)
    return model.eval(), list(state.curve)


def train_part(params: Params, part: ModelPart) -> None:
    """Train and save one part.

    Raises:
        StageError: sampling that is not possible, no train shards or no clips in them, a shard
            with other bytes than its sidecar's, no such device, or the training diverged.
        BadClipError: a clip cannot be trained on.
    """
    check_sampling(params)
    plan = make_plan(params, part)
    audit = made_of(params, part, plan.shards, plan.stats)
    corpus = local_corpus(plan)
    audit |= {"train_clips": digest_of(list(corpus.clip_ids)), "key": plan.key}
    config = plan.config
    values = asdict(config)
    weights = values.pop("loss_weights")
    values |= (
        {f"{name}_weight": weight for name, weight in weights.items()}
        | asdict(build_model(plan, corpus).config)
        | params.train.model_dump(exclude=OF_ONE_PART)
        | {f"diffusion.{name}": value for name, value in params.diffusion.model_dump().items()}
        | {"seed": params.seed, "window": params.model.window}
    )
    tags = {f"input.{Path(place).name}": sha256 for place, sha256 in plan.shards}
    group = params.train.workers > 1 or address_of(params.ray) != LOCAL
    with recorded(
        f"train@{part}",
        config.steps,
        values,
        tags | {"part": part},
        work_key=plan.key,
        code_digest=audit["code"],
        mlflow=params.ray.mlflow,
    ) as record:
        pictures = _Pictures(plan, corpus, record)
        share = _together if group else _alone
        model, curve = share(plan, record, pictures, corpus)
        trained = trained_part(plan, model)
        checkpoint.save(MODELS / part, trained, config, params.seed, curve, audit)
        # So that the run's artifacts are a folder for `dimitra animate`.
        record.keep(MODELS / part, f"models/{part}")
        record.keep(Path("params.yaml"), "models")
    plan.states.clear()
    console.print(f"train {part}: {config.steps} steps, last loss {curve[-1].loss:.4f}")


def main() -> None:
    """Run the stage for one part."""
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.train",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--part", choices=MODEL_PARTS, required=True, help="which of the models")
    options = parser.parse_args()
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.set_num_threads(1)
    train_part(load(), options.part)


if __name__ == "__main__":
    sys.exit(guarded(with_lineage(main), BadClipError, own_arguments=True))
