"""Dropout whose noise is a function of (window, layer, position), not of a generator's state.

A resumed training and any number of processes then drop the same values. Which value is dropped
comes from a hash of integers, so that a whole batch is drawn at once, on any device.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

KEYS = 2**32
"""Keys of windows lie in 0 to this, exclusive."""
_FACTORS = (0x21F0AAAD, 0x735A2D97)
"""Odd and below 2**31: their products with 32 bits fit an int64."""
_LAYER = 0x61C88647
"""Odd: two layers of one window have different keys."""


def scrambled(numbers: Tensor) -> Tensor:
    """A bijection of 32 bits, held in int64; shifts and products in turn, as MurmurHash3 ends."""
    low = KEYS - 1
    numbers = numbers ^ (numbers >> 16)
    numbers = (numbers * _FACTORS[0]) & low
    numbers = numbers ^ (numbers >> 15)
    numbers = (numbers * _FACTORS[1]) & low
    return numbers ^ (numbers >> 15)


class Dropout(nn.Module):
    """As ``torch.nn.Dropout``, for [B, N, C], with the noise that ``key`` has set.

    Position n, channel c of a window is dropped or not whatever the batch beside it and its padding
    are. Used once in a pass: a second use would drop the same values.

    Args:
        share: of the values that are dropped; 0 lets all through as they are.
    """

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share
        self.number = 0
        self.keys: Tensor | None = None

    def forward(self, values: Tensor) -> Tensor:
        """[B, N, C].

        Raises:
            RuntimeError: in training, without the keys of the windows.
        """
        if not self.training or self.share == 0.0:
            return values
        if self.keys is None:
            raise RuntimeError(
                "dropout in training without keys: call dimitra.cmdt.dropout.key(model, keys) "
                "before each pass"
            )
        _, length, channels = values.shape
        place = torch.arange(length * channels, device=values.device).view(length, channels)
        window = scrambled((self.keys + _LAYER * (self.number + 1)) & (KEYS - 1))
        bits = scrambled(scrambled(place) ^ window[:, None, None])
        dropped = bits < round(self.share * KEYS)
        return values.masked_fill(dropped, 0.0) / (1.0 - self.share)

    def extra_repr(self) -> str:
        return f"share={self.share}"


def number(model: nn.Module) -> None:
    """Give every dropout of a model its own noise."""
    layers = (module for module in model.modules() if isinstance(module, Dropout))
    for index, layer in enumerate(layers):
        layer.number = index


def key(model: nn.Module, keys: Tensor) -> None:
    """Set the windows of the next pass.

    Args:
        model: whose dropouts draw from ``keys``.
        keys: [B] int64 in 0 to ``KEYS``, one a window, on the model's device.
    """
    for module in model.modules():
        if isinstance(module, Dropout):
            module.keys = keys
