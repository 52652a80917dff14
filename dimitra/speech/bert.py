"""Forward pass of a BERT encoder (Devlin et al. 2019) from a Hugging Face ``model.safetensors``.

A few matrix products in place of the transformers package, which takes seconds to import. Dropout
is off; the pooler is left out; a test compares it with ``transformers.BertModel``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from dimitra.speech.errors import WeightsError
from dimitra.speech.tensors import (
    check_tensors,
    read_json,
    read_tensors,
    weights_file,
)

_UNUSED = ("pooler.", "embeddings.position_ids")
"""Parts of a checkpoint that come after the last layer, or are counted here."""


_SIZES = (
    "vocab_size", "type_vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers",
    "num_attention_heads", "max_position_embeddings", "layer_norm_eps",
)  # fmt: skip


@dataclass(frozen=True)
class Bert:
    """Weights of an encoder, by their names in the file.

    Attributes:
        weights: name to tensor.
        layers: number of blocks.
        heads: attention heads.
        epsilon: of the layer norms.
        width: values a token.
        positions: longest sequence.
    """

    weights: dict[str, Tensor]
    layers: int
    heads: int
    epsilon: float
    width: int
    positions: int

    @classmethod
    def load(cls, folder: Path) -> Bert:
        """Read ``config.json`` and ``model.safetensors``.

        Raises:
            FileNotFoundError: a file is missing.
            WeightsError: the configuration is not that of a BERT with GELU and absolute positions,
                or the weights are not whole.
        """
        path = folder / "config.json"
        config = read_json(path)
        found = {
            key: config.get(key) for key in ("model_type", "hidden_act", "position_embedding_type")
        }
        expected = {
            "model_type": "bert", "hidden_act": "gelu", "position_embedding_type": "absolute",
        }  # fmt: skip
        if found != expected:
            raise WeightsError(f"{path} has {found}; this encoder needs {expected}")
        lacking = [key for key in _SIZES if key not in config]
        if lacking:
            raise WeightsError(f"{path} lacks {', '.join(lacking)}")
        named = {name.removeprefix("bert."): t for name, t in read_tensors(folder).items()}
        tensors = {name: t.float() for name, t in named.items() if not name.startswith(_UNUSED)}
        check_tensors(tensors, _shapes(config), weights_file(folder))
        return cls(
            tensors,
            config["num_hidden_layers"],
            config["num_attention_heads"],
            config["layer_norm_eps"],
            config["hidden_size"],
            config["max_position_embeddings"],
        )

    def _linear(self, name: str, values: Tensor) -> Tensor:
        return functional.linear(
            values, self.weights[f"{name}.weight"], self.weights[f"{name}.bias"]
        )

    def _norm(self, name: str, values: Tensor) -> Tensor:
        weight, bias = self.weights[f"{name}.weight"], self.weights[f"{name}.bias"]
        return functional.layer_norm(values, (self.width,), weight, bias, self.epsilon)

    def _attend(self, name: str, values: Tensor) -> Tensor:
        parts = []
        for part in ("query", "key", "value"):
            projected = self._linear(f"{name}.{part}", values)
            parts.append(projected.view(len(values), self.heads, -1).transpose(0, 1))
        query, key, value = parts
        scores = query @ key.transpose(1, 2) / query.shape[-1] ** 0.5
        mixed = scores.softmax(dim=-1) @ value
        joined: Tensor = mixed.transpose(0, 1).reshape(len(values), self.width)
        return joined

    def __call__(self, ids: Sequence[int]) -> Tensor:
        """Last-layer features of one text.

        Args:
            ids: token ids, ``[L]``.

        Returns:
            ``[L, width]``.

        Raises:
            ValueError: more tokens than the network has positions for.
        """
        if len(ids) > self.positions:
            raise ValueError(f"{len(ids)} tokens, but the network has {self.positions} positions")
        tables = "embeddings.{}_embeddings.weight"
        with torch.inference_mode():
            values = (
                self.weights[tables.format("word")][torch.tensor(ids)]
                + self.weights[tables.format("token_type")][0]
                + self.weights[tables.format("position")][: len(ids)]
            )
            values = self._norm("embeddings.LayerNorm", values)
            for layer in range(self.layers):
                block = f"encoder.layer.{layer}"
                attended = self._attend(f"{block}.attention.self", values)
                attended = self._linear(f"{block}.attention.output.dense", attended)
                values = self._norm(f"{block}.attention.output.LayerNorm", attended + values)
                inner = functional.gelu(self._linear(f"{block}.intermediate.dense", values))
                outer = self._linear(f"{block}.output.dense", inner)
                values = self._norm(f"{block}.output.LayerNorm", outer + values)
        return values


def _shapes(config: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """Shape of every tensor that a configuration calls for."""
    width, inner = config["hidden_size"], config["intermediate_size"]
    shapes: dict[str, tuple[int, ...]] = {
        "embeddings.word_embeddings.weight": (config["vocab_size"], width),
        "embeddings.token_type_embeddings.weight": (config["type_vocab_size"], width),
        "embeddings.position_embeddings.weight": (config["max_position_embeddings"], width),
    }
    norms = ["embeddings.LayerNorm"]
    for layer in range(config["num_hidden_layers"]):
        block = f"encoder.layer.{layer}"
        norms += [f"{block}.attention.output.LayerNorm", f"{block}.output.LayerNorm"]
        for name, out, into in (
            *((f"attention.self.{part}", width, width) for part in ("query", "key", "value")),
            ("attention.output.dense", width, width),
            ("intermediate.dense", inner, width),
            ("output.dense", width, inner),
        ):
            shapes[f"{block}.{name}.weight"] = (out, into)
            shapes[f"{block}.{name}.bias"] = (out,)
    return shapes | {f"{norm}.{part}": (width,) for norm in norms for part in ("weight", "bias")}
