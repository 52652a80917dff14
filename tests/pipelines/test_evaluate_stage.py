import json
import shutil
from dataclasses import asdict, fields

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from skimage.data import astronaut
from skimage.transform import SimilarityTransform, warp

from dimitra.clips import Clip, ClipError
from dimitra.media.audio import encode_flac
from dimitra.media.mp4 import encode_mp4
from dimitra.metrics.definitions import COEFFICIENT_METRICS, METHODS, METRICS, OF_ALL_FRAMES
from dimitra.metrics.estimates import Estimate
from dimitra.metrics.frechet import Moments
from dimitra.metrics.landmarks_distance import LandmarkTrack
from dimitra.metrics.records import ClipRecord
from dimitra.metrics.summary import ClipValue
from dimitra.shards import json_bytes, list_shards, write_shard
from dimitra.sync import compact
from dimitra.sync.compact import CompactConfig, CompactSyncNet
from dimitra.sync.evaluator import SyncEvaluator
from pipelines import evaluate
from pipelines.errors import StageError
from pipelines.evaluate import dlib_finder, evaluate_clip, make_worker, track_faces
from pipelines.evaluation import scores
from pipelines.evaluation import sync as evaluate_sync
from pipelines.evaluation.pictures import Pictures, load_networks
from pipelines.evaluation.scores import OF_THE_SET
from pipelines.evaluation.tables import (
    FEW_FEATURES,
    DataSet,
    Gathered,
    frechet_numbers,
    read_shards,
    with_scores,
    write_metrics,
)

FRAMES = 6
CLIP = Clip(
    clip_id="chorus-a",
    dataset="chorus",
    identity="id00013",
    source_video="v",
    path="v.mp4",
    audio_path=None,
    sha256="0",
    start_s=0.0,
    end_s=None,
    duration_s=0.24,
    fps=25.0,
    width=320,
    height=320,
    transcript=None,
    shard=3,
)


def photo(angle=0.0, shift=0.0):
    move = SimilarityTransform(rotation=angle, translation=(shift, 0.0))
    face = astronaut()[0:256, 100:356]
    return (warp(face, move, mode="edge") * 255).round().astype(np.uint8)


@pytest.fixture(scope="module")
def moving():
    return encode_mp4([photo(0.01 * i, i) for i in range(FRAMES)])


def parts_of(video, hp=None, no_hp=None, sound=None):
    return {
        "mp4": video,
        "flac": sound or encode_flac(np.zeros(FRAMES * 640, np.float32)),
        "hp.mp4": hp or video,
        "no_hp.mp4": no_hp or video,
    }


PARAMS = {
    "lmd_fit": "face",
    "max_ground_truth_missed": 0.0,
    "donors": {},
    "pictures_every": 2,
    "face_network": "dlib",
    "face_weights": "dlib_face_recognition",
    "faces_every": 3,
    "frame_weights": None,
    "clip_weights": None,
}


@pytest.fixture(scope="module")
def pictures():
    return Pictures(load_networks(PARAMS), pictures_every=2, faces_every=3)


def sync_net(region="mouth"):
    """A SyncNet whose weights are drawn: what it says is arbitrary, but always the same."""
    torch.manual_seed(0)
    return SyncEvaluator(CompactSyncNet(CompactConfig(4, 16)).eval(), region)


def scored(record):
    """The record with numbers of its coefficients, as ``score`` has them."""
    item = ClipValue(0.5)
    row = {metric.key: item for metric in COEFFICIENT_METRICS}
    values = {method.key: row for method in METHODS}
    scores = ClipRecord(record.clip_id, "chorus", "id00013", FRAMES, {}, values)
    return with_scores(record, {record.clip_id: scores})


def test_dlib_sees_the_face_in_every_frame_and_none_in_a_wall(moving):
    track = track_faces(moving, dlib_finder())
    assert track.found.tolist() == [True] * FRAMES
    centre = track.points.mean(axis=(0, 1))
    assert np.all(np.abs(centre - (124, 120)) < 20)
    wall = encode_mp4([np.full((256, 256, 3), 90, np.uint8)] * 2)
    assert track_faces(wall, dlib_finder()).missed == 2


