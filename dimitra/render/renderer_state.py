"""The state of a renderer's training between two steps: all that it needs to go on."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import astuple, dataclass

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

_FORMAT = "dimitra-renderer-training-1"
_MOMENTS = ("exp_avg", "exp_avg_sq", "step")
"""Of Adam; the editing net's count of steps begins later than the others'."""


@dataclass(frozen=True)
class RendererStep:
    """One row of the training curve.

    Attributes:
        step: from 0.
        loss: the weighted sum.
        warp: of the moved photo, unweighted.
        final: of the drawn picture, unweighted; 0 while the warping net alone is trained.
        grad_norm: of all gradients.
        learning_rate: of this step.
    """

    step: int
    loss: float
    warp: float
    final: float
    grad_norm: float
    learning_rate: float


class RendererStateError(ValueError):
    """A saved state cannot be used; the message says why."""


@dataclass(frozen=True, eq=False)
class RendererState:
    """Weights, their average, Adam's moments, and the curve so far.

    Random numbers need no state: they come from (seed, step, clip id).

    Attributes:
        tensors: ``weights.<name>``, ``averaged.<name>``, and for weights that have had a gradient
            ``exp_avg.<name>``, ``exp_avg_sq.<name>``, ``step.<name>``; on the CPU.
        curve: one row for every step that was done.
    """

    tensors: dict[str, Tensor]
    curve: tuple[RendererStep, ...]

    @property
    def steps(self) -> int:
        """Steps done."""
        return len(self.curve)

    @classmethod
    def of(
        cls,
        network: nn.Module,
        averaged: Sequence[Tensor],
        optimiser: torch.optim.Optimizer,
        curve: Sequence[RendererStep],
    ) -> RendererState:
        """Copy the state of a training after a step."""
        tensors: dict[str, Tensor] = {}
        for (name, weight), average in zip(network.named_parameters(), averaged, strict=True):
            tensors[f"weights.{name}"] = _copy(weight)
            tensors[f"averaged.{name}"] = _copy(average)
            for moment, value in optimiser.state.get(weight, {}).items():
                if moment in _MOMENTS:
                    tensors[f"{moment}.{name}"] = _copy(value)
        return cls(tensors, tuple(curve))

    def restore(
        self, network: nn.Module, averaged: Sequence[Tensor], optimiser: torch.optim.Optimizer
    ) -> None:
        """Put the state into a network, its average and its optimiser (in place).

        Raises:
            RendererStateError: the state is another network's.
        """
        names = {name: weight.shape for name, weight in network.named_parameters()}
        found = {
            name.removeprefix("weights."): tensor.shape
            for name, tensor in self.tensors.items()
            if name.startswith("weights.")
        }
        differing = sorted(
            name for name in names.keys() | found.keys() if names.get(name) != found.get(name)
        )
        if differing:
            raise RendererStateError(
                f"the saved state is another network's: {len(differing)} weights differ, for "
                f"example {differing[0]}"
            )
        with torch.no_grad():
            for (name, weight), average in zip(network.named_parameters(), averaged, strict=True):
                weight.copy_(self.tensors[f"weights.{name}"])
                average.copy_(self.tensors[f"averaged.{name}"])
                if f"step.{name}" in self.tensors:
                    moments = {one: self.tensors[f"{one}.{name}"].clone() for one in _MOMENTS}
                    optimiser.state[weight] = {
                        one: value if one == "step" else value.to(weight.device)
                        for one, value in moments.items()
                    }

    def averaged(self) -> dict[str, Tensor]:
        """The averaged weights, by name."""
        return {
            name.removeprefix("averaged."): tensor
            for name, tensor in self.tensors.items()
            if name.startswith("averaged.")
        }

    def to_bytes(self, about: str) -> bytes:
        """One safetensors file.

        Args:
            about: names the training; ``from_bytes`` compares it.
        """
        metadata = {
            "format": _FORMAT,
            "about": about,
            "curve": json.dumps([astuple(record) for record in self.curve]),
        }
        return safetensors.torch.save(self.tensors, metadata)

    @classmethod
    def from_bytes(cls, data: bytes, about: str) -> RendererState:
        """Read what ``to_bytes`` wrote.

        Raises:
            RendererStateError: damaged, of another version, or another training's.
        """
        try:
            length = int.from_bytes(data[:8], "little")
            metadata = json.loads(data[8 : 8 + length])["__metadata__"]
            tensors = safetensors.torch.load(data)
            curve = tuple(RendererStep(*row) for row in json.loads(metadata["curve"]))
        except (KeyError, TypeError, ValueError, safetensors.SafetensorError) as error:
            raise RendererStateError(f"the saved state cannot be read: {error}") from error
        if (metadata.get("format"), metadata.get("about")) != (_FORMAT, about):
            raise RendererStateError(
                f"the saved state belongs to training {metadata.get('about')!r}"
            )
        return cls(tensors, curve)


def _copy(tensor: Tensor) -> Tensor:
    return tensor.detach().to("cpu", copy=True).contiguous()
