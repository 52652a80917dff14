"""Weights of a model folder as named tensors, checked against what the network needs.

Nothing is filled in: a network whose weights are not all in the file is refused.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from dimitra.speech.errors import WeightsError
from dimitra.torch_file import TorchFileError, read_torch_file

SAFETENSORS = "model.safetensors"
BIN = "pytorch_model.bin"
_SHOWN = 4


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object.

    Raises:
        FileNotFoundError: no such file.
        WeightsError: it holds something else.
    """
    if not path.is_file():
        there = sorted(p.name for p in path.parent.iterdir()) if path.parent.is_dir() else None
        raise FileNotFoundError(
            f"{path} does not exist"
            + (f"; the folder holds {', '.join(there) or 'nothing'}" if there is not None else "")
        )
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise WeightsError(f"{path} is not JSON: {error}") from None
    if not isinstance(content, dict):
        raise WeightsError(f"{path} holds a {type(content).__name__}, expected an object")
    return content


def weights_file(folder: Path) -> Path:
    """``model.safetensors`` of a folder, or else its ``pytorch_model.bin``.

    Raises:
        FileNotFoundError: it has neither.
    """
    for name in (SAFETENSORS, BIN):
        if (folder / name).is_file():
            return folder / name
    raise FileNotFoundError(f"{folder} holds neither {SAFETENSORS} nor {BIN}")


def read_checkpoint(path: Path) -> Any:
    """What ``torch.load`` gives, tensors and plain containers alone.

    Raises:
        WeightsError: the file is damaged, or holds other Python objects.
    """
    try:
        return read_torch_file(path, "tensors")
    except TorchFileError as error:
        raise WeightsError(str(error)) from None


def read_tensors(folder: Path) -> dict[str, Tensor]:
    """All tensors of a model folder, by their names in its file.

    Raises:
        FileNotFoundError: the folder has no weights.
        WeightsError: the file is damaged, or holds other things than tensors.
    """
    path = weights_file(folder)
    if path.name == SAFETENSORS:
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            return load_file(path)
        except SafetensorError as error:
            raise WeightsError(f"{path} is damaged: {error}") from None
    tensors = read_checkpoint(path)
    if not isinstance(tensors, dict) or not all(isinstance(t, Tensor) for t in tensors.values()):
        raise WeightsError(f"{path} is not a mapping of names to tensors")
    return dict(tensors)


def _some(names: Iterable[str]) -> str:
    listed = sorted(names)
    more = f" and {len(listed) - _SHOWN} more" if len(listed) > _SHOWN else ""
    return ", ".join(listed[:_SHOWN]) + more


def check_tensors(
    tensors: Mapping[str, Tensor], shapes: Mapping[str, tuple[int, ...]], path: Path
) -> None:
    """Refuse tensors that are not exactly those of the network.

    Args:
        tensors: what the file holds.
        shapes: what the network needs.
        path: for the message.

    Raises:
        WeightsError: naming what is missing, what is not the network's, both shapes, or a tensor
            with values that are not finite.
    """
    wrong = [
        f"{name} {tuple(tensors[name].shape)} (needs {shape})"
        for name, shape in shapes.items()
        if name in tensors and tuple(tensors[name].shape) != tuple(shape)
    ]
    refuse(path, set(shapes) - set(tensors), set(tensors) - set(shapes), wrong)
    check_finite(tensors.items(), path)


def check_finite(tensors: Iterable[tuple[str, Tensor]], path: Path) -> None:
    """Refuse weights that are no numbers: every feature would be none, without a word.

    Raises:
        WeightsError: naming the first such tensor.
    """
    for name, tensor in tensors:
        if not tensor.isfinite().all():
            raise WeightsError(f"{path}: {name} holds values that are not finite")


def refuse(
    path: Path, missing: Iterable[str], unknown: Iterable[str], wrong: Iterable[str]
) -> None:
    """Raise where anything is wrong with the tensors of a file.

    Raises:
        WeightsError: naming the tensors.
    """
    problems = [
        f"{label}: {_some(names)}"
        for label, names in (
            ("missing", list(missing)), ("not part of it", list(unknown)), ("shape", list(wrong)),
        )
        if names
    ]  # fmt: skip
    if problems:
        raise WeightsError(
            f"{path} does not hold the network that its configuration describes; "
            + "; ".join(problems)
        )
