"""`fit.method: deng` through the stage, with drawn weights in the published layout."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.io import savemat

from dimitra.assets import AssetError, MissingAssetError
from dimitra.clips import Clip, ClipError, Reason
from dimitra.fetching import pin
from dimitra.media.video import read_video
from dimitra.morphable import bfm, deng
from dimitra.morphable.alignment import align
from dimitra.morphable.residual import distance_px, inner_landmarks
from dimitra.shards import Members, npz_bytes, read_npz, read_shard
from pipelines import fit
from pipelines.fitters import deng as deng_fitter
from pipelines.fitters import frames as seen_frames
from pipelines.params import StageResources
from pipelines.runtime.quarantine import read_quarantine
from tests.morphable.bfm_file import bfm_contents
from tests.pipelines.bfm_clips import CROP_FRAMES, bfm_params, seeded_checkpoint, write_clips

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("weights")
    savemat(folder / "BFM_model_front.mat", bfm_contents(400))
    seeded_checkpoint(folder / "epoch_20.pth")
    files = {
        "face_model_weights": str(folder / "BFM_model_front.mat"),
        "encoder_weights": str(folder / "epoch_20.pth"),
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DIMITRA_WEIGHTS_FILE", str(folder / "weights.yaml"))
        for path in files.values():
            pin(path)
    return files


@pytest.fixture(autouse=True)
def place(weights: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pins = Path(weights["encoder_weights"]).with_name("weights.yaml")
    shutil.copy(pins, tmp_path / "weights.yaml")
    monkeypatch.setenv("DIMITRA_WEIGHTS_FILE", str(tmp_path / "weights.yaml"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DIMITRA_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)


def _settings(weights: dict[str, str], **more: object) -> dict[str, object]:
    return {"method": "deng", "device": "cpu", "max_residual_px": 1e6} | weights | more


def _run(
    weights: dict[str, str], batch: int, cache: str, monkeypatch: pytest.MonkeyPatch
) -> dict[str, bytes]:
    monkeypatch.setenv("DIMITRA_CACHE_DIR", cache)
    params = bfm_params(**_settings(weights))
    resources = params.ray.model_copy(
        update={"stages": {"fit": StageResources(batch=batch)}, "workers": 1}
    )
    fit.run(fit.plan(params), resources, params.storage)
    return {path.name: path.read_bytes() for path in sorted(fit.OUTPUT.glob("*.tar"))}


def test_the_stage_gives_what_the_encoder_says_whatever_the_batch(
    weights: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    clips = write_clips()
    alone = _run(weights, 1, str(tmp_path / "one"), monkeypatch)
    assert list(alone) == ["00000.tar", "00001.tar"]
    assert _run(weights, 3, str(tmp_path / "three"), monkeypatch) == alone
    assert read_quarantine(fit.OUTPUT) == []

    encoder = deng.load(Path(weights["encoder_weights"]))
    model = bfm.read(Path(weights["face_model_weights"]))
    clip = clips[0]
    motion = read_npz(read_shard(fit.OUTPUT / "00000.tar")[clip.clip_id]["motion.npz"])
    assert {name: value.shape for name, value in motion.items()} == {
        "identity": (80,),
        "texture": (80,),
        "illumination": (27,),
        "expression": (CROP_FRAMES, 64),
        "pose": (CROP_FRAMES, 6),
        "crop": (CROP_FRAMES, 3),
        "residual_px": (CROP_FRAMES,),
        "explained": (CROP_FRAMES,),
    }
    crop = read_shard(Path("data/crops/00000.tar"))[clip.clip_id]
    track = read_npz(crop["track.npz"])
    landmarks = torch.from_numpy(track["landmarks"])
    frames = torch.from_numpy(read_video(crop["mp4"]))
    single = [encoder(frames[i : i + 1], landmarks[i : i + 1]) for i in range(CROP_FRAMES)]
    expression = torch.cat([one.coefficients.expression for one in single]).numpy()
    assert expression.std(axis=0).min() > 0
    np.testing.assert_allclose(motion["expression"], expression, atol=1e-5)
    standard = torch.tensor(deng.STANDARD_POINTS, dtype=torch.float64)
    np.testing.assert_allclose(motion["crop"], align(landmarks.double(), standard), rtol=1e-6)
    identity = torch.cat([one.coefficients.identity for one in single]).numpy()
    middle = np.median(identity[track["detected"]], axis=0)
    np.testing.assert_allclose(motion["identity"], middle, atol=1e-5)
    points = inner_landmarks(
        model,
        *(torch.from_numpy(motion[name]) for name in ("identity", "expression", "pose", "crop")),
        255,
    )
    np.testing.assert_allclose(motion["residual_px"], distance_px(points, landmarks), rtol=1e-4)


def test_what_is_missing_or_wrong_is_said_before_any_work(
    weights: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_clips(1)
    bfm_params(**_settings(weights | {"face_model_weights": str(tmp_path / "BFM.mat")}))
    with pytest.raises(MissingAssetError, match=r"BFM\.mat"):
        fit.main()
    (tmp_path / "BFM.mat").write_bytes(b"a page that says: please register")
    with pytest.raises(AssetError, match="dimitra assets pin"):
        fit.main()
    pin(str(tmp_path / "BFM.mat"))
    with pytest.raises(bfm.FaceModelFileError, match="not a MATLAB 5 file"):
        fit.main()
    torch.save({"net_G": {}}, tmp_path / "epoch_20.pth")
    pin(str(tmp_path / "epoch_20.pth"))
    bfm_params(**_settings(weights | {"encoder_weights": str(tmp_path / "epoch_20.pth")}))
    with pytest.raises(deng.DengWeightsError, match=r"epoch_20\.pth: no 'net_recon'"):
        fit.main()
    assert not fit.OUTPUT.exists()
    assert "Traceback" not in capsys.readouterr().err


def _worker(weights: dict[str, str], **more: object) -> deng_fitter.DengFitter:
    params = bfm_params(**_settings(weights, **more))
    worker = fit.make_worker(params.fit.model_dump(exclude={"deadline_s"}))
    assert isinstance(worker, deng_fitter.DengFitter)
    return worker


def _parts(clips: list[Clip]) -> Members:
    return read_shard(Path("data/crops/00000.tar"))[clips[0].clip_id]


def test_a_long_clip_is_decoded_as_it_is_needed(
    weights: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clips = write_clips(1)
    worker, parts = _worker(weights), _parts(clips)
    monkeypatch.setattr(seen_frames, "BLOCK", 10)
    short = worker.load(clips[0], parts)
    assert short.blocks is not None
    assert [len(block) for block in short.blocks] == [10, 10, 5]
    monkeypatch.setattr(seen_frames, "AHEAD", CROP_FRAMES - 1)
    long = worker.load(clips[0], parts)
    assert long.blocks is None
    first, second = worker.many([clips[0]] * 2, [short, long])
    assert first == second


def test_clips_that_are_no_face_are_quarantined_one_by_one(weights: dict[str, str]) -> None:
    clips = write_clips(1)
    parts = _parts(clips)
    strict = _worker(weights, max_residual_px=0.5)
    track = read_npz(parts["track.npz"])
    point = {**track, "landmarks": np.full_like(track["landmarks"], 100.0)}
    collapsed = parts | {"track.npz": npz_bytes(point)}
    loaded = [strict.load(clips[0], one) for one in (parts, collapsed)]
    far, none = strict.many([clips[0]] * 2, loaded)
    for outcome, message in ((far, "fit.max_residual_px = 0.5 px"), (none, "alignment")):
        assert isinstance(outcome, ClipError)
        assert outcome.reason is Reason.FIT_RESIDUAL
        assert message in outcome.message
        assert clips[0].clip_id in outcome.message


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_the_encoder_answers_alike_on_a_gpu(weights: dict[str, str]) -> None:
    clips = write_clips(1)
    parts = _parts(clips)
    cpu = read_npz(_worker(weights)(clips[0], parts)["motion.npz"])
    on_gpu = _worker(weights, device="cuda")
    gpu = on_gpu(clips[0], parts)
    assert gpu == on_gpu(clips[0], parts)
    both = on_gpu.many([clips[0]] * 2, [on_gpu.load(clips[0], parts)] * 2)
    assert both == [gpu, gpu]
    found = read_npz(gpu["motion.npz"])
    for name in ("identity", "expression", "pose"):
        np.testing.assert_allclose(found[name], cpu[name], atol=1e-3)
