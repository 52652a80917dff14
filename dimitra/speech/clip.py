"""CLIP's text transformer (Radford et al. 2021) from a Hugging Face folder.

A few matrix products (``transformer``); a test compares it with ``transformers.CLIPTextModel``. The
folder holds ``config.json`` and ``model.safetensors`` or ``pytorch_model.bin``, of the whole model
(``openai/clip-vit-base-patch32``) or of its text part. OpenAI's own ``ViT-B-32.pt`` is a
TorchScript archive of other names, and is not read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dimitra.speech.errors import WeightsError
from dimitra.speech.tensors import (
    check_tensors,
    read_json,
    read_tensors,
    weights_file,
)
from dimitra.speech.transformer import NamedLayers, Shapes, linear_shapes, norm_shapes

_DEFAULTS: dict[str, Any] = {
    "vocab_size": 49408, "hidden_size": 512, "intermediate_size": 2048, "num_hidden_layers": 12,
    "num_attention_heads": 8, "max_position_embeddings": 77, "hidden_act": "quick_gelu",
    "layer_norm_eps": 1e-5,
}  # fmt: skip
"""ViT-B/32, which a configuration need not repeat (``transformers.CLIPTextConfig``)."""
_PREFIX = "text_model."
_OTHER = ("vision_model.", "visual_projection.", "text_projection.", "logit_scale")
"""Parts of the whole model that come beside, or after, the text transformer."""
_BUFFER = "embeddings.position_ids"


@dataclass(frozen=True)
class ClipText:
    """A text transformer.

    Attributes:
        named: its layers, by their names in the file without ``text_model.``.
        blocks: how many of them follow one another.
        width: values a token.
        positions: longest sequence.
        vocabulary: number of token ids.
    """

    named: NamedLayers
    blocks: int
    width: int
    positions: int
    vocabulary: int

    @classmethod
    def load(cls, folder: Path) -> ClipText:
        """Read the configuration and the weights.

        Raises:
            FileNotFoundError: a file is missing.
            WeightsError: another architecture, or weights that are not whole.
        """
        path = folder / "config.json"
        config = read_json(path)
        model_type = config.get("model_type")
        if model_type not in ("clip", "clip_text_model"):
            raise WeightsError(
                f"{path} describes a {model_type!r}; this encoder needs 'clip' or 'clip_text_model'"
            )
        given = (config.get("text_config") or {}) if model_type == "clip" else config
        text = {key: given.get(key, default) for key, default in _DEFAULTS.items()}
        if text["hidden_act"] != "quick_gelu":
            raise WeightsError(
                f"{path} has hidden_act {text['hidden_act']!r}; OpenAI's CLIP has 'quick_gelu'"
            )
        if text["hidden_size"] % text["num_attention_heads"]:
            raise WeightsError(
                f"{path}: hidden_size {text['hidden_size']} is no multiple of "
                f"num_attention_heads {text['num_attention_heads']}"
            )
        tensors = {
            name.removeprefix(_PREFIX): tensor.float()
            for name, tensor in read_tensors(folder).items()
            if not name.startswith(_OTHER) and name.removeprefix(_PREFIX) != _BUFFER
        }
        check_tensors(tensors, _shapes(text), weights_file(folder))
        return cls(
            NamedLayers(tensors, text["num_attention_heads"], text["layer_norm_eps"]),
            text["num_hidden_layers"],
            text["hidden_size"],
            text["max_position_embeddings"],
            text["vocab_size"],
        )

    def __call__(self, ids: Sequence[int]) -> Tensor:
        """Features of one text's tokens after the final norm.

        A token sees itself and what comes before it, so tokens that pad the text to 77 would
        change nothing, and there are none.

        Args:
            ids: token ids, ``[L]``, start and end marks included.

        Returns:
            ``[L, width]``.

        Raises:
            ValueError: more tokens than the network has positions for.
        """
        if len(ids) > self.positions:
            raise ValueError(f"{len(ids)} tokens, but the network has {self.positions} positions")
        named = self.named
        with torch.inference_mode():
            values = (
                named.weights["embeddings.token_embedding.weight"][torch.tensor(ids)]
                + named.weights["embeddings.position_embedding.weight"][: len(ids)]
            )
            later = torch.ones(len(ids), len(ids), dtype=torch.bool).triu(1)
            for number in range(self.blocks):
                block = f"encoder.layers.{number}"
                query, key, value = (f"{block}.self_attn.{part}_proj" for part in ("q", "k", "v"))
                inner = named.norm(f"{block}.layer_norm1", values)
                attended = named.attend((query, key, value), inner, later)
                values = values + named.linear(f"{block}.self_attn.out_proj", attended)
                inner = named.norm(f"{block}.layer_norm2", values)
                inner = named.linear(f"{block}.mlp.fc1", inner)
                # OpenAI's approximation of the Gaussian error unit.
                inner = inner * torch.sigmoid(1.702 * inner)
                values = values + named.linear(f"{block}.mlp.fc2", inner)
            return named.norm("final_layer_norm", values)


def _shapes(text: dict[str, Any]) -> Shapes:
    """Shape of every tensor that a configuration calls for."""
    width, inner = text["hidden_size"], text["intermediate_size"]
    norms, layers = ["final_layer_norm"], []
    for number in range(text["num_hidden_layers"]):
        block = f"encoder.layers.{number}"
        norms += [f"{block}.layer_norm1", f"{block}.layer_norm2"]
        layers += [
            *((f"{block}.self_attn.{part}_proj", width, width) for part in ("q", "k", "v", "out")),
            (f"{block}.mlp.fc1", inner, width),
            (f"{block}.mlp.fc2", width, inner),
        ]
    return {
        "embeddings.token_embedding.weight": (text["vocab_size"], width),
        "embeddings.position_embedding.weight": (text["max_position_embeddings"], width),
        **norm_shapes(norms, width),
        **linear_shapes(layers),
    }
