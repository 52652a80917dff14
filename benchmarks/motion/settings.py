"""What each setting of the sample profile's training does to the head's motion, one at a time."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from benchmarks.motion.sampling import FPS, truth_of
from dimitra.cmdt.checkpoint import TrainedPart
from dimitra.cmdt.dataset import Corpus, ShardCorpus, Windows
from dimitra.cmdt.parts import mouth_columns
from dimitra.cmdt.peers import Alone
from dimitra.cmdt.recursion import SamplingConfig, denoiser_of, generate_part
from dimitra.diffusion.schedule import linear_schedule
from dimitra.metrics.motion import diversity, head_range, head_speed
from dimitra.morphable.coefficients import ANGLES
from dimitra.shards import read_sidecar
from pipelines.params import Params, parse
from pipelines.training.share import Plan, train_share

PART: Literal["pose"] = "pose"
PAPER: Mapping[str, Mapping[str, Any]] = {
    "model": {"positions": "normal"},
    "diffusion": {"weighting": "uniform", "null_probability": 0.0, "target": "x0", "loss": "x0"},
    "train": {PART: {"velocity_weight": 0.0}},
}
"""The paper's values, or its released code's; all sizes and rates stay the sample's."""
LEVELS = (0.0, 0.2, 0.6)
"""Shares of the diffusion steps at which the error is measured."""


def choices(params: Params) -> list[tuple[str, dict[str, Any]]]:
    """Names and parameters: the paper's settings, then the sample's one after the other.

    Args:
        params: of the sample profile.
    """
    velocity = getattr(params.train, PART).velocity_weight
    added: tuple[tuple[str, str, dict[str, Any]], ...] = (
        ("sinusoids as first frame embedding", "model", {"positions": params.model.positions}),
        (
            "windows without speech",
            "diffusion",
            {"null_probability": params.diffusion.null_probability},
        ),
        ("weights by SNR", "diffusion", {"weighting": params.diffusion.weighting}),
        ("velocity loss", "train", {PART: {"velocity_weight": velocity}}),
        (
            "instead of x0 and weights: v, errors in v",
            "diffusion",
            {"target": "v", "loss": "target", "weighting": "uniform"},
        ),
    )
    values = _merged(params.model_dump(mode="json"), PAPER)
    rows = [("the paper's", values)]
    for name, section, changes in added:
        values = _merged(values, {section: changes})
        rows.append((name if name.startswith("instead") else f"+ {name}", values))
    return rows


def _merged(values: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(values)
    for key, value in changes.items():
        merged[key] = _merged(merged[key], value) if isinstance(value, Mapping) else value
    return merged


def trained_part(root: Path, params: Params) -> TrainedPart:
    """The part trained as its stage does, without MLflow; nothing of it is kept."""
    folder = root / "data" / "shards"
    shards = tuple(
        (str(path), read_sidecar(path).sha256) for path in sorted(folder.glob("train-*.tar"))
    )
    stats = json.loads((folder / "stats.json").read_text())
    with tempfile.TemporaryDirectory(prefix="dimitra-settings-") as scratch:
        plan = Plan(params, PART, shards, stats, "benchmark", scratch)
        model, _ = train_share(
            plan, Alone(), lambda _record, _timing: None, lambda _steps: None, lambda _state: None
        )
    return TrainedPart(
        PART,
        plan.columns,
        params.model.window,
        params.diffusion.steps,
        model.eval(),
        mouth_columns(params.fit.face_model),
    )


@torch.no_grad()
def errors_by_level(
    corpus: Corpus, trained: TrainedPart, params: Params, name: str
) -> dict[str, float]:
    """Mean squared error of x_0, normalised, on a batch of windows of a corpus called ``name``."""
    window, steps = trained.speech_window, trained.diffusion_steps
    frames = params.model.frames
    batch = Windows(corpus, trained.columns, frames, window, 16, steps, seed=3).batch(0)
    clean = trained.model.normalise(batch.clean)
    schedule = linear_schedule(steps)
    denoise = denoiser_of(trained, batch.conditions, batch.mask)
    found = {}
    for share in LEVELS:
        step = int(share * steps)
        noisy = schedule.add_noise(clean, batch.noise, torch.full((len(clean),), step))
        error = denoise(noisy, step) - clean
        found[f"{name}_t_{step}"] = float(error[batch.mask].square().mean())
    return found


def motion_of(
    corpus: ShardCorpus, trained: TrainedPart, truth: Path, params: Params, samples: int, clips: int
) -> dict[str, float]:
    """Speed and range of the generated heads over the truth's, and how samples differ, degrees."""
    section = params.generate
    speeds, ranges, aims, spreads = [], [], [], []
    for clip_id in corpus.clip_ids[:clips]:
        clip = corpus.load(clip_id)
        known = truth_of(clip, truth)
        if known is None:
            continue
        drawn = []
        for number in range(samples):
            sampling = SamplingConfig(
                section.sampler, section.steps, number, section.spacing, 1.0, section.overlap
            )
            motion = generate_part(trained, clip.drive, clip.motion[0], sampling, clip_id)
            drawn.append(motion[:, :3])
        speeds.append([head_speed(one, FPS) for one in drawn])
        ranges.append([head_range(one) for one in drawn])
        aims.append((head_speed(known[:, ANGLES], FPS), head_range(known[:, ANGLES])))
        spreads.append(np.rad2deg(diversity(np.stack(drawn))))
    speed, extent = np.mean(np.asarray(aims, dtype=float), axis=0)
    return {
        "speed": float(np.mean(np.asarray(speeds, dtype=float)) / speed),
        "range": float(np.mean(ranges) / extent),
        "diversity": float(np.mean(spreads)),
    }


def compare(
    root: Path,
    truth: Path,
    params: Params,
    steps: int | None,
    samples: int,
    clips: int,
    numbers: Sequence[int] | None = None,
) -> list[dict[str, Any]]:
    """Train the part under each choice, on the same windows, and measure.

    Args:
        root: holds ``data/shards``.
        truth: folder of the corpus' truth.
        params: of the sample profile.
        steps: of each training; by default the parameters'.
        samples: drawn of every clip.
        clips: test clips of chorus.
        numbers: of the choices, from 0; by default all.
    """
    shards = root / "data" / "shards"
    corpus = ShardCorpus(sorted(shards.glob("test-chorus-*.tar")))
    seen = ShardCorpus(sorted(shards.glob("train-*.tar")))
    rows = []
    offered = choices(params)
    for name, values in offered if numbers is None else [offered[n] for n in numbers]:
        chosen = parse(values if steps is None else _merged(values, _steps(steps)))
        trained = trained_part(root, chosen)
        row: dict[str, Any] = {"setting": name}
        row |= motion_of(corpus, trained, truth, chosen, samples, clips)
        row |= errors_by_level(corpus, trained, chosen, "test")
        rows.append(row | errors_by_level(seen, trained, chosen, "train"))
    return rows


def _steps(steps: int) -> Mapping[str, Any]:
    return {"train": {PART: {"steps": steps}}}
