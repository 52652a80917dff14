"""Parts that text transformers share: layers by the names of their weights, on one sequence.

A few matrix products in place of the transformers package, which takes seconds to import.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

Shapes = dict[str, tuple[int, ...]]
"""Shape of each tensor of a network, by its name."""


@dataclass(frozen=True)
class NamedLayers:
    """Weights of a transformer, applied by name to values ``[L, width]``.

    Attributes:
        weights: name to tensor; a layer ``x`` has ``x.weight`` and ``x.bias``.
        heads: attention heads.
        epsilon: of the layer norms.
    """

    weights: Mapping[str, Tensor]
    heads: int
    epsilon: float

    def linear(self, name: str, values: Tensor) -> Tensor:
        """A linear layer."""
        return functional.linear(
            values, self.weights[f"{name}.weight"], self.weights[f"{name}.bias"]
        )

    def norm(self, name: str, values: Tensor) -> Tensor:
        """A layer norm."""
        weight, bias = self.weights[f"{name}.weight"], self.weights[f"{name}.bias"]
        return functional.layer_norm(values, values.shape[-1:], weight, bias, self.epsilon)

    def attend(
        self, names: tuple[str, str, str], values: Tensor, hidden: Tensor | None = None
    ) -> Tensor:
        """Self-attention without the projection after it.

        Args:
            names: linear layers of query, key and value.
            values: ``[L, width]``.
            hidden: ``[L, L]``, true where a row must not see a column.

        Returns:
            ``[L, width]``, the heads side by side.
        """
        query, key, value = (
            self.linear(name, values).view(len(values), self.heads, -1).transpose(0, 1)
            for name in names
        )
        scores = query @ key.transpose(1, 2) / query.shape[-1] ** 0.5
        if hidden is not None:
            scores = scores.masked_fill(hidden, -torch.inf)
        mixed = scores.softmax(dim=-1) @ value
        joined: Tensor = mixed.transpose(0, 1).reshape(values.shape)
        return joined


def linear_shapes(layers: Iterable[tuple[str, int, int]]) -> Shapes:
    """Shapes of linear layers, each given by its name, its outputs and its inputs."""
    shapes: Shapes = {}
    for name, out, into in layers:
        shapes |= {f"{name}.weight": (out, into), f"{name}.bias": (out,)}
    return shapes


def norm_shapes(names: Iterable[str], width: int) -> Shapes:
    """Shapes of layer norms."""
    return {f"{name}.{part}": (width,) for name in names for part in ("weight", "bias")}
