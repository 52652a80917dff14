"""Files of ``torch.save``, read as tensors and plain containers alone: no pickled code runs."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

_ARCHIVE, _PICKLE = b"PK\x03\x04", b"\x80"
"""First bytes of what ``torch.save`` writes, from version 1.6 on and before it."""
_SHOWN = 4


class TorchFileError(ValueError):
    """A file of ``torch.save`` cannot be used; the message names it and what is wrong with it."""


def read_torch_file(path: Path, needed: str) -> Any:
    """What ``torch.load`` gives with ``weights_only``, on the CPU.

    Args:
        path: the file.
        needed: what of it is used, for the message about other contents.

    Raises:
        TorchFileError: the file is damaged, or holds other Python objects.
    """
    import torch

    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (PermissionError, MemoryError):
        raise
    except Exception as error:  # noqa: BLE001 - bytes that are no pickle fail in any way
        found = re.search(r"GLOBAL ([\w.]+)", str(error))
        if found and _begins_as_saved(path):
            raise TorchFileError(
                f"{path} holds Python objects ({found[1]}), which are never loaded; save its "
                f"{needed} alone"
            ) from None
        # Not torch's message: it advises to load the file without `weights_only`.
        raise TorchFileError(
            f"{path} is damaged, or no file of torch.save (torch: {type(error).__name__}): was "
            "all of it downloaded, and is it no web page?"
        ) from None


def _begins_as_saved(path: Path) -> bool:
    """Whether it can be a pickle: text that begins with ``c`` reads as the name of an object."""
    with path.open("rb") as stream:
        return stream.read(len(_ARCHIVE)).startswith((_ARCHIVE, _PICKLE))


def check_state(path: Path, wanted: Mapping[str, Tensor], found: Mapping[str, Any]) -> None:
    """Refuse the weights of another network, or damaged ones.

    Args:
        path: the file, for the message.
        wanted: the network's own tensors.
        found: the file's.

    Raises:
        TorchFileError: a tensor is missing, unknown, of another shape, or holds values that are
            not finite.
    """
    from torch import Tensor

    missing = sorted(wanted.keys() - found.keys())
    unknown = sorted(found.keys() - wanted.keys())
    if missing or unknown:
        raise TorchFileError(
            f"{path}: {len(missing)} tensors are missing {_some(missing)} and {len(unknown)} are "
            f"unknown {_some(unknown)}; is it the network that is meant?"
        )
    for name, tensor in wanted.items():
        value = found[name]
        shape = list(value.shape) if isinstance(value, Tensor) else type(value).__name__
        if shape != list(tensor.shape):
            raise TorchFileError(f"{path}: {name} is {shape}, expected {list(tensor.shape)}")
        if not value.isfinite().all():
            raise TorchFileError(f"{path}: {name} holds values that are not finite")


def _some(names: Sequence[str]) -> str:
    return f"({', '.join(names[:_SHOWN])}{', ...' if len(names) > _SHOWN else ''})"
