import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dimitra.media.audio import encode_flac
from dimitra.metrics.definitions import COEFFICIENT_METRICS, METHODS
from dimitra.metrics.records import tabulate
from dimitra.shards import npz_bytes, write_shard
from dimitra.speech.phonemes import PHONE_IDS
from pipelines import score
from pipelines.errors import StageError
from pipelines.evaluation import motion as score_motion
from pipelines.evaluation.motion import Reference, Space, Voice
from pipelines.evaluation.scores import read_scores
from pipelines.score import choose_donor, clip_values, score_dataset
from pipelines.stores.work_cache import WorkCache
from tests.pipelines.toy_shards import CLIPS, clip, small_params, write_manifest

MOUTH = tuple(range(13))
OPENING = np.eye(64)[0]
SPACE = Space(MOUTH, OPENING, -1.0, 25.0, 20, 4)
FRAMES = 30
VOICE = Voice(np.full(FRAMES, PHONE_IDS["AA"]), np.array([0.4, 0.8]))


def motion(mouth=0.0, rest=0.0, turn=0.0, frames=FRAMES):
    """Constant but for coefficient 0, which rises, and a head that turns by degrees a frame."""
    values = np.zeros((frames, 70), np.float32)
    values[:, :13] = mouth
    values[:, 13:64] = rest
    values[:, 0] += np.arange(frames, dtype=np.float32) / frames
    values[:, 65] = np.deg2rad(turn) * np.arange(frames)
    return values


def values_of(*samples, truth=None, mean=None, donor=None):
    reference = Reference(
        VOICE, motion(1.0, 2.0, 1.0), truth, "" if truth is not None else "none here"
    )
    return clip_values(np.stack(samples), reference, SPACE, mean, donor)


def test_known_numbers_against_fit_and_truth():
    values = values_of(motion(1.5, 2.25, 2.0), truth=motion(1.25, 2.0, 1.0))
    row = {key: item.value for key, item in values["dimitra_hp"].items()}
    assert row["mouth_mae_fit"] == pytest.approx(0.5, abs=1e-6)
    assert row["mouth_mae_truth"] == pytest.approx(0.25, abs=1e-6)
    assert row["expression_mae_fit"] == pytest.approx(0.25)
    assert row["expression_mae_truth"] == pytest.approx(0.25)
    assert row["opening_corr_truth"] == pytest.approx(1.0)
    assert row["head_speed"] == pytest.approx(50.0, rel=1e-4)
    assert values["truth"]["head_speed"].value == pytest.approx(25.0, rel=1e-4)
    assert values["truth"]["mouth_mae_truth"].value is None
    assert values["ground_truth"]["mouth_mae_fit"].value is None
    assert values["ground_truth"]["mouth_mae_truth"].value == pytest.approx(0.25, abs=1e-6)


def test_baselines_are_the_closed_form():
    fit = motion(1.0, 2.0, 1.0)
    values = values_of(fit, mean=np.full(70, 1.5, np.float32), donor=motion(3.0, 2.0, frames=40))
    frozen = values["frozen_first_frame"]
    assert frozen["mouth_mae_fit"].value == pytest.approx((FRAMES - 1) / 2 / FRAMES / 13, rel=1e-4)
    assert frozen["head_speed"].value == 0.0
    assert frozen["opening_corr_fit"].reason == score_motion.MOTIONLESS
    assert values["train_mean"]["expression_mae_fit"].value == pytest.approx(0.5)
    other = np.abs(motion(3.0, 2.0, frames=40)[:FRAMES, :13] - fit[:, :13]).mean()
    assert values["other_clip"]["mouth_mae_fit"].value == pytest.approx(float(other))
    assert values["dimitra_no_hp"]["mouth_mae_fit"].reason == score.SAME_MOTION


def swinging(frames=FRAMES, step=0.0):
    """A head that turns back at 0.4 s and 0.8 s, a mouth that jumps by ``step`` at the seam."""
    values = np.zeros((frames, 70), np.float32)
    times = (np.arange(frames) + 0.5) / 25.0
    values[:, 64] = 0.1 * np.cos(2 * np.pi * times / 0.8)
    values[:, :13] = 0.01 * np.arange(frames, dtype=np.float32)[:, None]
    values[15:, :13] += step
    return values


