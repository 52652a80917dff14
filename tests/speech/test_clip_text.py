"""CLIP's text transformer: seeded networks, and a slice of the real vocabulary."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer

from dimitra.speech.clip import ClipText
from dimitra.speech.clip_text import END, START, ClipTextEncoder, clip_tokenizer
from dimitra.speech.errors import WeightsError

transformers = pytest.importorskip("transformers")

SLICE = json.loads((Path(__file__).parent / "clip_tokens.json").read_text(encoding="utf-8"))
"""Tokens and merges of the published vocabulary that a few texts use, with the ids that OpenAI's
own tokenizer gives."""
SMALL = {
    "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2,
    "projection_dim": 8,
}  # fmt: skip


def write_tokenizer(folder: Path, vocab: dict[str, int]) -> None:
    (folder / "vocab.json").write_text(json.dumps(vocab))
    lines = ["#version: 0.2", *SLICE["merges"]]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


def vocabulary() -> dict[str, int]:
    """The slice, numbered from 0 so that a small network has a row for each token."""
    return {token: index for index, token in enumerate(SLICE["vocab"])}


def save(folder: Path, *, whole: bool = True) -> Any:
    """Save a seeded model and its tokenizer; returns transformers' text model."""
    torch.manual_seed(7)
    vocab = vocabulary()
    write_tokenizer(folder, vocab)
    text = transformers.CLIPTextConfig(
        vocab_size=len(vocab), bos_token_id=vocab[START], eos_token_id=vocab[END],
        pad_token_id=vocab[END], **SMALL,
    )  # fmt: skip
    if not whole:
        model = transformers.CLIPTextModel(text).eval()
        model.save_pretrained(folder)
        return model
    vision = {
        "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1,
        "num_attention_heads": 2, "image_size": 32, "patch_size": 16,
    }  # fmt: skip
    config = transformers.CLIPConfig(text_config=text.to_dict(), vision_config=vision)
    model = transformers.CLIPModel(config).eval()
    with torch.no_grad():  # CLIP's own start is so small that no layer would show
        for value in model.parameters():
            value.copy_(torch.randn_like(value) * 0.2)
    model.save_pretrained(folder)
    return model.text_model


TEXTS = [text for text in SLICE["texts"] if text]


@pytest.mark.parametrize("whole", [True, False])
def test_features_are_transformers_own(tmp_path: Path, whole: bool) -> None:
    model = save(tmp_path, whole=whole)
    encoder = ClipTextEncoder(tmp_path, 77)
    features = encoder.encode(TEXTS)
    assert encoder.dim == 16
    tokenizer = clip_tokenizer(tmp_path)
    end = tokenizer.token_to_id(END)
    for index, text in enumerate(TEXTS):
        ids = tokenizer.encode(text).ids
        padded = torch.tensor([ids + [end] * (77 - len(ids))])  # to 77, with the end mark
        mask = (torch.arange(77) < len(ids)).long()[None]
        with torch.inference_mode():
            states = [
                model(padded, attention_mask=mask).last_hidden_state[0],
                model(padded).last_hidden_state[0],
            ]
        assert int(features.mask[index].sum()) == len(ids) == encoder.length(text)
        for state in states:
            # Causal: tokens that pad the text come after it and change nothing.
            np.testing.assert_allclose(
                features.tokens[index, : len(ids)], state[: len(ids)].numpy(), atol=1e-5
            )
        assert not features.tokens[index, len(ids) :].any()


def test_a_long_text_is_cut_and_keeps_its_end_mark(tmp_path: Path) -> None:
    model = save(tmp_path)
    encoder = ClipTextEncoder(tmp_path, 77)
    long = "a photo of a cat " * 30
    assert encoder.length(long) == 152
    features = encoder.encode([long])
    assert features.tokens.shape == (1, 77, 16)
    ids = clip_tokenizer(tmp_path).encode(long).ids
    cut = torch.tensor([[*ids[:76], ids[-1]]])
    with torch.inference_mode():
        expected = model(cut).last_hidden_state[0].numpy()
    np.testing.assert_allclose(features.tokens[0], expected, atol=1e-5)


def test_features_depend_on_the_text_alone(tmp_path: Path) -> None:
    save(tmp_path)
    encoder = ClipTextEncoder(tmp_path, 77)
    alone, beside = encoder.encode(TEXTS[:1]), encoder.encode(TEXTS)
    count = int(alone.mask.sum())
    np.testing.assert_array_equal(beside.tokens[0, :count], alone.tokens[0])
    assert encoder.encode([""]).mask.tolist() == [[True, True]]  # the two marks


@pytest.mark.parametrize("text", SLICE["texts"])
def test_tokens_are_openais_own(tmp_path: Path, text: str) -> None:
    """Lower case, white space, contractions, digits one by one, other scripts, emoji."""
    write_tokenizer(tmp_path, SLICE["vocab"])
    assert clip_tokenizer(tmp_path).encode(text).ids == SLICE["texts"][text]


def test_the_known_ids_of_a_photo_of_a_cat() -> None:
    assert SLICE["texts"]["a photo of a cat"] == [49406, 320, 1125, 539, 320, 2368, 49407]