def test_a_video_against_itself(moving, pictures):
    record, features = evaluate_clip(
        CLIP, parts_of(moving), dlib_finder(), sync_net(), pictures, PARAMS
    )
    values = record.values
    assert values["dimitra_hp"]["f_lmd"].value == pytest.approx(0.0, abs=1e-9)
    assert values["dimitra_no_hp"]["m_lmd"].value == pytest.approx(0.0, abs=1e-9)
    frozen = values["frozen_first_frame"]["f_lmd"].value
    assert frozen is not None
    assert 0.0 < frozen < 3.0
    assert values["ground_truth"]["f_lmd"].value is None
    assert "measured against" in (values["ground_truth"]["f_lmd"].reason or "")
    for method in ("dimitra_hp", "ground_truth", "frozen_first_frame"):
        for metric in ("sync_dist", "sync_conf"):  # 6 frames make one window
            assert values[method][metric].dropped
            assert "1 windows of sound and video" in (values[method][metric].reason or "")
    assert values["shuffled_audio"]["sync_conf"].dropped
    assert values["train_mean"]["sync_conf"].reason == "coefficients only, no video"
    assert not values["train_mean"]["sync_conf"].dropped
    assert record.frames == FRAMES
    hp, frozen = values["dimitra_hp"], values["frozen_first_frame"]
    assert hp["identity_sim"].value == pytest.approx(1.0)
    assert hp["ssim"].value == pytest.approx(1.0)
    assert hp["psnr"].reason == "no frame differs from the ground truth's"
    assert 15.0 < frozen["psnr"].value < 40.0
    assert 0.5 < frozen["ssim"].value < 1.0
    assert 0.8 < frozen["identity_sim"].value < 1.0
    assert values["shuffled_audio"]["psnr"].reason == "its frames are the ground truth's"
    assert values["train_mean"]["ssim"].reason == "coefficients only, no video"
    assert features["face_fd.ground_truth"].shape == (2, 128)  # frames 0 and 3
    assert features["lips_fd.dimitra_hp"].shape == (1, 16)
    np.testing.assert_array_equal(features["face_fd.dimitra_hp"], features["face_fd.ground_truth"])
    assert not features["face_fd.frozen_first_frame"].std(axis=0).any()


def test_frame_counts_must_agree(moving, pictures):
    short = encode_mp4([photo()] * (FRAMES - 1))
    with pytest.raises(ClipError, match="ground truth 6.*dimitra_hp 5"):
        evaluate_clip(CLIP, parts_of(moving, hp=short), dlib_finder(), sync_net(), pictures, PARAMS)


def test_a_clip_without_scores_is_named():
    record = ClipRecord("chorus-a", "chorus", "id00013", FRAMES, {}, {})
    with pytest.raises(StageError, match="chorus-a is in data/evaluation, but not in data/scores"):
        with_scores(record, {})


def scripted(*tracks):
    """A face finder that answers from tracks, video after video."""
    answers = iter(
        [p if f else None for t in tracks for p, f in zip(t.points, t.found, strict=True)]
    )
    return lambda image: next(answers)


def test_misses_are_dropped_and_counted(moving, pictures):
    points = np.random.default_rng(0).normal(size=(FRAMES, 68, 2)) * 30 + 128
    whole = LandmarkTrack(points, np.ones(FRAMES, bool))
    gap = LandmarkTrack(points, np.arange(FRAMES) != 2)
    parts = parts_of(moving)
    record, _ = evaluate_clip(
        CLIP, parts, scripted(gap, whole, whole), sync_net(), pictures, PARAMS
    )
    assert record.missed == {
        "ground_truth": 1, "dimitra_hp": 0, "dimitra_no_hp": 0, "frozen_first_frame": 0
    }  # fmt: skip
    assert record.values["dimitra_hp"]["f_lmd"].dropped
    record, _ = evaluate_clip(
        CLIP, parts, scripted(whole, gap, whole), sync_net(), pictures, PARAMS
    )
    assert record.missed["dimitra_hp"] == 1
    assert record.values["dimitra_hp"]["f_lmd"].value == pytest.approx(0.0, abs=1e-9)


