import io
import os
from pathlib import Path

import pytest
import torch

from dimitra.torch_file import TorchFileError, read_torch_file


def saved(value: object) -> bytes:
    stream = io.BytesIO()
    torch.save(value, stream)
    return stream.getvalue()


WHOLE = saved({"a": torch.arange(500.0)})


def test_tensors_and_containers_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    path.write_bytes(WHOLE)
    assert torch.equal(read_torch_file(path, "tensors")["a"], torch.arange(500.0))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"cut off",  # reads as the object "ut off"
        b"junkjunk",  # torch's reader raises KeyError
        b"https://drive.google.com/uc?id=1",
        b"<!DOCTYPE html><html><body>Sign in</body></html>",
        WHOLE[: len(WHOLE) // 2],
        WHOLE[:-1],
    ],
)
def test_damage_is_told_as_damage(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "a.pt"
    path.write_bytes(data)
    with pytest.raises(TorchFileError, match=r"a\.pt is damaged, or no file of torch") as caught:
        read_torch_file(path, "'net'")
    assert "weights_only" not in str(caught.value)


class _Harm:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("harm",)


def test_pickled_code_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "a.pt"
    path.write_bytes(saved({"net": _Harm()}))
    with pytest.raises(TorchFileError, match=r"Python objects \(posix\.mkdir\).*its 'net' alone"):
        read_torch_file(path, "'net'")
    assert not Path("harm").exists()
