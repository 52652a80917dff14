import json
import logging
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from dimitra.morphable.head_encoder_weights import load
from pipelines import encoder


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(encoder, "HEADS_PER_LOOK", 16)
    monkeypatch.setattr(encoder, "HELD_OUT_LOOKS", 1)


def _arguments(folder, out, seed="5"):
    return [
        *("--heads", "32", "--steps", "4", "--batch", "16", "--seed", seed, "--threads", "1"),
        *("--folder", str(folder), "--out", str(out)),
    ]


def test_the_script_makes_a_file_that_says_what_it_was_made_from(small, tmp_path, caplog):
    out = tmp_path / "small.safetensors"
    with caplog.at_level(logging.INFO):
        encoder.main(_arguments(tmp_path / "heads", out))
    assert "on 16 other heads: rotation" in caplog.text
    with safe_open(out, "pt") as stored:
        about = json.loads(stored.metadata()["about"])
    assert about["heads"] == 32
    assert about["settings"]["steps"] == 4
    assert len(about["code"]) == 64
    assert about["check"]["rotation_deg"] > 0
    seen = load(out)(torch.rand(1, 3, 112, 112))
    assert bool(torch.isfinite(seen.expression).all())

    first = out.read_bytes()
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "heads").iterdir()}
    (tmp_path / "heads" / "00001.npz").unlink()  # as if it had been interrupted there
    encoder.main(_arguments(tmp_path / "heads", out))
    assert out.read_bytes() == first
    after = {path: path.stat().st_mtime_ns for path in (tmp_path / "heads").iterdir()}
    assert after[tmp_path / "heads" / "00000.rgb"] == before[tmp_path / "heads" / "00000.rgb"]

    with pytest.raises(ValueError, match="heads of another seed or code"):
        encoder.main(_arguments(tmp_path / "heads", out, seed="6"))


@pytest.mark.parametrize("option", ["--heads", "--steps", "--batch", "--workers", "--threads"])
def test_numbers_that_make_no_training_are_refused(
    option: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        encoder.main([option, "0", "--out", str(tmp_path / "none.safetensors")])
    assert f"argument {option}: 0 is not at least 1" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is there")
def test_a_gpu_that_is_not_there_is_named_before_anything_is_drawn(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        encoder.main(["--device", "cuda", "--folder", str(tmp_path)])
    assert "sees no GPU; use cpu" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