def test_tokenizer_json_and_its_parts_agree(tmp_path: Path) -> None:
    write_tokenizer(tmp_path, vocabulary())
    built = clip_tokenizer(tmp_path)
    theirs = transformers.CLIPTokenizer(str(tmp_path / "vocab.json"), str(tmp_path / "merges.txt"))
    whole = tmp_path / "whole"
    theirs.save_pretrained(whole)
    assert (whole / "tokenizer.json").is_file()
    read = clip_tokenizer(whole)
    for text in SLICE["texts"]:
        assert built.encode(text).ids == read.encode(text).ids == theirs(text)["input_ids"]


def test_a_tokenizer_that_pads_or_cuts_does_neither(tmp_path: Path) -> None:
    write_tokenizer(tmp_path, vocabulary())
    tokenizer = clip_tokenizer(tmp_path)
    tokenizer.enable_padding(length=77)
    tokenizer.enable_truncation(4)
    (tmp_path / "set").mkdir()
    tokenizer.save(str(tmp_path / "set" / "tokenizer.json"))
    assert len(clip_tokenizer(tmp_path / "set").encode("a photo of a cat").ids) == 7


def test_missing_files_are_named(tmp_path: Path) -> None:
    save(tmp_path)
    (tmp_path / "merges.txt").unlink()
    with pytest.raises(FileNotFoundError, match=r"neither tokenizer.json nor vocab.json"):
        ClipTextEncoder(tmp_path, 77)
    write_tokenizer(tmp_path, vocabulary())
    (tmp_path / "config.json").unlink()
    with pytest.raises(FileNotFoundError, match="config.json does not exist"):
        ClipTextEncoder(tmp_path, 77)


def test_a_damaged_tokenizer_is_named(tmp_path: Path) -> None:
    write_tokenizer(tmp_path, {"a": 0})
    with pytest.raises(WeightsError, match=r"vocab.json lacks <.startoftext.>, <.endoftext.>"):
        clip_tokenizer(tmp_path)
    write_tokenizer(tmp_path, {START: 0, END: 1})
    with pytest.raises(WeightsError, match="do not fit together"):
        clip_tokenizer(tmp_path)
    write_tokenizer(tmp_path, vocabulary())
    (tmp_path / "merges.txt").write_text("a b c\n")
    with pytest.raises(WeightsError, match="merges.txt: 'a b c' is not two tokens"):
        clip_tokenizer(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(WeightsError, match="tokenizer.json is no tokenizer"):
        clip_tokenizer(tmp_path)


def test_another_models_tokenizer_is_refused(tmp_path: Path) -> None:
    from tokenizers.models import WordLevel

    other = Tokenizer(WordLevel({"[UNK]": 0, START: 1, END: 2}, unk_token="[UNK]"))  # noqa: S106
    other.save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(WeightsError, match=r"gives \[\] for an empty text"):
        clip_tokenizer(tmp_path)
    (tmp_path / "tokenizer.json").unlink()
    save(tmp_path)
    write_tokenizer(tmp_path, {**vocabulary(), "extra": len(vocabulary())})
    with pytest.raises(WeightsError, match="tokens, the network"):
        ClipTextEncoder(tmp_path, 77)


NAME = "text_model.encoder.layers.1.mlp.fc1.weight"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: {n: v for n, v in t.items() if n != NAME}, "missing: encoder.layers.1.mlp.fc1"),
        (lambda t: t | {NAME: torch.zeros(2, 2)}, r"\(2, 2\) \(needs \(32, 16\)\)"),
        (lambda t: t | {"text_model.extra": torch.zeros(2)}, "not part of it: extra"),
    ],
)
def test_other_weights_are_named(tmp_path: Path, change: Any, message: str) -> None:
    save(tmp_path)
    tensors = change(load_file(tmp_path / "model.safetensors"))
    save_file(tensors, tmp_path / "model.safetensors")
    with pytest.raises(WeightsError, match=message):
        ClipText.load(tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_type": "siglip"}, "describes a 'siglip'"),
        ({"hidden_act": "gelu"}, "hidden_act 'gelu'.*quick_gelu"),
        ({"num_attention_heads": 3}, "hidden_size 16 is no multiple of num_attention_heads 3"),
    ],
)
def test_another_architecture_is_named(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    save(tmp_path, whole=False)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | changes))
    with pytest.raises(WeightsError, match=message):
        ClipText.load(tmp_path)


@pytest.mark.parametrize("limit", [1, 78])
def test_a_limit_beyond_the_network_is_refused(tmp_path: Path, limit: int) -> None:
    save(tmp_path)
    with pytest.raises(WeightsError, match=f"text_tokens is {limit}; .* 2 to 77"):
        ClipTextEncoder(tmp_path, limit)


def test_a_configuration_without_values_is_vit_b32(tmp_path: Path) -> None:
    """Newer files leave out what is ViT-B/32's anyway: 63,165,952 values in the text part."""
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "clip"}))
    save_file(
        {"text_model.final_layer_norm.bias": torch.zeros(512)}, tmp_path / "model.safetensors"
    )
    with pytest.raises(WeightsError, match="missing: embeddings.position_embedding.weight"):
        ClipText.load(tmp_path)
    from dimitra.speech.clip import _DEFAULTS, _shapes

    assert sum(int(np.prod(shape)) for shape in _shapes(_DEFAULTS).values()) == 63_165_952
    with torch.device("meta"):
        state = transformers.CLIPTextModel(transformers.CLIPTextConfig()).state_dict()
    assert {name: tuple(value.shape) for name, value in state.items()} == _shapes(_DEFAULTS)
