"""The published SyncNet (Chung and Zisserman, "Out of time", 2016), as ``syncnet_v2.model`` has it.

Layers and names are those of the file's state dict, so that it loads without renaming. The picture
branch takes five BGR frames of 224 x 224 pixels, 0 to 255 as they are; the sound branch 13 x 20
MFCC. Both give 1024 values, which are not normalised.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from dimitra.torch_file import TorchFileError, check_state, read_torch_file

SIZE = 224
EMBEDDING = 1024


def _sound() -> nn.Sequential:
    layers: list[nn.Module] = []
    for before, after, kernel, padding in (
        (1, 64, (3, 3), 1),
        (64, 192, (3, 3), 1),
        (192, 384, (3, 3), 1),
        (384, 256, (3, 3), 1),
        (256, 256, (3, 3), 1),
        (256, 512, (5, 4), 0),
    ):
        layers += [nn.Conv2d(before, after, kernel, padding=padding), nn.BatchNorm2d(after)]
        layers.append(nn.ReLU())
        if len(layers) == 3:
            layers.append(nn.MaxPool2d(1, 1))
        elif len(layers) == 7:
            layers.append(nn.MaxPool2d(3, (1, 2)))
        elif after == 256 and before == 256:
            layers.append(nn.MaxPool2d(3, 2))
    return nn.Sequential(*layers)


def _lips() -> nn.Sequential:
    return nn.Sequential(
        *_block(3, 96, (5, 7, 7), (1, 2, 2), 0),
        nn.MaxPool3d((1, 3, 3), (1, 2, 2)),
        *_block(96, 256, (1, 5, 5), (1, 2, 2), (0, 1, 1)),
        nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1)),
        *_block(256, 256, (1, 3, 3), 1, (0, 1, 1)),
        *_block(256, 256, (1, 3, 3), 1, (0, 1, 1)),
        *_block(256, 256, (1, 3, 3), 1, (0, 1, 1)),
        nn.MaxPool3d((1, 3, 3), (1, 2, 2)),
        *_block(256, 512, (1, 6, 6), 1, 0),
    )


def _block(
    before: int,
    after: int,
    kernel: tuple[int, int, int],
    stride: int | tuple[int, int, int],
    padding: int | tuple[int, int, int],
) -> list[nn.Module]:
    return [nn.Conv3d(before, after, kernel, stride, padding), nn.BatchNorm3d(after), nn.ReLU()]


def _head() -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(512, 512), nn.BatchNorm1d(512), nn.ReLU(), nn.Linear(512, EMBEDDING)
    )


class SyncNet(nn.Module):
    """The two branches."""

    def __init__(self) -> None:
        super().__init__()
        self.netcnnaud = _sound()
        self.netfcaud = _head()
        self.netfclip = _head()
        self.netcnnlip = _lips()

    def sound(self, mfcc: Tensor) -> Tensor:
        """MFCC ``[B, 13, 20]`` to ``[B, 1024]``."""
        found: Tensor = self.netfcaud(self.netcnnaud(mfcc[:, None]).flatten(1))
        return found

    def lips(self, pictures: Tensor) -> Tensor:
        """RGB pictures ``[B, 5, 224, 224, 3]``, 0 to 255, to ``[B, 1024]``."""
        bgr = pictures.flip(-1).permute(0, 4, 1, 2, 3).float().contiguous()
        found: Tensor = self.netfclip(self.netcnnlip(bgr).flatten(1))
        return found


def read_syncnet(path: Path) -> SyncNet:
    """The network with the weights of ``syncnet_v2.model``, for evaluation.

    Args:
        path: the file; nothing pickled in it but tensors is read.

    Raises:
        TorchFileError: damaged, other Python objects in it, or the weights of another network.
    """
    state = read_torch_file(path, "state dict")
    if not isinstance(state, Mapping):
        raise TorchFileError(f"{path}: a {type(state).__name__}, expected SyncNet's state dict")
    with torch.device("meta"):
        network = SyncNet()
    # Files from before torch 0.4.1 lack the batch counters, which evaluation does not use.
    counters = {name for name in network.state_dict() if name.endswith("num_batches_tracked")}
    state = {**{name: torch.tensor(0) for name in counters}, **state}
    check_state(path, network.state_dict(), state)
    network.load_state_dict(state, assign=True)
    return network.float().eval().requires_grad_(requires_grad=False)
