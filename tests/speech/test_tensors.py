from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from dimitra.speech.errors import WeightsError
from dimitra.speech.tensors import check_tensors, read_json, read_tensors

TENSORS = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.ones(4)}


def test_both_formats_give_the_tensors(tmp_path: Path) -> None:
    torch.save(TENSORS, tmp_path / "pytorch_model.bin")
    assert set(read_tensors(tmp_path)) == {"a", "b"}
    save_file({"a": TENSORS["a"] + 1}, tmp_path / "model.safetensors")
    found = read_tensors(tmp_path)  # the safe format is preferred
    assert torch.equal(found["a"], TENSORS["a"] + 1)


def test_a_folder_without_weights_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="neither model.safetensors nor pytorch_model.bin"):
        read_tensors(tmp_path)


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
def test_a_damaged_file_is_named(tmp_path: Path, name: str) -> None:
    whole = tmp_path / "whole"
    whole.mkdir()
    if name.endswith(".bin"):
        torch.save(TENSORS, whole / name)
    else:
        save_file(TENSORS, whole / name)
    data = (whole / name).read_bytes()
    for cut in (0, 10, len(data) // 2, len(data) - 1):
        (tmp_path / name).write_bytes(data[:cut])
        with pytest.raises(WeightsError, match=name):
            read_tensors(tmp_path)


class _Evil:
    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (Path("/tmp/never-made-by-a-pickle"),))  # noqa: S108


def test_code_in_a_pickle_is_never_run(tmp_path: Path) -> None:
    torch.save({"a": _Evil()}, tmp_path / "pytorch_model.bin")
    with pytest.raises(WeightsError, match="never loaded"):
        read_tensors(tmp_path)
    assert not Path("/tmp/never-made-by-a-pickle").exists()  # noqa: S108


def test_a_pickle_of_something_else_is_refused(tmp_path: Path) -> None:
    torch.save([1, 2], tmp_path / "pytorch_model.bin")
    with pytest.raises(WeightsError, match="not a mapping"):
        read_tensors(tmp_path)


def test_every_difference_is_named_with_values() -> None:
    path = Path("model.safetensors")
    check_tensors(TENSORS, {"a": (2, 3), "b": (4,)}, path)
    with pytest.raises(WeightsError) as caught:
        check_tensors(TENSORS, {"a": (2, 4), "c": (1,)}, path)
    assert "missing: c" in str(caught.value)
    assert "not part of it: b" in str(caught.value)
    assert "a (2, 3) (needs (2, 4))" in str(caught.value)
    with pytest.raises(WeightsError, match="n0, n1, n10, n11 and 16 more"):
        check_tensors({}, {f"n{k}": (1,) for k in range(20)}, path)


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_weights_that_are_no_numbers_are_refused(value: float) -> None:
    spoiled = TENSORS["b"].clone()
    spoiled[-1] = value
    with pytest.raises(
        WeightsError, match=r"model\.safetensors: b holds values that are not finite"
    ):
        check_tensors(TENSORS | {"b": spoiled}, {"a": (2, 3), "b": (4,)}, Path("model.safetensors"))


@pytest.mark.parametrize("text", ["", "{", "[1]", "\x00"])
def test_what_is_no_json_object_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(WeightsError, match="config.json"):
        read_json(tmp_path / "config.json")


def test_a_missing_file_says_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "readme.txt").write_text("")
    with pytest.raises(FileNotFoundError, match="holds readme.txt"):
        read_json(tmp_path / "config.json")
    with pytest.raises(FileNotFoundError, match="does not exist"):
        read_json(tmp_path / "none" / "config.json")
