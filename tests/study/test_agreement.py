"""Krippendorff's alpha against published examples."""

from __future__ import annotations

import numpy as np
import pytest

from dimitra.study.agreement import krippendorff_alpha

OBSERVERS = (
    (1, 2, 3, 3, 2, 1, 4, 1, 2, None, None, None),
    (1, 2, 3, 3, 2, 2, 4, 1, 2, 5, None, 3),
    (None, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, None),
    (1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, None),
)
"""Krippendorff (2011), section C: four observers, twelve units, missing values; alpha = 0.743."""
FLEISS = (
    (0, 0, 0, 0, 14),
    (0, 2, 6, 4, 2),
    (0, 0, 3, 5, 6),
    (0, 3, 9, 2, 0),
    (2, 2, 8, 1, 1),
    (7, 7, 0, 0, 0),
    (3, 2, 6, 3, 0),
    (2, 5, 3, 2, 2),
    (6, 5, 2, 1, 0),
    (0, 2, 2, 3, 7),
)
"""The example of most introductions to Fleiss' kappa: 14 raters, ten things; kappa = 0.210."""


def test_the_published_example_with_missing_values() -> None:
    units = [[v for v in unit if v is not None] for unit in zip(*OBSERVERS, strict=True)]
    assert krippendorff_alpha(units) == pytest.approx(0.743, abs=5e-4)


def test_the_published_example_of_two_observers() -> None:
    """Krippendorff (2011), section A: binary values; alpha = 0.095."""
    meg, owen = (0, 1, 0, 0, 0, 0, 0, 0, 1, 0), (1, 1, 1, 0, 0, 1, 0, 0, 0, 0)
    assert krippendorff_alpha(zip(meg, owen, strict=True)) == pytest.approx(0.095, abs=5e-4)


def fleiss_kappa(counts: np.ndarray) -> float:
    """Fleiss (1971), written down from the paper: a second way to the same."""
    things, raters = len(counts), counts[0].sum()
    within = ((counts**2).sum(1) - raters) / (raters * (raters - 1))
    chance = ((counts.sum(0) / (things * raters)) ** 2).sum()
    return float((within.mean() - chance) / (1 - chance))


def test_it_is_fleiss_kappa_with_the_correction_for_small_samples() -> None:
    kappa = fleiss_kappa(np.array(FLEISS))
    assert kappa == pytest.approx(0.210, abs=5e-4)
    units = [[value for value, n in enumerate(row) for _ in range(n)] for row in FLEISS]
    assert krippendorff_alpha(units) == pytest.approx(1 - (1 - kappa) * 139 / 140, abs=1e-12)


def test_the_ends_of_the_scale() -> None:
    assert krippendorff_alpha([(0, 0, 0), (1, 1, 1)]) == 1.0
    assert krippendorff_alpha([(0, 1), (1, 0), (0, 1)]) < 0  # type: ignore[operator]
    assert krippendorff_alpha([(1, 1), (1, 1)]) is None
    assert krippendorff_alpha([(0,), (1,)]) is None
    rng = np.random.default_rng(0)
    noise = krippendorff_alpha(rng.integers(2, size=(2000, 20)).tolist())
    assert noise == pytest.approx(0.0, abs=0.01)
