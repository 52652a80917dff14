import numpy as np

from dimitra.animation.passages import Passage, cut_at_pauses


def test_short_sound_is_one_passage() -> None:
    assert cut_at_pauses(np.ones(30 * 16_000, np.float32)) == [Passage(0, 480_000)]


def test_passages_end_in_pauses() -> None:
    noise = np.random.default_rng(2).normal(size=100 * 16_000).astype(np.float32)
    for pause_s in (21.0, 44.0, 62.5, 80.0):
        noise[round(pause_s * 16_000) - 2_400 : round(pause_s * 16_000) + 2_400] *= 0.01
    found = cut_at_pauses(noise)
    assert [round(one.stop / 16_000, 1) for one in found] == [21.0, 44.0, 62.5, 80.0, 100.0]
    assert [one.start for one in found[1:]] == [one.stop for one in found[:-1]]