def test_speech_seams_and_trembling_in_known_motion():
    values = values_of(swinging(), truth=motion(0.0))
    row = {key: item.value for key, item in values["dimitra_hp"].items()}
    assert row["head_beats"] == pytest.approx(1.0, abs=1e-3)
    assert values["truth"]["head_beats"].value == 0.0
    assert row["mouth_jerk"] == pytest.approx(0.0, abs=1e-6)
    assert row["mouth_seam"] == pytest.approx(1.0, rel=1e-4)
    assert row["bilabial_closure"] is None
    # Chunks of 20 of 30 frames that share 4: the second starts at frame 12, and 5 of the 29 steps
    # are its seam; the mouth's are 0.01 each, and one of the five is larger by 0.1.
    jumped = values_of(swinging(step=0.1))["dimitra_hp"]
    assert jumped["mouth_seam"].value == pytest.approx((5 * 0.01 + 0.1) / 5 / 0.01, rel=1e-3)
    short = clip_values(
        swinging()[None],
        Reference(VOICE, swinging(), None, "none"),
        replace(SPACE, longest=30),
        None,
        None,
    )
    assert short["dimitra_hp"]["mouth_seam"].reason == score_motion.ONE_CHUNK


def test_lips_meet_at_m_and_openings_lag():
    said = np.full(FRAMES, PHONE_IDS["AA"])
    said[3:5] = said[20:22] = PHONE_IDS["M"]
    late, aim = swinging(), swinging()
    aim[:, 0] = np.random.default_rng(0).normal(size=FRAMES)
    late[:, 0] = np.roll(aim[:, 0], 2)
    late[4, 0], late[20:22, 0] = -1.5, 0.0
    reference = Reference(Voice(said, np.zeros(0)), aim, None, "none")
    row = clip_values(late[None], reference, SPACE, None, None)["dimitra_hp"]
    assert row["bilabial_closure"].value == 0.5
    assert row["opening_lag_fit"].value == 2.0
    assert row["head_beats"].reason == score_motion.NO_ONSET
    frozen = clip_values(late[None], reference, SPACE, None, None)["frozen_first_frame"]
    assert frozen["opening_lag_fit"].reason == score_motion.MOTIONLESS
    assert frozen["mouth_jerk"].value == 0.0


def test_several_samples_have_a_mean_and_differ():
    values = values_of(motion(0.5, 2.0), motion(1.5, 2.0))
    assert values["dimitra_hp"]["mouth_mae_fit"].value == pytest.approx(0.5, abs=1e-6)
    assert values["dimitra_mean"]["mouth_mae_fit"].value == pytest.approx(0.0, abs=1e-6)
    assert values["dimitra_hp"]["mouth_diversity"].value == pytest.approx(1.0, abs=1e-6)
    assert values["dimitra_hp"]["head_diversity"].value == 0.0
    assert values["ground_truth"]["mouth_diversity"].value is None


def test_what_is_missing_says_why():
    values = values_of(motion())
    assert values["dimitra_mean"]["mouth_mae_fit"].reason == score.ONE_SAMPLE
    assert values["dimitra_hp"]["mouth_diversity"].reason == score.ONE_SAMPLE
    assert values["dimitra_hp"]["mouth_mae_truth"].reason == "none here"
    assert values["truth"]["head_speed"].reason == "none here"
    assert values["train_mean"]["mouth_mae_fit"].reason == score.NO_TRAINING
    assert values["other_clip"]["mouth_mae_fit"].reason == score.NO_DONOR
    unknown = clip_values(
        motion()[None],
        Reference(VOICE, motion(), None, "none"),
        replace(SPACE, opening=None),
        None,
        None,
    )
    assert unknown["dimitra_hp"]["opening_corr_fit"].reason == score_motion.NO_MODEL
    assert set(values) == {method.key for method in METHODS}
    for row in values.values():
        assert set(row) == {metric.key for metric in COEFFICIENT_METRICS}


