"""Models of the right shapes that were never trained, a photo, and a spoken sentence."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
import yaml
from numpy.typing import NDArray
from PIL import Image
from skimage import data

from dimitra.cmdt.checkpoint import TrainedPart, save
from dimitra.cmdt.loss import LossWeights
from dimitra.cmdt.model import CMDT, CMDTConfig
from dimitra.cmdt.parts import mouth_columns, part_columns
from dimitra.cmdt.training import TrainingConfig
from dimitra.morphable.coefficients import PARTS
from tests.speech.signals import RATE_HZ, boats

SAMPLE = Path(__file__).resolve().parents[2] / "conf" / "sample.yaml"


def photo() -> NDArray[np.uint8]:
    """A person who looks at the camera (NASA, public domain; in scikit-image's wheel)."""
    return np.asarray(data.astronaut(), np.uint8)


def image_file(file: Path, image: Image.Image, **options: Any) -> Path:
    image.save(file, **options)
    return file


def wav(samples: NDArray[np.floating[Any]], rate_hz: int = RATE_HZ, kind: str = "PCM_16") -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate_hz, format="WAV", subtype=kind)
    return buffer.getvalue()


def sentence() -> bytes:
    """3 s of speech."""
    return wav(boats().samples)


def run_folder(folder: Path, text_values: int = 384) -> Path:
    """The folder of a run of profile ``sample``: its parameters, and ``models``; returns these."""
    values = yaml.safe_load(SAMPLE.read_text())
    values["generate"]["steps"] = 5
    (folder / "params.yaml").write_text(yaml.safe_dump(values))
    models = folder / "models"
    weights = LossWeights(1.0, 0.0, 0.0)
    training = TrainingConfig(1, 0.1, 1.0, 0.0, weights, 500)
    for part in PARTS:
        columns = part_columns("open_head", part)
        torch.manual_seed(3)
        config = CMDTConfig(len(columns), 50, 5 * 416, text_values, 16, 16, 16, 16, 1, 2, 1, 2, 0.0)
        model = CMDT(config).eval()
        with torch.no_grad():
            for weight in model.parameters():
                weight.normal_(0.0, 0.2)
            model.scale.fill_(0.05)
        trained = TrainedPart(part, columns, 2, 500, model, mouth_columns("open_head"))
        (models / part).mkdir(parents=True)
        save(models / part, trained, training, 0, [])
    return models
