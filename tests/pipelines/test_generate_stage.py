from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import torch

from dimitra.cmdt import checkpoint
from dimitra.cmdt.loss import LossWeights
from dimitra.cmdt.parts import MODEL_PARTS, mouth_columns, part_columns
from dimitra.cmdt.recursion import SamplingConfig
from dimitra.cmdt.training import TrainingConfig
from dimitra.shards import read_npz, read_shard, write_shard
from pipelines import generate
from pipelines.params import GenerateParams
from tests.cmdt.corpus import toy_model
from tests.pipelines.toy_shards import CLIPS, FRAMES, write_merged

PARAMS = {"models": "separate", "samples": 1, "sampler": "ddim", "steps": 5, "seed": 1}
MOUTH = mouth_columns("open_head")


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_merged()
    torch.manual_seed(0)
    training = TrainingConfig(1, 1e-3, 1.0, 0.9, LossWeights(6.0, 0.0), 500)
    for part in MODEL_PARTS:
        columns = part_columns("open_head", part)
        model = toy_model(len(columns), frames=20)
        with torch.no_grad():
            for weight in model.parameters():
                weight.normal_(std=0.2)
        trained = checkpoint.TrainedPart(part, columns, 1, 500, model.eval(), MOUTH)
        checkpoint.save(Path("models") / part, trained, training, 0, [])


def test_units_are_the_shard_numbers_with_their_test_clips() -> None:
    units = generate.plan(CLIPS)
    assert {unit.name: [clip.clip_id for clip in unit.clips] for unit in units} == {
        "00000": ["aaa-000"],
        "00001": ["bbb-009"],
    }
    assert {unit.files for unit in units} == {
        (Path("data/shards/test-aaa-00000.tar"),),
        (Path("data/shards/test-bbb-00001.tar"),),
    }


def test_motion_comes_from_the_first_pose_and_speech_alone() -> None:
    clip = next(clip for clip in CLIPS if clip.clip_id == "bbb-009")
    made = generate.make_worker(PARAMS)(clip, {})
    motion = read_npz(made["generated.npz"])["motion"]
    assert motion.shape == (FRAMES, 70)
    assert np.isfinite(motion).all()
    path = generate.shard_of(clip)
    samples = read_shard(path)
    arrays = read_npz(samples[clip.clip_id]["motion.npz"])
    arrays["expression"][1:] = 99.0
    arrays["pose"][1:] = -99.0
    samples[clip.clip_id]["motion.npz"] = generate.npz_bytes(arrays)
    write_shard(path, samples)
    assert generate.make_worker(PARAMS)(clip, {}) == made
    arrays["expression"][0] += 1.0
    samples[clip.clip_id]["motion.npz"] = generate.npz_bytes(arrays)
    write_shard(path, samples)
    assert generate.make_worker(PARAMS)(clip, {}) != made


def test_the_joint_model_generates_all_values_in_place_of_the_three() -> None:
    clip = next(clip for clip in CLIPS if clip.clip_id == "bbb-009")
    options = PARAMS | {"models": "joint", "overlap": 3, "sampler": "dpm_solver"}
    made = generate.make_worker(options)(clip, {})
    motion = read_npz(made["generated.npz"])["motion"]
    assert motion.shape == (FRAMES, 70)
    assert np.isfinite(motion).all()
    assert made != generate.make_worker(options | {"models": "separate"})(clip, {})


def test_more_samples_change_none_of_those_before() -> None:
    clip = next(clip for clip in CLIPS if clip.clip_id == "bbb-009")
    one, two, three = (generate.make_worker(PARAMS | {"samples": n})(clip, {}) for n in (1, 2, 3))
    assert list(one) == ["generated.npz"]
    assert one["generated.npz"] == two["generated.npz"] == three["generated.npz"]
    first = read_npz(three["generated.npz"])["motion"]
    others = read_npz(three["samples.npz"])["motion"]
    assert others.shape == (2, FRAMES, 70)
    assert np.array_equal(read_npz(two["samples.npz"])["motion"], others[:1])
    assert not np.array_equal(others[0], first)
    assert not np.array_equal(others[0], others[1])


def test_every_option_of_the_parameters_reaches_the_sampler() -> None:
    """The section's names, less the deadline, are those of ``SamplingConfig`` and ``models``."""
    section = set(GenerateParams.model_fields) - {"deadline_s"} | {"seed"}
    assert section == {field.name for field in fields(SamplingConfig)} | {"models", "samples"}
