"""The model through Inductor, with a real C++ compiler."""

import shutil
from dataclasses import replace

import pytest
import torch

from dimitra.cmdt.dataset import Windows
from dimitra.cmdt.model import CMDT
from dimitra.cmdt.training import train
from dimitra.learning.pace import deterministic
from tests.cmdt.corpus import toy_config, toy_corpus
from tests.cmdt.test_training import CONFIG

TOLERANCE = 1e-4
"""Relative, of every loss and gradient norm: Inductor adds up in another order."""


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler")
def test_a_compiled_training_has_the_losses_of_an_eager_one() -> None:
    """Windows of several lengths: the graph is compiled once or twice, not for each."""
    curves = []
    for compiled in (False, True):
        torch.manual_seed(0)
        model = CMDT(replace(toy_config(6), layers=1))
        windows = Windows(toy_corpus(5), range(64, 70), 32, 1, 4, 500, 1, null_probability=0.3)
        assert len({windows.length_of(step) for step in range(CONFIG.steps)}) > 3
        with deterministic(1):
            config = replace(CONFIG, compiled=compiled)
            curves.append(train(model, windows, config, torch.device("cpu")))
    eager, compiled_curve = curves
    for one, two in zip(eager, compiled_curve, strict=True):
        assert two.loss == pytest.approx(one.loss, rel=TOLERANCE)
        assert two.grad_norm == pytest.approx(one.grad_norm, rel=TOLERANCE)
