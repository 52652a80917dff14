"""Analytic Jacobians of the landmark fit."""

from __future__ import annotations

import torch
from torch import Tensor

from dimitra.morphable import open_head
from dimitra.morphable.correspondence import ibug_68
from dimitra.morphable.linearisation import linearise
from dimitra.morphable.observation import FitSettings, Observations


def test_jacobians_agree_with_automatic_differentiation() -> None:
    model = open_head.load()
    generator = torch.Generator().manual_seed(0)
    observed = Observations(
        seen=ibug_68(model),
        points=torch.full((2, 68, 2), 112.0, dtype=torch.float64),
        weights=torch.ones(2, 68, dtype=torch.float64),
        scores=torch.zeros(2, 0, dtype=torch.float64),
        trust=torch.ones(2, dtype=torch.float64),
        settings=FitSettings(robust_px=1e6),
    )
    state = 0.1 * torch.randn(2, 70, generator=generator, dtype=torch.float64)
    identity = torch.randn(80, generator=generator, dtype=torch.float64)
    linear = linearise(observed, state, identity, with_identity=True)

    def inner(s: Tensor, i: Tensor) -> Tensor:
        rows = linearise(observed, s, i, with_identity=False).residual
        return rows.unflatten(1, (68, 2))[:, 17:].flatten(1)

    by_state, by_identity = torch.autograd.functional.jacobian(inner, (state, identity))
    for frame in range(2):
        analytic = linear.frame[frame].unflatten(0, (68, 2))[17:].flatten(0, 1)
        assert torch.allclose(analytic, by_state[frame, :, frame], atol=1e-6, rtol=1e-6)
        analytic = linear.identity[frame].unflatten(0, (68, 2))[17:].flatten(0, 1)
        assert torch.allclose(analytic, by_identity[frame], atol=1e-6, rtol=1e-6)
