"""The state of a training between two steps: all that it needs to go on."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import astuple, dataclass

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

_FORMAT = "dimitra-training-1"
_MOMENTS = ("exp_avg", "exp_avg_sq")
"""Of Adam (Kingma and Ba, 2015): the running means of the gradient and of its square."""


@dataclass(frozen=True)
class StepRecord:
    """One row of the training curve.

    Attributes:
        step: from 0.
        loss: the weighted sum.
        diffusion: L_diff.
        first_pose: L_first.
        velocity: of the change from frame to frame.
        grad_norm: before clipping.
        learning_rate: of this step.
    """

    step: int
    loss: float
    diffusion: float
    first_pose: float
    velocity: float
    grad_norm: float
    learning_rate: float


class StateError(ValueError):
    """A saved state cannot be used; the message says why."""


@dataclass(frozen=True, eq=False)
class TrainingState:
    """Weights, their average, the optimiser's moments, and the curve so far.

    Random numbers need no state: they come from (seed, step, clip id).

    Attributes:
        tensors: ``weights.<name>``, ``averaged.<name>``, ``exp_avg.<name>``,
            ``exp_avg_sq.<name>``, on the CPU.
        curve: one record for every step that was done.
    """

    tensors: dict[str, Tensor]
    curve: tuple[StepRecord, ...]

    @property
    def steps(self) -> int:
        """Steps done."""
        return len(self.curve)

    @classmethod
    def of(
        cls,
        model: nn.Module,
        averaged: Sequence[Tensor],
        optimiser: torch.optim.Optimizer,
        curve: Sequence[StepRecord],
    ) -> TrainingState:
        """Copy the state of a training after a step."""
        tensors: dict[str, Tensor] = {}
        for (name, weight), average in zip(model.named_parameters(), averaged, strict=True):
            tensors[f"weights.{name}"] = _copy(weight)
            tensors[f"averaged.{name}"] = _copy(average)
            moments = optimiser.state.get(weight, {})  # none where no gradient has come yet
            for moment in _MOMENTS:
                if moment in moments:
                    tensors[f"{moment}.{name}"] = _copy(moments[moment])
        return cls(tensors, tuple(curve))

    def restore(
        self, model: nn.Module, averaged: Sequence[Tensor], optimiser: torch.optim.Optimizer
    ) -> None:
        """Put the state into a model, its average and its optimiser (in place).

        Raises:
            StateError: the state is another model's.
        """
        names = {name: weight.shape for name, weight in model.named_parameters()}
        found = {
            name.removeprefix("weights."): tensor.shape
            for name, tensor in self.tensors.items()
            if name.startswith("weights.")
        }
        if names != found:
            differing = sorted(
                name for name in names.keys() | found.keys() if names.get(name) != found.get(name)
            )
            raise StateError(
                f"the saved state is another model's: {len(differing)} weights differ, for example "
                f"{differing[0]}"
            )
        with torch.no_grad():
            for (name, weight), average in zip(model.named_parameters(), averaged, strict=True):
                weight.copy_(self.tensors[f"weights.{name}"])
                average.copy_(self.tensors[f"averaged.{name}"])
                moments = {
                    moment: self.tensors[f"{moment}.{name}"].to(weight.device)
                    for moment in _MOMENTS
                    if f"{moment}.{name}" in self.tensors
                }
                if moments:
                    optimiser.state[weight] = {
                        "step": torch.tensor(float(self.steps)),
                        **moments,
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
    def from_bytes(cls, data: bytes, about: str) -> TrainingState:
        """Read what ``to_bytes`` wrote.

        Raises:
            StateError: damaged, of another version, or another training's.
        """
        try:
            length = int.from_bytes(data[:8], "little")
            metadata = json.loads(data[8 : 8 + length])["__metadata__"]
            tensors = safetensors.torch.load(data)
            curve = tuple(StepRecord(*row) for row in json.loads(metadata["curve"]))
        except (KeyError, TypeError, ValueError, safetensors.SafetensorError) as error:
            raise StateError(f"the saved state cannot be read: {error}") from error
        if (metadata.get("format"), metadata.get("about")) != (_FORMAT, about):
            raise StateError(f"the saved state belongs to training {metadata.get('about')!r}")
        return cls(tensors, curve)


def _copy(tensor: Tensor) -> Tensor:
    return tensor.detach().to("cpu", copy=True).contiguous()
