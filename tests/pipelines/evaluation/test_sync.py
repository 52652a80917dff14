import dataclasses

import numpy as np
import pytest
import torch

from dimitra.clips import Clip
from dimitra.media.audio import encode_flac
from dimitra.media.mp4 import encode_mp4
from dimitra.metrics.landmarks_distance import LandmarkTrack
from dimitra.shards import write_shard
from dimitra.sync.compact import CompactConfig, CompactSyncNet
from dimitra.sync.evaluator import SyncEvaluator
from pipelines.errors import ShardError
from pipelines.evaluation.sync import (
    NO_FACE,
    NO_OTHER,
    choose_donors,
    read_sound,
    sound_places,
    sync_values,
    with_donors,
)
from pipelines.params import parse
from pipelines.runtime.units import Unit
from tests.pipelines.test_evaluate_stage import CLIP

FRAMES = 40


def clip(name, identity, seconds=4.0, dataset="chorus", shard=0) -> Clip:
    return dataclasses.replace(
        CLIP, clip_id=name, identity=identity, duration_s=seconds, dataset=dataset, shard=shard
    )


@pytest.fixture(scope="module")
def evaluator():
    torch.manual_seed(0)
    return SyncEvaluator(CompactSyncNet(CompactConfig(4, 16)).eval(), "mouth")


@pytest.fixture(scope="module")
def world():
    random = np.random.default_rng(0)
    frames = [np.full((96, 96, 3), 20 + 5 * i, np.uint8) for i in range(FRAMES)]
    points = np.tile(random.uniform(30, 66, (68, 2)), (FRAMES, 1, 1))
    sounds = [encode_flac(random.normal(0, 0.1, FRAMES * 640).astype(np.float32)) for _ in "ab"]
    return encode_mp4(frames), LandmarkTrack(points, np.ones(FRAMES, bool)), *sounds


def test_every_row_has_values_and_equal_videos_equal_ones(evaluator, world):
    video, track, sound, other = world
    videos = {"ground_truth": (video, track), "dimitra_hp": (video, track)}
    rows, features = sync_values(evaluator, videos, sound, other)
    assert set(features) == {f"lips_fd.{name}" for name in (*videos, "frozen_first_frame")}
    assert {len(one) for one in features.values()} == {(FRAMES - 5) // 5}
    assert set(rows) == {*videos, "frozen_first_frame", "shuffled_audio"}
    assert all(item.value is not None for row in rows.values() for item in row.values())
    assert rows["dimitra_hp"] == rows["ground_truth"]
    # another sound is what a ground truth with that sound has
    assert rows["shuffled_audio"] == sync_values(evaluator, videos, other, None)[0]["ground_truth"]
    # the first frame, held, is what a video of that frame alone has
    still = encode_mp4([np.full((96, 96, 3), 20, np.uint8)] * FRAMES)
    held = sync_values(evaluator, {"ground_truth": (still, track)}, sound, None)[0]["ground_truth"]
    assert rows["frozen_first_frame"]["sync_dist"].value == pytest.approx(
        held["sync_dist"].value, abs=1e-3
    )


def test_drops_have_their_reason(evaluator, world):
    video, track, sound, _ = world
    nowhere = LandmarkTrack(track.points, np.zeros(FRAMES, bool))
    rows, features = sync_values(
        evaluator, {"ground_truth": (video, track), "dimitra_hp": (video, nowhere)}, sound, None
    )
    assert rows["dimitra_hp"]["sync_conf"].dropped
    assert rows["dimitra_hp"]["sync_conf"].reason == NO_FACE
    assert "lips_fd.dimitra_hp" not in features
    assert rows["shuffled_audio"]["sync_dist"].reason == NO_OTHER
    short = encode_flac(np.zeros(30 * 640, np.float32))
    rows, _ = sync_values(evaluator, {"ground_truth": (video, track)}, short, None)
    assert "25 windows" in (rows["ground_truth"]["sync_dist"].reason or "")
    assert rows["ground_truth"]["sync_dist"].dropped


def test_donors_are_of_another_identity_and_as_long_where_there_is_one():
    clips = [
        clip("a1", "a", 4.0),
        clip("a2", "a", 9.0),
        clip("b1", "b", 3.0),
        clip("b2", "b", 5.0),
        clip("z1", "z", 4.0, dataset="lecture"),
    ]
    wanted = {"a1": "b2", "a2": "b2", "b1": "a1", "b2": "a2"}
    assert choose_donors(clips) == choose_donors(clips[::-1]) == wanted


def test_a_unit_names_the_shards_its_donors_lie_in(tmp_path):
    crops = tmp_path / "crops"
    clips = [clip("a1", "a", shard=0), clip("b1", "b", shard=1)]
    for number, one in enumerate(clips):
        write_shard(crops / f"0000{number}.tar", {one.clip_id: {"flac": one.clip_id.encode()}})
    units = [Unit(f"0000{n}", (c,), (crops / f"0000{n}.tar",)) for n, c in enumerate(clips)]
    donors = choose_donors(clips)
    first = with_donors(units[0], donors, units, crops)
    assert first.files == (crops / "00001.tar",)
    places = sound_places(donors, units, crops)
    assert read_sound(*places["a1"]) == b"b1"
    assert read_sound(*places["b1"]) == b"a1"
    with pytest.raises(ShardError, match="holds no clip c1"):
        read_sound(str(crops / "00000.tar"), "c1")


@pytest.mark.parametrize(
    "change",
    [
        {"weights": "syncnet_v2"},
        {"region": "frame"},
        {"network": "published"},
        {"network": "published", "region": "tracks"},
    ],
)
def test_network_weights_and_region_must_fit(change, pytestconfig):
    import yaml

    values = yaml.safe_load((pytestconfig.rootpath / "conf/sample.yaml").read_text())
    values["sync"].update(change)
    with pytest.raises(ValueError, match="trained needs null and mouth"):
        parse(values)
    values["sync"].update(network="published", weights="syncnet_v2", region="frame")
    assert parse(values).sync.region == "frame"
