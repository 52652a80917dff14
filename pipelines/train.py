"""Train one part's motion model: `python -m pipelines.train --part lips|expression|pose|all`.

Writes `models/<part>/`; parameters, curves and the digests of the input shards go to MLflow
(`mlflow.db` of the main checkout, or `MLFLOW_TRACKING_URI`).
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from dimitra.cmdt import checkpoint
from dimitra.cmdt.dataset import Corpus, ShardCorpus, Windows
from dimitra.cmdt.model import CMDT, CMDTConfig
from dimitra.cmdt.parts import MODEL_PARTS, ModelPart, mouth_columns, part_columns
from dimitra.cmdt.training import (
    StepRecord,
    TrainingConfig,
    TrainingDivergedError,
    deterministic,
    train,
)
from dimitra.morphable.coefficients import ANGLES, PARTS
from dimitra.seeds import clip_seed
from dimitra.shards import read_sidecar
from pipelines.mainguard import StageError, guarded
from pipelines.params import Params, PartParams, load
from pipelines.progress import console
from pipelines.tracking import open_experiment
from pipelines.work_cache import WorkCache, local_shards

SHARDS = Path("data/shards")
MODELS = Path("models")
LOG_EVERY = 10
"""Steps between two points of the curve in MLflow; ``curve.csv`` has every step."""
LEAST_SPREAD = 0.05
"""Smallest scale of a value, as a share of the largest in its part: below is noise of the fit."""


def part_params(params: Params, part: str) -> PartParams:
    """Training section of a part; the joint model's is that of the pose, which it holds."""
    section: PartParams = getattr(params.train, "pose" if part == "all" else part)
    return section


def normalisation(
    stats: dict[str, Any], columns: Sequence[int]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Shift and scale [d] of a part's columns from the train statistics.

    Angles and translations differ in unit, so a floor on the scale is taken for each group alone.

    Raises:
        StageError: there were no train clips to take statistics of.
    """
    if not stats["frames"]:
        raise StageError("data/shards/stats.json rests on no train clips; check splits/")
    mean = torch.tensor(stats["expression"]["mean"] + stats["pose"]["mean"])
    spread = torch.tensor(stats["expression"]["std"] + stats["pose"]["std"])
    indices = torch.tensor(list(columns))
    group = torch.bucketize(indices, torch.tensor([ANGLES.start - 1, ANGLES.stop - 1]))
    scale = spread[indices]
    for number in sorted(set(group.tolist())):
        inside = group == number
        scale[inside] = scale[inside].clamp(min=LEAST_SPREAD * float(scale[inside].max()))
    return mean[indices], scale.clamp(min=1e-8)


def build_model(params: Params, part: str, columns: Sequence[int], corpus: Corpus) -> CMDT:
    """The untrained model of a part, sized by the parameters and the corpus."""
    drive = corpus.load(corpus.clip_ids[0]).drive
    sizes = params.model
    torch.manual_seed(clip_seed(params.seed, "weights", part))
    return CMDT(
        CMDTConfig(
            motion=len(columns),
            frames=sizes.frames,
            speech_values=(2 * sizes.window + 1) * drive.features.shape[1],
            text_values=drive.text_tokens.shape[2],
            width=sizes.width,
            speech_hidden=sizes.speech_hidden,
            feed_forward=sizes.feed_forward,
            encoder_feed_forward=sizes.encoder_feed_forward,
            layers=sizes.layers,
            heads=sizes.heads,
            encoder_layers=sizes.encoder_layers,
            encoder_heads=sizes.encoder_heads,
            dropout=sizes.dropout,
            attention=sizes.attention,
            conditions=sizes.conditions,
            target=params.diffusion.target,
        )
    )


@contextmanager
def tracked(
    part: str, values: dict[str, Any], tags: dict[str, str]
) -> Iterator[Callable[[StepRecord], None]]:
    """An MLflow run; yields a function that logs a point of the curve."""
    mlflow = open_experiment("cmdt")

    def log(record: StepRecord) -> None:
        point = asdict(record)
        mlflow.log_metrics(point, step=point.pop("step"), synchronous=True)

    with mlflow.start_run(run_name=part, log_system_metrics=False):
        mlflow.log_params(values)
        mlflow.set_tags(tags)
        yield log


def train_part(params: Params, part: ModelPart) -> None:
    """Train and save one part.

    Raises:
        StageError: no train shards, or the training diverged.
    """
    found = local_shards(SHARDS, WorkCache.of(params.storage.root))
    shards = [path for path in found if path.name.startswith("train-")]
    if not shards:
        raise StageError(f"no train shards in {SHARDS}; run `python -m pipelines.shard` first")
    corpus = ShardCorpus(shards)
    columns = part_columns(params.fit.face_model, part)
    section = part_params(params, part)
    config = TrainingConfig(
        steps=section.steps,
        learning_rate=section.learning_rate,
        grad_clip=params.train.grad_clip,
        ema=params.train.ema,
        loss_weight=params.train.loss_weight,
        first_pose_weight=section.first_pose_weight,
        diffusion_steps=params.diffusion.steps,
        loss_space=params.diffusion.loss,
    )
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = build_model(params, part, columns, corpus)
    if params.train.normalise:
        shift, scale = normalisation(json.loads((SHARDS / "stats.json").read_text()), columns)
        model.shift.copy_(shift)
        model.scale.copy_(scale)
    windows = Windows(
        corpus,
        columns,
        params.model.frames,
        params.model.window,
        params.train.batch,
        params.diffusion.steps,
        params.seed,
        params.diffusion.null_probability,
    )
    values = (
        asdict(config)
        | asdict(model.config)
        | params.train.model_dump(exclude=set[str](PARTS))
        | {"seed": params.seed, "window": params.model.window}
    )
    tags = {f"input.{path.name}": read_sidecar(path).sha256 for path in shards}
    bar = Progress(
        TextColumn("{task.description:<12}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("loss {task.fields[loss]:.4f}"),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    )
    with tracked(part, values, tags | {"part": part}) as log, bar:
        task = bar.add_task(part, total=config.steps, loss=float("nan"))

        def on_step(record: StepRecord) -> None:
            bar.update(task, completed=record.step + 1, loss=record.loss)
            if record.step % LOG_EVERY == 0 or record.step == config.steps - 1:
                log(record)

        try:
            with deterministic(params.train.threads):
                curve = train(model, windows, config, device, on_step)
        except TrainingDivergedError as error:
            raise StageError(f"training of {part}: {error}") from error
    trained = checkpoint.TrainedPart(
        part,
        columns,
        params.model.window,
        params.diffusion.steps,
        model.cpu(),
        mouth_columns(params.fit.face_model),
        params.diffusion.null_probability,
    )
    checkpoint.save(MODELS / part, trained, config, params.seed, curve)
    console.print(f"train {part}: {config.steps} steps, last loss {curve[-1].loss:.4f}")


def main() -> None:
    """Run the stage for one part."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.train")
    parser.add_argument("--part", choices=MODEL_PARTS, required=True)
    options = parser.parse_args()
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    train_part(load(), options.part)


if __name__ == "__main__":
    sys.exit(guarded(main))
