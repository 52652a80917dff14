"""The head encoder's trained weights, which are part of the package.

`python -m pipelines.encoder` makes them; their metadata says from what.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from dimitra.morphable.head_encoder import HeadEncoder

DATA_FILES = ("head_encoder.safetensors",)
WEIGHTS = Path(__file__).with_name("head_encoder.safetensors")


class EncoderWeightsError(ValueError):
    """The file does not hold this network."""


def load(path: Path = WEIGHTS, device: str = "cpu") -> HeadEncoder:
    """The trained encoder, in evaluation mode.

    Raises:
        FileNotFoundError: no such file.
        EncoderWeightsError: it does not hold this network.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; make it by `python -m pipelines.encoder`")
    try:
        with safe_open(path, "pt", device=device) as stored:
            about: Mapping[str, str] = stored.metadata() or {}
            state = {name: stored.get_tensor(name).float() for name in stored.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise EncoderWeightsError(f"{path}: not a safetensors file ({error})") from error
    try:
        shape = json.loads(about["about"])["shape"]
        encoder = HeadEncoder(**shape).to(device)
        encoder.load_state_dict(state)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise EncoderWeightsError(
            f"{path}: its tensors are not those of the head encoder: {error}"
        ) from error
    encoder.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    encoder.eval()
    return encoder
