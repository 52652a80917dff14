"""What the network predicts and where its error is counted: error in x_0 by noise level."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import torch

from benchmarks.motion.truth import train_models
from dimitra.cmdt import checkpoint
from dimitra.cmdt.dataset import ShardCorpus, Windows
from dimitra.cmdt.recursion import denoiser_of
from dimitra.diffusion.schedule import linear_schedule
from pipelines.params import Params, parse

CHOICES = (("x0", "x0"), ("v", "target"), ("v", "x0"))
LEVELS = (0.0, 0.1, 0.2, 0.4, 0.6, 0.8, 0.96)
"""Shares of the diffusion steps at which the error is measured."""


@torch.no_grad()
def errors_by_level(root: Path, part: str, params: Params) -> dict[str, float]:
    """Mean squared error of x_0, normalised, on a batch of chorus' test windows."""
    trained = checkpoint.load(root / "models" / part)
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


def compare(shards_root: Path, params: Params, part: str, steps: int) -> list[dict[str, Any]]:
    """Train a part under each choice, on the same batches, and measure.

    Args:
        shards_root: holds ``data/shards``.
        params: of the run; target and loss are replaced.
        part: to train.
        steps: of each training.
    """
    rows = []
    for target, loss in CHOICES:
        values = params.model_dump(mode="json")
        values["diffusion"] |= {"target": target, "loss": loss}
        changed = parse(values)
        with tempfile.TemporaryDirectory(prefix="dimitra-targets-") as name:
            root = Path(name)
            (root / "data").symlink_to((shards_root / "data").resolve())
            train_models(root, changed, (part,), steps)  # type: ignore[arg-type]
            row = {"target": target, "loss": loss} | errors_by_level(root, part, changed)
        rows.append(row)
    return rows