def test_worker_gives_the_same_bytes_and_the_metric_files_add_up(moving, tmp_path, monkeypatch):
    monkeypatch.setattr(evaluate_sync, "MODEL", tmp_path / "sync")
    compact.save(tmp_path / "sync", sync_net().network, {})
    section = {"network": "trained", "weights": None, "region": "mouth"}
    worker = make_worker({**PARAMS, "sync": section})
    first, second = (worker(CLIP, parts_of(moving)) for _ in range(2))
    assert first == second
    assert list(first) == ["metrics.json", "features.npz"]
    value = json.loads(first["metrics.json"])
    other = json_bytes({**value, "clip_id": "chorus-b", "identity": "id00014"})
    second = {**first, "metrics.json": other}
    write_shard(tmp_path / "evaluation/00001.tar", {"chorus-b": second})
    write_shard(tmp_path / "evaluation/00003.tar", {"chorus-a": first})
    sets = read_shards(list_shards(tmp_path / "evaluation"), ["lecture", "chorus"])
    assert [record.clip_id for record in sets["chorus"].records] == ["chorus-a", "chorus-b"]
    for one in sets.values():
        one.records = [scored(record) for record in one.records]
    write_metrics(sets, tmp_path / "metrics", seed=1)
    table = json.loads((tmp_path / "metrics/chorus.json").read_text())
    assert set(table) == {method.key for method in METHODS}
    for row in table.values():
        assert set(row) == {metric.key for metric in METRICS}
        for item in row.values():
            assert set(item) == {field.name for field in fields(Estimate)}
            assert (item["value"] is None) == bool(item["reason"])
    assert table["dimitra_hp"]["mouth_mae_fit"]["value"] == 0.5
    assert table["dimitra_hp"]["f_lmd"] == {
        "value": 0.0, "n": 2, "dropped": 0, "reason": None, "low": 0.0, "high": 0.0,
        "identities": 2, "identities_low": 0.0, "identities_high": 0.0,
    }  # fmt: skip
    faces = table["dimitra_hp"]["face_fd"]
    assert (faces["value"], faces["n"], faces["identities"], faces["low"]) == (0.0, 2, 2, None)
    assert table["frozen_first_frame"]["face_fd"]["value"] > 0.0
    assert "frame_weights is null" in table["dimitra_hp"]["fid"]["reason"]
    assert table["shuffled_audio"]["fvd"]["reason"] == "its frames are the ground truth's"
    empty = json.loads((tmp_path / "metrics/lecture.json").read_text())
    assert empty["dimitra_hp"]["f_lmd"]["reason"] == "no test clip"
    assert empty["dimitra_hp"]["f_lmd"]["identities"] == 0
    assert pq.read_table(tmp_path / "metrics/clips/lecture.parquet").num_rows == 0
    clips = pq.read_table(tmp_path / "metrics/clips/chorus.parquet").to_pylist()
    assert len(clips) == 2 * len(METHODS)
    paired = json.loads((tmp_path / "metrics/paired.json").read_text())
    assert set(paired) == {"chorus", "lecture"}
    pairs = {(one["first"], one["second"]): one for one in paired["chorus"]["f_lmd"]}
    assert pairs["dimitra_hp", "frozen_first_frame"]["n"] == 2
    before = {path: path.read_bytes() for path in (tmp_path / "metrics").rglob("*.*")}
    write_metrics(sets, tmp_path / "metrics", seed=1)
    assert before == {path: path.read_bytes() for path in before}


def test_one_feature_has_no_distance_and_says_so():
    item = ClipValue(None, OF_THE_SET)
    values = {method.key: dict.fromkeys(OF_ALL_FRAMES, item) for method in METHODS}
    record = ClipRecord("a", "chorus", "id", FRAMES, {}, values)
    one = Gathered(Moments.of(np.zeros((1, 2))), 1, {"id"})
    two = Gathered(Moments.of(np.array([[0.0, 1.0], [0.0, 3.0]])), 1, {"id"})
    four = Gathered(Moments.of(np.array([[1.0, 1.0], [1.0, 3.0]])), 1, {"id"})
    features = {
        "lips_fd.ground_truth": two,
        "lips_fd.dimitra_hp": one,
        "lips_fd.dimitra_no_hp": four,
    }
    numbers = frechet_numbers(DataSet([record], features))
    assert numbers["dimitra_hp"]["lips_fd"].reason == FEW_FEATURES
    assert numbers["dimitra_no_hp"]["lips_fd"].value == pytest.approx(1.0)


def test_only_test_clips_are_evaluated(tmp_path, monkeypatch):
    import pyarrow as pa

    rows = [{"clip_id": "chorus-a", "split": "test"}, {"clip_id": "chorus-b", "split": "train"}]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "split.parquet")
    clips = [CLIP, Clip(**{**asdict(CLIP), "clip_id": "chorus-b"})]
    monkeypatch.setattr(scores, "SPLIT", tmp_path / "split.parquet")
    monkeypatch.setattr(scores, "read_manifest", lambda: clips)
    assert scores.tested_clips() == [CLIP]


def test_stages_to_run_first_are_named(tmp_path, monkeypatch, pytestconfig):
    monkeypatch.chdir(tmp_path)
    shutil.copy(pytestconfig.rootpath / "conf/sample.yaml", "params.yaml")
    told = (
        r"data/split/split\.parquet, data/scores/chorus\.json, data/scores/lecture\.json: "
        r"not there; "
        r"run `python -m pipelines\.split`, `python -m pipelines\.score` first"
    )
    with pytest.raises(StageError, match=told):
        evaluate.main()
    evaluate.SPLIT.parent.mkdir(parents=True)
    evaluate.SPLIT.touch()
    with pytest.raises(StageError, match=r"^data/scores/chorus\.json, .*pipelines\.score` first"):
        evaluate.main()
