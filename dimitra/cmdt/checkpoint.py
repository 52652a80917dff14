"""A trained part on disk: ``model.safetensors``, ``config.json``, ``curve.csv``."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import safetensors.torch
import torch

from dimitra.cmdt.model import CMDT, CMDTConfig
from dimitra.cmdt.resume import StepRecord
from dimitra.cmdt.training import TrainingConfig
from dimitra.shards import json_bytes, write_atomic

WEIGHTS = "model.safetensors"
CONFIG = "config.json"
CURVE = "curve.csv"


@dataclass(frozen=True, eq=False)
class TrainedPart:
    """A model and what is needed to use it.

    Attributes:
        part: ``lips``, ``expression``, ``pose``, or ``all``.
        columns: of the 70 motion values, those it generates.
        speech_window: w, speech features on each side of a frame's own.
        diffusion_steps: of the schedule it was trained under.
        model: in evaluation mode.
        mouth: of the 70 motion values, those of the mouth.
        null_probability: share of its training windows without speech, phonemes and text.
    """

    part: str
    columns: tuple[int, ...]
    speech_window: int
    diffusion_steps: int
    model: CMDT
    mouth: tuple[int, ...]
    null_probability: float = 0.0


def save(
    folder: Path,
    trained: TrainedPart,
    training: TrainingConfig,
    seed: int,
    curve: Sequence[StepRecord],
    made_of: Mapping[str, Any] | None = None,
) -> None:
    """Write a trained part; the same training gives the same bytes.

    Args:
        folder: ``models/<part>``.
        trained: the part.
        training: how it was trained.
        seed: of the run.
        curve: of the training.
        made_of: what the training's bytes depend on, for an audit: JSON without time or place.
    """
    weights = {
        name: tensor.detach().cpu().contiguous()
        for name, tensor in trained.model.state_dict().items()
    }
    config = {
        "part": trained.part,
        "columns": list(trained.columns),
        "speech_window": trained.speech_window,
        "diffusion_steps": trained.diffusion_steps,
        "mouth": list(trained.mouth),
        "null_probability": trained.null_probability,
        "model": asdict(trained.model.config),
        "training": asdict(training) | {"seed": seed},
        "made_of": dict(made_of or {}),
    }
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, [field.name for field in fields(StepRecord)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(record) for record in curve)
    write_atomic(folder / WEIGHTS, safetensors.torch.save(weights))
    write_atomic(folder / CURVE, text.getvalue().encode())
    write_atomic(folder / CONFIG, json_bytes(config))


def load(folder: Path, device: torch.device | None = None) -> TrainedPart:
    """Read a trained part.

    Args:
        folder: ``models/<part>``.
        device: to load to; the CPU by default.

    Raises:
        FileNotFoundError: the part was not trained; says which command does.
        RuntimeError: weights and configuration disagree.
    """
    if not (folder / CONFIG).exists():
        raise FileNotFoundError(
            f"{folder / CONFIG} does not exist: train the part with "
            f"`python -m pipelines.train --part {folder.name}`"
        )
    config = json.loads((folder / CONFIG).read_text())
    sizes = config["model"] | {"conditions": tuple(config["model"]["conditions"])}
    model = CMDT(CMDTConfig(**sizes))
    model.load_state_dict(safetensors.torch.load((folder / WEIGHTS).read_bytes()))
    model.eval().requires_grad_(False)
    return TrainedPart(
        part=config["part"],
        columns=tuple(config["columns"]),
        speech_window=config["speech_window"],
        diffusion_steps=config["diffusion_steps"],
        model=model.to(device or torch.device("cpu")),
        mouth=tuple(config["mouth"]),
        null_probability=config["null_probability"],
    )
