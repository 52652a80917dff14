import json
import shutil
from dataclasses import asdict

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from skimage.data import astronaut
from skimage.transform import SimilarityTransform, warp

from dimitra.clips import Clip, ClipError
from dimitra.media.audio import encode_flac
from dimitra.media.mp4 import encode_mp4
from dimitra.metrics.definitions import COEFFICIENT_METRICS, METHODS, METRICS
from dimitra.metrics.landmarks_distance import LandmarkTrack
from dimitra.metrics.records import ClipRecord
from dimitra.metrics.summary import ClipValue
from dimitra.shards import json_bytes, list_shards, write_shard
from dimitra.sync import compact
from dimitra.sync.compact import CompactConfig, CompactSyncNet
from dimitra.sync.evaluator import SyncEvaluator
from pipelines import evaluate, evaluate_sync, scores
from pipelines.errors import StageError
from pipelines.evaluate import (
    dlib_finder,
    evaluate_clip,
    make_worker,
    read_records,
    track_faces,
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


PARAMS = {"lmd_fit": "face", "max_ground_truth_missed": 0.0, "donors": {}}


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


def test_a_video_against_itself(moving, tmp_path):
    record = evaluate_clip(CLIP, parts_of(moving), dlib_finder(), sync_net(), PARAMS)
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


def test_frame_counts_must_agree(moving):
    short = encode_mp4([photo()] * (FRAMES - 1))
    with pytest.raises(ClipError, match="ground truth 6.*dimitra_hp 5"):
        evaluate_clip(CLIP, parts_of(moving, hp=short), dlib_finder(), sync_net(), PARAMS)


def test_a_clip_without_scores_is_named(moving):
    record = evaluate_clip(CLIP, parts_of(moving), dlib_finder(), sync_net(), PARAMS)
    with pytest.raises(StageError, match="chorus-a is in data/evaluation, but not in data/scores"):
        with_scores(record, {})


def scripted(*tracks):
    """A face finder that answers from tracks, video after video."""
    answers = iter(
        [p if f else None for t in tracks for p, f in zip(t.points, t.found, strict=True)]
    )
    return lambda image: next(answers)


def test_misses_are_dropped_and_counted(moving, tmp_path):
    points = np.random.default_rng(0).normal(size=(FRAMES, 68, 2)) * 30 + 128
    whole = LandmarkTrack(points, np.ones(FRAMES, bool))
    gap = LandmarkTrack(points, np.arange(FRAMES) != 2)
    parts = parts_of(moving)
    record = evaluate_clip(CLIP, parts, scripted(gap, whole, whole), sync_net(), PARAMS)
    assert record.missed == {
        "ground_truth": 1, "dimitra_hp": 0, "dimitra_no_hp": 0, "frozen_first_frame": 0
    }  # fmt: skip
    assert record.values["dimitra_hp"]["f_lmd"].dropped
    record = evaluate_clip(CLIP, parts, scripted(whole, gap, whole), sync_net(), PARAMS)
    assert record.missed["dimitra_hp"] == 1
    assert record.values["dimitra_hp"]["f_lmd"].value == pytest.approx(0.0, abs=1e-9)


def test_worker_gives_the_same_bytes_and_the_metric_files_add_up(moving, tmp_path, monkeypatch):
    monkeypatch.setattr(evaluate_sync, "MODEL", tmp_path / "sync")
    compact.save(tmp_path / "sync", sync_net().network, {})
    section = {"network": "trained", "weights": None, "region": "mouth"}
    worker = make_worker({**PARAMS, "sync": section})
    first, second = (worker(CLIP, parts_of(moving)) for _ in range(2))
    assert first == second
    assert list(first) == ["metrics.json"]
    value = json.loads(first["metrics.json"])
    other = json_bytes({**value, "clip_id": "chorus-b", "identity": "id00014"})
    write_shard(tmp_path / "evaluation/00001.tar", {"chorus-b": {"metrics.json": other}})
    write_shard(tmp_path / "evaluation/00003.tar", {"chorus-a": first})
    records = read_records(list_shards(tmp_path / "evaluation"), ["lecture", "chorus"])
    assert [record.clip_id for record in records["chorus"]] == ["chorus-a", "chorus-b"]
    records = {name: [scored(record) for record in clips] for name, clips in records.items()}
    write_metrics(records, tmp_path / "metrics")
    table = json.loads((tmp_path / "metrics/chorus.json").read_text())
    assert set(table) == {method.key for method in METHODS}
    for row in table.values():
        assert set(row) == {metric.key for metric in METRICS}
        for item in row.values():
            assert set(item) == {"value", "n", "dropped", "reason"}
            assert (item["value"] is None) == bool(item["reason"])
    assert table["dimitra_hp"]["mouth_mae_fit"]["value"] == 0.5
    assert table["dimitra_hp"]["f_lmd"] == {"value": 0.0, "n": 2, "dropped": 0, "reason": None}
    empty = json.loads((tmp_path / "metrics/lecture.json").read_text())
    nothing = {"value": None, "n": 0, "dropped": 0, "reason": "no test clip"}
    assert empty["dimitra_hp"]["f_lmd"] == nothing
    assert pq.read_table(tmp_path / "metrics/clips/lecture.parquet").num_rows == 0
    clips = pq.read_table(tmp_path / "metrics/clips/chorus.parquet").to_pylist()
    assert len(clips) == 2 * len(METHODS)


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
