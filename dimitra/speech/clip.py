"""CLIP's text transformer (Radford et al. 2021) from a Hugging Face folder.

A few matrix products, as in ``bert``; a test compares it with ``transformers.CLIPTextModel``. The
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
from torch.nn import functional

from dimitra.speech.errors import WeightsError
from dimitra.speech.tensors import (
    check_tensors,
    read_json,
    read_tensors,
    weights_file,
)

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
    """Weights of a text transformer, by their names in the file without ``text_model.``.

    Attributes:
        weights: name to tensor.
        layers: number of blocks.
        heads: attention heads.
        epsilon: of the layer norms.
        width: values a token.
        positions: longest sequence.
        vocabulary: number of token ids.
    """

    weights: dict[str, Tensor]
    layers: int
    heads: int
    epsilon: float
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
            tensors,
            text["num_hidden_layers"],
            text["num_attention_heads"],
            text["layer_norm_eps"],
            text["hidden_size"],
            text["max_position_embeddings"],
            text["vocab_size"],
        )

    def _linear(self, name: str, values: Tensor) -> Tensor:
        return functional.linear(
            values, self.weights[f"{name}.weight"], self.weights[f"{name}.bias"]
        )

    def _norm(self, name: str, values: Tensor) -> Tensor:
        weight, bias = self.weights[f"{name}.weight"], self.weights[f"{name}.bias"]
        return functional.layer_norm(values, (self.width,), weight, bias, self.epsilon)

    def _attend(self, name: str, values: Tensor, later: Tensor) -> Tensor:
        parts = []
        for part in ("q_proj", "k_proj", "v_proj"):
            projected = self._linear(f"{name}.{part}", values)
            parts.append(projected.view(len(values), self.heads, -1).transpose(0, 1))
        query, key, value = parts
        scores = query @ key.transpose(1, 2) / query.shape[-1] ** 0.5
        mixed = scores.masked_fill(later, -torch.inf).softmax(dim=-1) @ value
        joined = mixed.transpose(0, 1).reshape(len(values), self.width)
        return self._linear(f"{name}.out_proj", joined)

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
        with torch.inference_mode():
            values = (
                self.weights["embeddings.token_embedding.weight"][torch.tensor(ids)]
                + self.weights["embeddings.position_embedding.weight"][: len(ids)]
            )
            later = torch.ones(len(ids), len(ids), dtype=torch.bool).triu(1)
            for layer in range(self.layers):
                block = f"encoder.layers.{layer}"
                inner = self._norm(f"{block}.layer_norm1", values)
                values = values + self._attend(f"{block}.self_attn", inner, later)
                inner = self._linear(f"{block}.mlp.fc1", self._norm(f"{block}.layer_norm2", values))
                # OpenAI's approximation of the Gaussian error unit.
                inner = inner * torch.sigmoid(1.702 * inner)
                values = values + self._linear(f"{block}.mlp.fc2", inner)
            return self._norm("final_layer_norm", values)


def _shapes(text: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """Shape of every tensor that a configuration calls for."""
    width, inner = text["hidden_size"], text["intermediate_size"]
    shapes: dict[str, tuple[int, ...]] = {
        "embeddings.token_embedding.weight": (text["vocab_size"], width),
        "embeddings.position_embedding.weight": (text["max_position_embeddings"], width),
        "final_layer_norm.weight": (width,),
        "final_layer_norm.bias": (width,),
    }
    for layer in range(text["num_hidden_layers"]):
        block = f"encoder.layers.{layer}"
        for norm in ("layer_norm1", "layer_norm2"):
            shapes |= {f"{block}.{norm}.{part}": (width,) for part in ("weight", "bias")}
        for name, out, into in (
            *((f"self_attn.{part}_proj", width, width) for part in ("q", "k", "v", "out")),
            ("mlp.fc1", inner, width),
            ("mlp.fc2", width, inner),
        ):
            shapes[f"{block}.{name}.weight"] = (out, into)
            shapes[f"{block}.{name}.bias"] = (out,)
    return shapes
