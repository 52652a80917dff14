"""The render stage with PIRender, on a real Ray.

The weights are seeded and saved in the published checkpoint's layout, in small widths: what is
tested is the way from motion to marked videos. The pictures mean nothing.
"""

from __future__ import annotations

import io
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import yaml
from skimage.data import astronaut

from dimitra.assets import AssetError
from dimitra.clips import MANIFEST_SCHEMA
from dimitra.media.audio import encode_flac
from dimitra.media.container import probe
from dimitra.media.mp4 import encode_mp4
from dimitra.media.video import read_video
from dimitra.render.pirender import PIRenderer
from dimitra.render.pirender_weights import PIRenderError
from dimitra.render.reference import resize_reference
from dimitra.shards import (
    Members,
    npz_bytes,
    read_npz,
    read_shard,
    sha256_file,
    write_shard,
)
from pipelines import render
from pipelines.closure import ROOT
from pipelines.runtime.mainguard import guarded
from pipelines.runtime.quarantine import read_quarantine, write_table
from tests.pipelines.balances import write_balance
from tests.pipelines.test_render_stage import CLIP
from tests.render.pirender_reference import checkpoint, network

FRAMES, SIDE, SIZE = 2, 128, 64
CLIPS = [replace(CLIP, clip_id=f"lecture-{name}", shard=n) for n, name in enumerate(("ann", "bo"))]
CROP = np.array([1.9, 64.0, 68.0], np.float32)


def _parts(clip_number: int) -> Members:
    rng = np.random.default_rng(clip_number)
    first = rng.normal(0.0, 0.3, 70).astype(np.float32)
    motion = np.stack([first, first])
    motion[1, 65] += 0.5  # a turn of the head
    motion[1, 0] += 1.0
    photo = np.ascontiguousarray(astronaut()[0:256:2, 96:352:2])
    sound = 0.3 * np.sin(2 * np.pi * 220 * np.arange(FRAMES * 640) / 16_000)
    fitted = {
        "identity": np.zeros(80, np.float32),
        "expression": np.tile(first[:64], (FRAMES, 1)),
        "pose": np.tile(first[64:], (FRAMES, 1)),
        "crop": np.tile(CROP, (FRAMES, 1)),
    }
    return {
        "mp4": encode_mp4([photo] * FRAMES),
        "flac": encode_flac(sound.astype(np.float32)),
        "motion.npz": npz_bytes(fitted),
        "generated.npz": npz_bytes({"motion": motion}),
    }


PARTS = {clip.clip_id: _parts(number) for number, clip in enumerate(CLIPS)}


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run's folder, with what the stages before have made; the profile `paper`'s, but small."""
    monkeypatch.setenv("DIMITRA_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.chdir(tmp_path)
    path = checkpoint(network(), tmp_path / "epoch_00190_iteration_000400000_checkpoint.pt")
    write_table(Path("data/manifest/clips.parquet"), [asdict(c) for c in CLIPS], MANIFEST_SCHEMA)
    write_balance(Path("data/manifest"), "ingest", len(CLIPS))
    for stage, names in (
        ("crops", ("mp4", "flac")),
        ("motion", ("motion.npz",)),
        ("generated", ("generated.npz",)),
    ):
        for clip in CLIPS:
            parts = {name: PARTS[clip.clip_id][name] for name in names}
            write_shard(Path(f"data/{stage}/{clip.shard:05d}.tar"), {clip.clip_id: parts})
        write_balance(Path(f"data/{stage}"))
    _pin(path, monkeypatch)
    _write_params(path)
    return path


def _pin(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Record the bytes of a user's own weights in ``weights.yaml``."""
    pin = {
        "sha256": sha256_file(weights),
        "size_bytes": weights.stat().st_size,
        "source": weights.name,
        "revision": None,
    }
    Path("weights.yaml").write_text(yaml.safe_dump({"weights": {str(weights): pin}}))
    monkeypatch.setenv("DIMITRA_WEIGHTS_FILE", str(Path("weights.yaml").resolve()))


