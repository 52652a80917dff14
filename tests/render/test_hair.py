"""Hair is told from the background by its colour, and only where it hangs on the head."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dimitra.render.hair import hair_beyond

SIZE = 128
Y, X = np.mgrid[:SIZE, :SIZE]
HEAD = np.hypot(X - 64, Y - 70) < 28
SCALP = HEAD & (Y < 56)
FAR = np.hypot(X - 64, Y - 70) > 55
BROWN, WALL, SKIN = (90.0, 60.0, 40.0), (150.0, 160.0, 175.0), (220.0, 180.0, 160.0)


def drawn(hair: NDArray[np.bool_], other: NDArray[np.bool_] | None = None) -> NDArray[np.float32]:
    picture = np.empty((SIZE, SIZE, 3))
    picture[:] = WALL
    picture[HEAD] = SKIN
    picture[hair | SCALP] = BROWN
    if other is not None:
        picture[other] = BROWN
    noise = np.random.default_rng(0).normal(0.0, 6.0, picture.shape)
    return np.asarray(np.clip(picture + noise, 0, 255), np.float32)


def test_hair_is_found_to_its_edge_and_a_shelf_of_its_colour_is_none() -> None:
    hair = (np.hypot(X - 64, Y - 62) < 40) & (Y < 75) & ~HEAD
    shelf = (np.abs(Y - 110) < 4) & (X < 40)
    found = hair_beyond(drawn(hair, shelf), SCALP, HEAD, FAR)
    assert (found & hair).sum() / (found | hair).sum() > 0.9
    assert not found[shelf].any()
    assert not found[HEAD].any()


def test_a_head_without_hair_beyond_it_has_none() -> None:
    found = hair_beyond(drawn(np.zeros_like(HEAD)), SCALP, HEAD, FAR)
    assert found.sum() < 40


def test_where_head_or_background_cannot_be_seen_nothing_is_hair() -> None:
    hair = (np.hypot(X - 64, Y - 62) < 40) & ~HEAD
    none = np.zeros_like(HEAD)
    assert not hair_beyond(drawn(hair), none, HEAD, FAR).any()
    assert not hair_beyond(drawn(hair), SCALP, HEAD, none).any()
