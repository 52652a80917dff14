"""Forward pass of a BERT encoder (Devlin et al. 2019) from a Hugging Face ``model.safetensors``.

A few matrix products (``transformer``). Dropout is off; the pooler is left out; a test compares it
with ``transformers.BertModel``.
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
from dimitra.speech.transformer import NamedLayers, Shapes, linear_shapes, norm_shapes

_UNUSED = ("pooler.", "embeddings.position_ids")
"""Parts of a checkpoint that come after the last layer, or are counted here."""


_SIZES = (
    "vocab_size", "type_vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers",
    "num_attention_heads", "max_position_embeddings", "layer_norm_eps",
)  # fmt: skip


@dataclass(frozen=True)
class Bert:
    """An encoder.

    Attributes:
        named: its layers, by their names in the file.
        blocks: how many of them follow one another.
        width: values a token.
        positions: longest sequence.
    """

    named: NamedLayers
    blocks: int
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
            NamedLayers(tensors, config["num_attention_heads"], config["layer_norm_eps"]),
            config["num_hidden_layers"],
            config["hidden_size"],
            config["max_position_embeddings"],
        )

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
        named, tables = self.named, "embeddings.{}_embeddings.weight"
        with torch.inference_mode():
            values = (
                named.weights[tables.format("word")][torch.tensor(ids)]
                + named.weights[tables.format("token_type")][0]
                + named.weights[tables.format("position")][: len(ids)]
            )
            values = named.norm("embeddings.LayerNorm", values)
            for number in range(self.blocks):
                block = f"encoder.layer.{number}"
                query, key, value = (
                    f"{block}.attention.self.{part}" for part in ("query", "key", "value")
                )
                attended = named.attend((query, key, value), values)
                attended = named.linear(f"{block}.attention.output.dense", attended)
                values = named.norm(f"{block}.attention.output.LayerNorm", attended + values)
                inner = functional.gelu(named.linear(f"{block}.intermediate.dense", values))
                outer = named.linear(f"{block}.output.dense", inner)
                values = named.norm(f"{block}.output.LayerNorm", outer + values)
        return values


def _shapes(config: dict[str, Any]) -> Shapes:
    """Shape of every tensor that a configuration calls for."""
    width, inner = config["hidden_size"], config["intermediate_size"]
    norms, layers = ["embeddings.LayerNorm"], []
    for number in range(config["num_hidden_layers"]):
        block = f"encoder.layer.{number}"
        norms += [f"{block}.attention.output.LayerNorm", f"{block}.output.LayerNorm"]
        layers += [
            *(
                (f"{block}.attention.self.{part}", width, width)
                for part in ("query", "key", "value")
            ),
            (f"{block}.attention.output.dense", width, width),
            (f"{block}.intermediate.dense", inner, width),
            (f"{block}.output.dense", width, inner),
        ]
    return {
        "embeddings.word_embeddings.weight": (config["vocab_size"], width),
        "embeddings.token_type_embeddings.weight": (config["type_vocab_size"], width),
        "embeddings.position_embeddings.weight": (config["max_position_embeddings"], width),
        **norm_shapes(norms, width),
        **linear_shapes(layers),
    }
