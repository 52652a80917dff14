"""A trained renderer on disk: ``model.safetensors``, ``config.json``, ``curve.csv``."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from dimitra.render.pirender_network import PIRenderNet, PIRenderSettings
from dimitra.render.pirender_weights import PIRenderError
from dimitra.render.renderer_state import RendererStep
from dimitra.shards import json_bytes, write_atomic
from dimitra.torch_file import TorchFileError, check_state

WEIGHTS = "model.safetensors"
CONFIG = "config.json"
CURVE = "curve.csv"


@dataclass(frozen=True, eq=False)
class TrainedRenderer:
    """A network of one's own, and what its weights know.

    Attributes:
        network: in evaluation; it takes raw descriptors, as the published one does.
        face_model: whose coefficients drive it.
        size: side of the pictures that it was trained on, pixels.
    """

    network: PIRenderNet
    face_model: str
    size: int


def save(
    folder: Path,
    state: Mapping[str, Tensor],
    settings: PIRenderSettings,
    face_model: str,
    size: int,
    training: Mapping[str, Any],
    curve: Sequence[RendererStep],
) -> None:
    """Write a trained renderer; the same training gives the same bytes.

    Args:
        folder: to write.
        state: weights for raw descriptors, under the published names.
        settings: widths.
        face_model: whose coefficients drive it.
        size: pixels.
        training: how it was trained, for the reader.
        curve: every step.
    """
    config = {
        "network": asdict(settings),
        "face_model": face_model,
        "size": size,
        "training": dict(training),
    }
    text = io.StringIO(newline="")
    names = [field.name for field in fields(RendererStep)]
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(record) for record in curve)
    weights = {name: value.detach().cpu().contiguous() for name, value in state.items()}
    write_atomic(folder / WEIGHTS, safetensors.torch.save(weights))
    write_atomic(folder / CURVE, text.getvalue().encode())
    write_atomic(folder / CONFIG, json_bytes(config))


def load(folder: Path) -> TrainedRenderer:
    """Read a trained renderer.

    Raises:
        FileNotFoundError: none was trained; says which command does.
        PIRenderError: configuration and weights disagree, or one of them is damaged.
    """
    file = folder / CONFIG
    if not file.is_file():
        raise FileNotFoundError(
            f"{file}: not there; train a renderer first: set train_renderer.models to [trained] "
            "and run `dvc repro train_renderer` (docs/renderer_training.md)"
        )
    try:
        config = json.loads(file.read_text())
        settings = PIRenderSettings(**config["network"])
        face_model, size = str(config["face_model"]), int(config["size"])
        state = safetensors.torch.load_file(folder / WEIGHTS)
    except (KeyError, TypeError, ValueError, safetensors.SafetensorError) as error:
        raise PIRenderError(
            f"{folder} cannot be read: {error!r}; train the renderer again"
        ) from None
    with torch.device("meta"):
        network = PIRenderNet(settings)
    try:
        check_state(folder / WEIGHTS, network.state_dict(), state)
    except TorchFileError as error:
        raise PIRenderError(str(error)) from None
    network.load_state_dict(state, assign=True)
    return TrainedRenderer(network.eval().requires_grad_(requires_grad=False), face_model, size)
