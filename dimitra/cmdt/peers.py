"""The processes that train one model together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


class Peers(Protocol):
    """Several processes, each with its share of every batch and its own copy of the model.

    Attributes:
        rank: of this process, from 0.
        size: number of processes.
    """

    @property
    def rank(self) -> int: ...

    @property
    def size(self) -> int: ...

    def add(self, tensors: Sequence[Tensor]) -> None:
        """Replace every tensor by its sum over the processes."""
        ...


@dataclass(frozen=True)
class Alone:
    """One process."""

    rank: int = 0
    size: int = 1

    def add(self, tensors: Sequence[Tensor]) -> None:
        """The sum over one process is what it has."""


@dataclass(frozen=True)
class Group:
    """The processes of torch's default process group, which must have been started."""

    rank: int
    size: int

    @classmethod
    def joined(cls) -> Group:
        """The group that this process has joined."""
        return cls(torch.distributed.get_rank(), torch.distributed.get_world_size())

    def add(self, tensors: Sequence[Tensor]) -> None:
        """Sum in one message: the tensors are laid end to end."""
        flat = torch.cat([tensor.detach().reshape(-1) for tensor in tensors])
        torch.distributed.all_reduce(flat)
        pieces = torch.split(flat, [tensor.numel() for tensor in tensors])
        with torch.no_grad():
            for tensor, piece in zip(tensors, pieces, strict=True):
                tensor.copy_(piece.view_as(tensor))