def test_the_donor_is_the_next_clip_of_another_identity_that_is_long_enough():
    clips = [clip("aaa", number, 0) for number in range(4)]
    ids = [one.clip_id for one in clips]
    lengths = dict.fromkeys(ids, 40)
    assert choose_donor(clips[0], clips, lengths) == ids[1]
    assert choose_donor(clips[3], clips, lengths) == ids[0]
    assert choose_donor(clips[0], clips, lengths | {ids[1]: 39}) == ids[2]
    assert choose_donor(clips[0], clips[:1], lengths) is None
    assert choose_donor(clips[0], clips, {**dict.fromkeys(ids, 5), ids[0]: 40}) is None


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Fitted and generated motion of the toy clips of data set ``aaa``."""
    monkeypatch.chdir(tmp_path)
    write_manifest(CLIPS)
    clips = [one for one in CLIPS if one.dataset == "aaa"]
    fitted, generated, said, crops = {}, {}, {}, {}
    sound = encode_flac(np.zeros(FRAMES * 640, np.float32))
    for number, one in enumerate(clips):
        whole = motion(float(number), 0.0, 1.0)
        fitted[one.clip_id] = {
            "motion.npz": npz_bytes({"expression": whole[:, :64], "pose": whole[:, 64:]})
        }
        sample = motion(number + 0.5, 0.0, 2.0)
        generated[one.clip_id] = {
            "generated.npz": npz_bytes({"motion": sample}),
            "samples.npz": npz_bytes({"motion": motion(number - 0.5, 0.0, 2.0)[None]}),
        }
        said[one.clip_id] = {"speech.npz": npz_bytes({"phonemes": VOICE.phonemes})}
        crops[one.clip_id] = {"flac": sound}
    write_shard(Path("data/shards/test-aaa-00000.tar"), said)
    write_shard(Path("data/crops/00000.tar"), crops)
    write_shard(Path("data/motion/00000.tar"), fitted)
    write_shard(Path("data/generated/00000.tar"), generated)
    return clips


def test_a_data_set_is_scored_and_read_back(run):
    records = score_dataset(run, Path("truth"), None, SPACE, WorkCache.of(None))
    assert [record.clip_id for record in records] == sorted(one.clip_id for one in run)
    table = tabulate(records, COEFFICIENT_METRICS)
    assert table["dimitra_hp"]["mouth_mae_fit"].value == pytest.approx(0.5)
    assert table["dimitra_mean"]["mouth_mae_fit"].value == pytest.approx(0.0, abs=1e-4)
    # No truth here: the fit's head, 1 degree a frame, is what 2 degrees are compared with.
    assert table["dimitra_hp"]["head_speed_gap"].value == pytest.approx(1.0, abs=1e-3)
    assert table["ground_truth"]["head_speed_gap"].value == 0.0
    assert "no truth" in (table["dimitra_hp"]["mouth_mae_truth"].reason or "")
    content = {"clips": [record.to_json() for record in records]}
    Path("data/scores").mkdir()
    Path("data/scores/aaa.json").write_text(json.dumps(content))
    back = read_scores("aaa")
    assert sorted(back) == [record.clip_id for record in records]
    assert back[records[0].clip_id].values["dimitra_hp"]["mouth_mae_fit"].value == 0.5


def test_motion_of_another_length_is_refused_by_name(run):
    write_shard(
        Path("data/generated/00000.tar"),
        {run[0].clip_id: {"generated.npz": npz_bytes({"motion": motion(frames=7)})}},
    )
    with pytest.raises(StageError, match=rf"{run[0].clip_id}: 7 generated frames, but 30 fitted"):
        score_dataset(run, None, None, SPACE, WorkCache.of(None))


def test_the_truth_is_read_where_it_fits(tmp_path):
    one = clip("aaa", 1, 0)
    assert score.read_truth(tmp_path, one, 5)[1].startswith("no truth of this clip under")
    (tmp_path / "aaa").mkdir()
    arrays = {"expression": np.ones((5, 64)), "pose": np.zeros((5, 6))}
    (tmp_path / "aaa" / f"{one.clip_id}.npz").write_bytes(npz_bytes(arrays))
    found, reason = score.read_truth(tmp_path, one, 5)
    assert reason == ""
    assert found is not None
    assert found.shape == (5, 70)
    assert score.read_truth(tmp_path, one, 6)[1] == "the truth has 5 frames and the video 6"


def test_the_space_is_that_of_the_parameters(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    space = Space.of(small_params())
    assert space.mouth == MOUTH
    assert space.fps == 25.0
    assert space.opening is not None
    assert space.rest() == list(range(13, 64))