def _write_params(weights: Path, **changes: Any) -> None:
    values = yaml.safe_load((ROOT / "conf" / "paper.yaml").read_text())
    values["ray"] = {"workers": 1, "mlflow": False}
    values["render"] |= {"weights": str(weights), "device": "cpu", "size": SIZE} | changes
    Path("params.yaml").write_text(yaml.safe_dump(values))


def _videos() -> dict[str, Members]:
    return {
        clip_id: parts
        for path in sorted(Path("data/videos").glob("*.tar"))
        for clip_id, parts in read_shard(path).items()
    }


def test_the_stage_drives_both_variants_with_the_checkpoint(weights: Path) -> None:
    render.main()
    assert read_quarantine(Path("data/videos")) == []
    videos = _videos()
    assert sorted(videos) == [clip.clip_id for clip in CLIPS]
    for clip_id, parts in videos.items():
        assert sorted(parts) == ["hp.mp4", "no_hp.mp4"]
        for name, data in parts.items():
            info = probe(data)
            assert (info.width, info.height, info.fps) == (SIZE, SIZE, 25.0)
            assert (info.video_codec, info.audio_codec) == ("h264", "aac")
            with av.open(io.BytesIO(data)) as container:
                assert "Generated by Dimitra" in container.metadata["comment"]
                source = container.metadata["digital_source_type"]
            assert source.endswith("trainedAlgorithmicMedia")
            assert np.array_equal(read_video(data), _expected(clip_id, name))
        held, moving = read_video(parts["no_hp.mp4"]), read_video(parts["hp.mp4"])
        assert np.abs(held[1].astype(float) - moving[1]).mean() > 1.0

    # In this process, without Ray: the same bytes.
    worker = render.make_worker(_worker_params(weights))
    for clip in CLIPS:
        assert worker(clip, dict(PARTS[clip.clip_id])) == videos[clip.clip_id]


def _expected(clip_id: str, name: str) -> np.ndarray:
    """Frames of a video: the photo at half its size drives with an alignment to match."""
    photo, _ = resize_reference(read_video(PARTS[clip_id]["mp4"])[0], CROP, SIZE)
    motion = read_npz(PARTS[clip_id]["generated.npz"])["motion"].copy()
    if name == "no_hp.mp4":
        motion[:, 64:] = motion[0, 64:]
    crop = np.tile(np.array([2 * 1.9, 64.0 / 2, 68.0 / 2], np.float32), (FRAMES, 1))
    frames = PIRenderer(network()).render(photo, motion, crop)
    return read_video(encode_mp4(frames, crf=18, preset="veryfast"))


def _worker_params(weights: Path, **changes: Any) -> dict[str, Any]:
    section = render.load().render.model_dump(exclude={"deadline_s"})
    return {**section, "fps": 25, "weights": str(weights)} | changes


def test_large_turns_are_limited_where_that_is_asked_for(
    weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(render, "asset_path", Path)
    clip = CLIPS[0]
    free, limited, wide = (
        render.make_worker(_worker_params(weights, angle_limit_rad=limit))(
            clip, dict(PARTS[clip.clip_id])
        )
        for limit in (None, 0.2, 0.6)
    )
    assert limited["hp.mp4"] != free["hp.mp4"]
    assert limited["no_hp.mp4"] == free["no_hp.mp4"]
    assert wide == free  # a turn of 0.5 rad


def test_missing_weights_are_told_before_any_work(weights: Path) -> None:
    _write_params(Path("elsewhere/checkpoint.pt"))
    with pytest.raises(AssetError, match=r"elsewhere/checkpoint\.pt"):
        render.main()
    assert not Path("data/videos").exists()


def test_a_checkpoint_of_something_else_is_told(
    weights: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    weights.write_bytes(b"not a checkpoint")
    _pin(weights, monkeypatch)
    assert guarded(render.main, PIRenderError) == 1
    assert "is damaged, or no file of torch.save" in capsys.readouterr().err
