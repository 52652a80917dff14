"""What the network predicts and where its error is counted: error in x_0 by noise level."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import torch

from dimitra.cmdt.checkpoint import TrainedPart
from dimitra.cmdt.dataset import ShardCorpus, Windows
from dimitra.cmdt.parts import ModelPart, mouth_columns
from dimitra.cmdt.peers import Alone
from dimitra.cmdt.recursion import denoiser_of
from dimitra.diffusion.schedule import linear_schedule
from pipelines.params import Params, parse
from pipelines.training import Plan, train_share

CHOICES = (("x0", "x0"), ("v", "target"), ("v", "x0"))
LEVELS = (0.0, 0.1, 0.2, 0.4, 0.6, 0.8, 0.96)
"""Shares of the diffusion steps at which the error is measured."""


@torch.no_grad()
def errors_by_level(root: Path, trained: TrainedPart, params: Params) -> dict[str, float]:
    """Mean squared error of x_0, normalised, on a batch of chorus' test windows."""
    corpus = ShardCorpus(sorted((root / "data" / "shards").glob("test-chorus-*.tar")))
    batch = Windows(
        corpus,
        trained.columns,
        params.model.frames,
        trained.speech_window,
        8,
        trained.diffusion_steps,
        seed=3,
    ).batch(0)
    clean = trained.model.normalise(batch.clean)
    schedule = linear_schedule(trained.diffusion_steps)
    denoise = denoiser_of(trained, batch.conditions, batch.mask)
    found = {}
    for share in LEVELS:
        step = int(share * trained.diffusion_steps)
        levels = torch.full((len(clean),), step)
        error = denoise(schedule.add_noise(clean, batch.noise, levels), step) - clean
        found[f"t_{step}"] = float(error[batch.mask].square().mean())
    return found


def _trained(root: Path, params: Params, part: ModelPart) -> TrainedPart:
    """A part trained as its stage does, without MLflow; nothing of it is kept."""
    folder = root / "data" / "shards"
    shards = tuple((str(path), "") for path in sorted(folder.glob("train-*.tar")))
    stats = json.loads((folder / "stats.json").read_text())
    with tempfile.TemporaryDirectory(prefix="dimitra-targets-") as scratch:
        plan = Plan(params, part, shards, stats, "benchmark", scratch)
        model, _ = train_share(
            plan, Alone(), lambda _record, _timing: None, lambda _steps: None, lambda _state: None
        )
    return TrainedPart(
        part,
        plan.columns,
        params.model.window,
        params.diffusion.steps,
        model.eval(),
        mouth_columns(params.fit.face_model),
    )


def compare(root: Path, params: Params, part: ModelPart, steps: int) -> list[dict[str, Any]]:
    """Train a part under each choice, on the same batches, and measure.

    Args:
        root: holds ``data/shards``.
        params: of the run; target and loss are replaced.
        part: to train.
        steps: of each training.
    """
    rows = []
    for target, loss in CHOICES:
        values = params.model_dump(mode="json")
        values["diffusion"] |= {"target": target, "loss": loss}
        values["train"][part] |= {"steps": steps}
        trained = _trained(root, parse(values), part)
        rows.append({"target": target, "loss": loss} | errors_by_level(root, trained, params))
    return rows
