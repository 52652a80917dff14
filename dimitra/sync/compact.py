"""A small SyncNet that trains in minutes on a processor: same inputs in time, fewer pixels.

Five frames of the mouth (36 x 36 pixels) stacked as 15 channels against 13 x 20 MFCC. Embeddings
lie on the unit sphere, so distances are 0 to 2, and two embeddings that have nothing to do with
each other are about 1.41 apart: another scale than the published network's.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn
from torch.nn import functional

from dimitra.shards import json_bytes, write_atomic

SIZE = 36
"""Side of the picture that the network sees; what is larger is cut to its middle."""
FRAMES, COEFFICIENTS, ROWS = 5, 13, 20
WEIGHTS, CONFIG = "model.safetensors", "config.json"

_MEAN, _SPREAD = 0.45, 0.25
"""Of a face's pixels, roughly; brightness and colour are varied in training."""


@dataclass(frozen=True)
class CompactConfig:
    """Sizes of the network.

    Attributes:
        width: channels of the first layer; the others have 2, 3 and 4 times as many.
        embedding: values of an embedding.
    """

    width: int = 32
    embedding: int = 128


def _block(before: int, after: int, kernel: int, stride: int | tuple[int, int]) -> list[nn.Module]:
    layer = nn.Conv2d(before, after, kernel, stride, kernel // 2, bias=False)
    return [layer, nn.BatchNorm2d(after), nn.ReLU()]


class CompactSyncNet(nn.Module):
    """The two branches, and the scale of the contrastive loss."""

    mean: Tensor
    spread: Tensor

    def __init__(self, config: CompactConfig) -> None:
        super().__init__()
        self.config = config
        one, two, three, four = (config.width * number for number in (1, 2, 3, 4))
        self.picture_branch = nn.Sequential(
            *_block(3 * FRAMES, one, 5, 2),
            *_block(one, two, 3, 2),
            *_block(two, three, 3, 2),
            *_block(three, four, 3, 1),
            nn.Flatten(),
            nn.Linear(four * 5 * 5, config.embedding),
        )
        self.sound_branch = nn.Sequential(
            *_block(1, one, 3, 1),
            *_block(one, two, 3, (1, 2)),
            *_block(two, three, 3, 2),
            *_block(three, four, 3, 1),
            nn.Flatten(),
            nn.Linear(four * 7 * 5, config.embedding),
        )
        self.log_scale = nn.Parameter(torch.tensor(2.0))
        self.register_buffer("mean", torch.zeros(COEFFICIENTS))
        self.register_buffer("spread", torch.ones(COEFFICIENTS))

    def sound(self, mfcc: Tensor) -> Tensor:
        """MFCC ``[B, 13, 20]`` to unit vectors ``[B, D]``."""
        scaled = (mfcc - self.mean[:, None]) / self.spread[:, None]
        return functional.normalize(self.sound_branch(scaled[:, None]))

    def lips(self, pictures: Tensor) -> Tensor:
        """RGB pictures of the mouth ``[B, 5, H, W, 3]``, 0 to 255, to unit vectors ``[B, D]``."""
        top, left = ((side - SIZE) // 2 for side in pictures.shape[2:4])
        middle = pictures[:, :, top : top + SIZE, left : left + SIZE].float()
        scaled = (middle / 255.0 - _MEAN) / _SPREAD
        stacked = scaled.permute(0, 1, 4, 2, 3).flatten(1, 2).contiguous()
        return functional.normalize(self.picture_branch(stacked))


def save(folder: Path, network: CompactSyncNet, facts: Mapping[str, Any]) -> None:
    """Write ``model.safetensors`` and ``config.json``; the same network gives the same bytes.

    Args:
        folder: ``evaluators/sync``.
        network: in evaluation mode.
        facts: what it was trained on and how, JSON values.
    """
    weights = {name: value.detach().contiguous() for name, value in network.state_dict().items()}
    write_atomic(folder / WEIGHTS, safetensors.torch.save(weights))
    write_atomic(folder / CONFIG, json_bytes({"network": asdict(network.config), **facts}))


def load(folder: Path) -> CompactSyncNet:
    """Read a trained network, for evaluation.

    Raises:
        FileNotFoundError: none was trained; says which command does.
        RuntimeError: weights and configuration disagree.
    """
    if not (folder / CONFIG).exists():
        raise FileNotFoundError(
            f"{folder / CONFIG} does not exist: train SyncNet with `python -m pipelines.train_sync`"
        )
    config = json.loads((folder / CONFIG).read_text())
    network = CompactSyncNet(CompactConfig(**config["network"]))
    network.load_state_dict(safetensors.torch.load((folder / WEIGHTS).read_bytes()))
    return network.eval().requires_grad_(requires_grad=False)
