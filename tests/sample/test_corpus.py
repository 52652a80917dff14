from pathlib import Path

import pytest

from dimitra.sample.corpus import chorus_lines, plan_chorus, plan_lecture
from dimitra.sample.layout import TEST_IDENTITIES
from dimitra.sample.motion import SENSES

SPLITS = Path(__file__).parents[2] / "splits"


def _names(path: Path) -> set[str]:
    return {line for line in path.read_text().splitlines() if line and not line.startswith("#")}


def test_plan_is_complete_and_unique():
    plans = plan_chorus(16, 6) + plan_lecture(4)
    assert len(plans) == 100
    assert len({plan.clip_id for plan in plans}) == 100
    assert len({plan.path for plan in plans}) == 100
    videos = {}
    for plan in plans[:96]:
        videos.setdefault(plan.path.split("/")[2], set()).add(plan.identity)
    assert len(videos) == 32
    assert all(len(owners) == 1 for owners in videos.values())


def test_every_sentence_is_said_once():
    texts = [plan.text for plan in plan_chorus(16, 6)]
    assert len(set(texts)) == 96 == len(chorus_lines())
    assert {line.sense for line in chorus_lines()} == set(SENSES)


def test_every_identity_has_its_own_voice_and_several_senses():
    plans = plan_chorus(16, 6)
    assert len({plan.voice for plan in plans + plan_lecture(4)}) == 20
    for identity in {plan.identity for plan in plans}:
        assert len({p.lines[0].sense for p in plans if p.identity == identity}) == 4


def test_splits_name_the_identities_of_the_plan():
    train, test = (_names(SPLITS / "chorus/v1" / f"{part}.txt") for part in ("train", "test"))
    assert not train & test
    assert train | test == {plan.identity for plan in plan_chorus(16, 6)}
    assert test == TEST_IDENTITIES
    assert _names(SPLITS / "lecture/v1/test.txt") == {plan.identity for plan in plan_lecture(4)}
    assert not _names(SPLITS / "lecture/v1/train.txt")


@pytest.mark.parametrize(("identities", "clips"), [(0, 6), (17, 6), (16, 0), (16, 7)])
def test_impossible_plans_are_refused(identities, clips):
    with pytest.raises(ValueError, match="1 to 16"):
        plan_chorus(identities, clips)
