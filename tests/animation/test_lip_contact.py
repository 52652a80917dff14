"""Lips that meet at p, b and m, on the open head."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.optimize
import torch
from numpy.typing import NDArray

from dimitra.animation.lip_contact import (
    EASE,
    InnerLips,
    closing_shares,
    inner_lips,
    lips_of,
)
from dimitra.morphable import open_head
from dimitra.morphable.coefficients import MOUTH
from dimitra.render.head import INNER_LIPS
from dimitra.speech.phonemes import PHONE_IDS

TOLERANCE_DM = 1e-6
"""Motion is float32: lips miss each other by less than 0.1 micrometres."""
IDENTITY = np.random.default_rng(1).normal(size=80).astype(np.float32)


@pytest.fixture(scope="module")
def lips() -> InnerLips:
    return inner_lips(open_head.load(), IDENTITY)


def ids(*phones: str) -> NDArray[np.int16]:
    return np.array([PHONE_IDS[phone] for phone in phones], np.int16)


def speech() -> NDArray[np.int16]:
    """100 frames with p, b and m, one of them at either end and two side by side."""
    phones = ["M", "M"] + ["AA"] * 20 + ["P"] + ["IY"] * 3 + ["B"] * 4 + ["AH"] * 30
    phones += ["M", "M", "P", "P"] + ["S"] * 34
    return ids(*phones, "B", "B")


def talking(frames: int = 100) -> NDArray[np.float32]:
    """Motion of a mouth that is open most of the time, and closed now and then."""
    motion = 0.3 * np.random.default_rng(2).normal(size=(frames, 70)).astype(np.float32)
    motion[:, 0] = np.sin(np.arange(frames) / 3.0) - 0.7  # the jaw, open below 0
    return motion


def widest(lips: InnerLips, motion: NDArray[np.float32]) -> NDArray[np.float64]:
    return np.asarray(lips.gaps(motion[:, :64]).max(axis=1))


def test_gaps_are_those_of_the_meshs_inner_lips(lips) -> None:
    model, motion = open_head.load(), talking()
    points = model.landmarks(torch.from_numpy(IDENTITY), torch.from_numpy(motion[:, :64].copy()))
    upper, lower = (points[:, list(side), 1].double().numpy() for side in INNER_LIPS)
    assert np.allclose(lips.gaps(motion[:, :64]), upper - lower, atol=1e-5)


def test_lips_meet_in_every_frame_of_a_bilabial(lips) -> None:
    motion, phonemes = talking(), speech()
    sounds = np.isin(phonemes, ids("P", "B", "M"))
    before = widest(lips, motion)[sounds]
    after = widest(lips, lips.closed(motion, closing_shares(phonemes)))[sounds]
    assert before.max() > 0.1  # 10 mm
    assert after.max() < TOLERANCE_DM
    assert np.allclose(after[before > 0], 0.0, atol=TOLERANCE_DM)  # and no further
    assert np.array_equal(after[before <= 0], before[before <= 0])


def test_other_frames_and_values_stay_as_they_are(lips) -> None:
    motion, phonemes = talking(), speech()
    closed = lips.closed(motion, closing_shares(phonemes))
    near = np.convolve(np.isin(phonemes, ids("P", "B", "M")), np.ones(2 * EASE + 1), "same") > 0
    assert (~near).sum() > 50
    assert np.array_equal(closed[~near], motion[~near])
    meeting = widest(lips, motion) <= 0
    assert np.array_equal(closed[meeting], motion[meeting])
    others = [column for column in range(70) if column not in MOUTH["open_head"]]
    assert np.array_equal(closed[:, others], motion[:, others])
    assert not np.array_equal(closed, motion)


def test_a_mouth_never_opens_and_closes_the_more_the_nearer_the_sound(lips) -> None:
    motion = np.repeat(talking()[15:16], 20, axis=0)
    assert widest(lips, motion)[0] > 0.05
    shares = closing_shares(ids(*["AA"] * 10, "B", *["AA"] * 9))
    assert shares.tolist() == pytest.approx([0.0] * 8 + [0.25, 0.75, 1, 0.75, 0.25] + [0.0] * 7)
    gaps = widest(lips, lips.closed(motion, shares))
    assert gaps[8:11].tolist() == pytest.approx(
        (gaps[0] * np.array([0.75, 0.25, 0.0])).tolist(), abs=0.005
    )
    assert (lips.gaps(lips.closed(motion, shares)[:, :64]) <= lips.gaps(motion[:, :64])).all()


def test_the_change_is_the_least_that_closes_the_mean_gap(lips) -> None:
    mouth = list(MOUTH["open_head"])
    gradient = lips.basis[mouth].mean(axis=1)
    least = scipy.optimize.minimize(
        lambda change: change @ change,
        np.zeros(len(mouth)),
        constraints={"type": "eq", "fun": lambda change: gradient @ change + 1.0},
        options={"ftol": 1e-14},
    )
    assert np.allclose(lips.direction[mouth], least.x, atol=1e-4)


def test_pieces_give_the_same_bytes_as_the_whole(lips) -> None:
    motion, shares = talking(), closing_shares(speech())
    whole = lips.closed(motion, shares)
    pieces = [lips.closed(motion[s : s + 7], shares[s : s + 7]) for s in range(0, 100, 7)]
    assert np.concatenate(pieces).tobytes() == whole.tobytes()


def test_without_bilabials_nothing_changes(lips) -> None:
    motion = talking(30)
    for phonemes in (ids(*["SIL"] * 30), ids(*["AA", "F", "N"] * 10)):
        assert not closing_shares(phonemes).any()
        assert lips.closed(motion, closing_shares(phonemes)).tobytes() == motion.tobytes()
    assert closing_shares(ids()).shape == (0,)


def test_shares_of_another_length_are_refused(lips) -> None:
    with pytest.raises(ValueError, match=r"shares \(3,\) of motion \(30, 70\)"):
        lips.closed(talking(30), np.zeros(3))


def test_of_the_basel_model_lips_are_left_as_generated_and_it_is_said(lips) -> None:
    notices: list[str] = []
    assert lips_of("bfm", IDENTITY, notices.append) is None
    assert len(notices) == 1
    assert "the models move bfm" in notices[0]
    own = lips_of("open_head", IDENTITY, notices.append)
    assert own is not None
    assert np.array_equal(own.rest, lips.rest)
    assert len(notices) == 1
