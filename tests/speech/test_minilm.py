import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from dimitra.assets import asset_path
from dimitra.speech.errors import WeightsError
from dimitra.speech.minilm import MiniLmEncoder


@pytest.fixture(scope="module")
def minilm() -> MiniLmEncoder:
    return MiniLmEncoder(asset_path("minilm_l6"), 77)


def test_minilm_agrees_with_transformers(minilm: MiniLmEncoder) -> None:
    transformers = pytest.importorskip("transformers")
    folder = str(asset_path("minilm_l6"))
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
    model = transformers.BertModel.from_pretrained(folder, local_files_only=True).eval()
    texts = ["We found three small boats.", "", "Naïve déjà-vu, isn't it?"]
    ours = minilm.encode(texts)
    assert ours.tokens.shape == (3, ours.mask.sum(axis=1).max(), 384)
    for index, text in enumerate(texts):
        with torch.inference_mode():
            theirs = model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0].numpy()
        count = int(ours.mask[index].sum())
        assert count == len(theirs) == minilm.length(text)
        np.testing.assert_allclose(ours.tokens[index, :count], theirs, atol=1e-5)
        assert not ours.tokens[index, count:].any()


def test_features_depend_on_the_text_alone(minilm: MiniLmEncoder) -> None:
    alone = minilm.encode(["a short text"])
    beside = minilm.encode(["a short text", "a text that is a good deal longer than the other one"])
    count = int(alone.mask.sum())
    np.testing.assert_array_equal(beside.tokens[0, :count], alone.tokens[0])


def test_what_exceeds_the_limit_is_cut_off(minilm: MiniLmEncoder) -> None:
    assert minilm.encode(["word " * 200]).mask.sum() == 77


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    return Path(shutil.copytree(asset_path("minilm_l6"), tmp_path / "minilm"))


def test_a_weight_of_another_shape_is_named(copied: Path) -> None:
    tensors = load_file(copied / "model.safetensors")
    name = next(key for key in tensors if key.endswith("layer.2.output.dense.bias"))
    save_file(tensors | {name: torch.zeros(7)}, copied / "model.safetensors")
    with pytest.raises(WeightsError, match=r"layer.2.output.dense.bias \(7,\) \(needs \(384,\)\)"):
        MiniLmEncoder(copied, 77)
    del tensors[name]
    save_file(tensors, copied / "model.safetensors")
    with pytest.raises(WeightsError, match="missing: encoder.layer.2.output.dense.bias"):
        MiniLmEncoder(copied, 77)


def test_another_architecture_is_named(copied: Path) -> None:
    config = json.loads((copied / "config.json").read_text())
    (copied / "config.json").write_text(json.dumps(config | {"model_type": "mpnet"}))
    with pytest.raises(WeightsError, match="mpnet"):
        MiniLmEncoder(copied, 77)
    del config["vocab_size"]
    (copied / "config.json").write_text(json.dumps(config))
    with pytest.raises(WeightsError, match="config.json lacks vocab_size"):
        MiniLmEncoder(copied, 77)


def test_a_limit_beyond_the_network_is_refused(copied: Path) -> None:
    with pytest.raises(WeightsError, match="text_tokens is 513.*2 to 512"):
        MiniLmEncoder(copied, 513)


def test_a_missing_or_damaged_tokenizer_is_named(copied: Path) -> None:
    (copied / "tokenizer.json").write_text("{}")
    with pytest.raises(WeightsError, match="tokenizer.json is no tokenizer"):
        MiniLmEncoder(copied, 77)
    (copied / "tokenizer.json").unlink()
    with pytest.raises(FileNotFoundError, match="lacks tokenizer.json"):
        MiniLmEncoder(copied, 77)
