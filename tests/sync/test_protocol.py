"""The protocol against a second implementation by loops, and closed forms."""

import math

import numpy as np
import pytest
import torch

from dimitra.sync.protocol import SHIFT, distances, score, sound_windows, window_count


def brute_force(lips, sound):
    """As ``syncnet_python`` walks: window by window, shift by shift, torch's own distance."""
    means = []
    for shift in range(-15, 16):
        total = 0.0
        for number in range(len(lips)):
            other = number + shift
            partner = sound[other] if 0 <= other < len(sound) else np.zeros_like(sound[0])
            pair = torch.from_numpy(np.stack([lips[number], partner])).double()
            total += float(torch.nn.functional.pairwise_distance(pair[:1], pair[1:]))
        means.append(total / len(lips))
    ordered = sorted(means)
    least = means.index(ordered[0])
    return -(least - 15), ordered[0], ordered[15] - ordered[0], means


@pytest.mark.parametrize("seed", range(4))
def test_as_the_loops(seed):
    random = np.random.default_rng(seed)
    lips = random.normal(size=(33, 7))
    sound = np.roll(lips, seed - 2, axis=0) + random.normal(size=(33, 7)) * 0.3
    offset, distance, confidence, means = brute_force(lips, sound)
    found = score(lips, sound)
    assert found.offset == offset
    assert found.distance == pytest.approx(distance, abs=1e-9)
    assert found.confidence == pytest.approx(confidence, abs=1e-9)
    np.testing.assert_allclose(distances(lips, sound), means, atol=1e-9)


@pytest.mark.parametrize("shift", range(-15, 16))
def test_embeddings_shifted_by_k_have_offset_k(shift):
    whole = np.random.default_rng(1).normal(size=(160, 16))
    lips, sound = whole[20:120], whole[20 + shift : 120 + shift]
    assert score(lips, sound).offset == shift


def test_closed_form_of_orthogonal_windows():
    lips = np.eye(40)
    found = score(lips, lips)
    assert found.offset == 0
    assert found.distance == pytest.approx(0.0, abs=1e-4)
    # At shift s, 40 - |s| windows are sqrt(2) apart and |s| meet a zero, at distance 1.
    wanted = np.median(
        [((40 - abs(s)) * math.sqrt(2) + abs(s)) / 40 if s else 0.0 for s in range(-SHIFT, 16)]
    )
    assert found.confidence == pytest.approx(wanted, abs=1e-4)


def test_a_constant_picture_has_next_to_no_confidence():
    sound = np.random.default_rng(2).normal(size=(400, 16))
    sound /= np.linalg.norm(sound, axis=1, keepdims=True)
    still = np.repeat(sound[:1], 400, axis=0)
    assert score(still, sound).confidence < 0.1 * score(sound, sound).confidence


def test_windows():
    assert window_count(100, 100 * 640) == 95
    assert window_count(100, 100 * 640 - 1) == 94
    assert window_count(3, 10**6) == 0
    rows = np.arange(60 * 13).reshape(60, 13)
    windows = sound_windows(rows, 3)
    assert windows.shape == (3, 13, 20)
    assert windows[2, 5, 7] == rows[2 * 4 + 7, 5]


def test_shapes_must_agree():
    with pytest.raises(ValueError, match="must both be"):
        score(np.zeros((4, 2)), np.zeros((5, 2)))
