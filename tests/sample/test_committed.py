"""The corpus that the checkout holds, if it was pulled: layout, and truth that fits the videos."""

from pathlib import Path

import numpy as np
import pytest
import torch

from dimitra.media.container import probe
from dimitra.media.video import iterate_frames
from dimitra.morphable import open_head
from dimitra.sample.corpus import ClipPlan, plan_chorus, plan_lecture

ROOT = Path(__file__).parents[2]
PLANS = plan_chorus(16, 6) + plan_lecture(4)
pytestmark = pytest.mark.skipif(
    not (ROOT / "datasets/chorus").is_dir() or not (ROOT / "truth/chorus").is_dir(),
    reason="the corpus is not here: dvc pull datasets.dvc",
)


def _truth(plan: ClipPlan) -> dict[str, np.ndarray]:
    with np.load(ROOT / "truth" / plan.dataset / f"{plan.clip_id}.npz") as file:
        return {name: file[name] for name in file.files}


def test_every_planned_clip_is_there_and_no_other():
    for dataset in ("chorus", "lecture"):
        found = {p.relative_to(ROOT / "datasets" / dataset).with_suffix("").as_posix()
                 for p in (ROOT / "datasets" / dataset).rglob("*.mp4")}  # fmt: skip
        assert found == {plan.path for plan in PLANS if plan.dataset == dataset}


@pytest.mark.parametrize("plan", [PLANS[0], PLANS[50], PLANS[95]], ids=lambda plan: plan.clip_id)
def test_truth_has_a_row_for_every_frame(plan):
    truth = _truth(plan)
    video = ROOT / "datasets" / plan.dataset / str(truth["path"])
    info = probe(video)
    frames = len(truth["expression"])
    assert (
        sum(1 for _ in iterate_frames(video)) == frames == len(truth["pose"]) == len(truth["blink"])
    )
    assert 4.0 <= info.duration_s <= 8.1
    assert (info.width, info.height) == tuple(truth["image_size"])
    assert str(truth["text"]) == plan.text
    assert truth["phone_times"][-1, 1] == pytest.approx(frames / 25, abs=1e-3)
    np.testing.assert_allclose(truth["phone_times"][1:, 0], truth["phone_times"][:-1, 1], atol=2e-3)


@pytest.mark.parametrize("plan", PLANS[96:], ids=lambda plan: plan.clip_id)
def test_lectures_are_long_and_have_transcripts(plan):
    truth = _truth(plan)
    assert 24.0 <= len(truth["expression"]) / 25 <= 32.0
    text = ROOT / "datasets/lecture/transcripts" / f"{plan.identity}_0.txt"
    assert text.read_text(encoding="utf-8").strip() == str(truth["text"]) == plan.text


@pytest.mark.parametrize("plan", PLANS[::16], ids=lambda plan: plan.clip_id)
def test_lips_meet_on_p_b_m_and_part_on_open_vowels(plan):
    truth, model = _truth(plan), open_head.load()
    points = model.landmarks(
        torch.from_numpy(truth["identity"]), torch.from_numpy(truth["expression"])
    ).numpy()
    between_eyes = np.linalg.norm(points[:, 36] - points[:, 45], axis=1)
    gap = (points[:, 62, 1] - points[:, 66, 1]) / between_eyes
    times = (np.arange(len(gap)) + 0.5) / 25
    shut, wide = [], []
    for label, (start, end) in zip(truth["phones"], truth["phone_times"], strict=True):
        inside = gap[(times >= start) & (times < end)]
        if len(inside) and label in ("P", "B", "M"):
            shut.append(inside.min())
        if len(inside) and label in ("AA", "AE", "AY", "AW"):
            wide.append(inside.max())
    assert np.median(shut) < 0.03
    assert np.median(wide) > np.median(shut) + 0.08
