"""Several processes of torch's own process group train one model."""

import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import multiprocessing

from dimitra.cmdt.dataset import Windows
from dimitra.cmdt.loss import LossWeights
from dimitra.cmdt.model import CMDT
from dimitra.cmdt.peers import Alone, Group
from dimitra.cmdt.resume import StepRecord
from dimitra.cmdt.training import TrainingConfig, train
from tests.cmdt.corpus import MemoryCorpus, toy_clip, toy_config

CONFIG = TrainingConfig(
    steps=8,
    learning_rate=2e-3,
    grad_clip=1.0,
    ema=0.9,
    loss_weights=LossWeights(6.0, 1.0, 2.0),
    diffusion_steps=500,
    weighting="snr",
)
LENGTHS = (60, 9, 45, 20, 60)
"""Of the clips: some are shorter than a window, so processes differ in real frames."""


def corpus() -> MemoryCorpus:
    return MemoryCorpus([toy_clip(f"c{i}", frames, i) for i, frames in enumerate(LENGTHS)])


def trained(peers: Alone | Group, dropout: float) -> tuple[list[StepRecord], torch.Tensor]:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = CMDT(replace(toy_config(6), dropout=dropout))
    windows = Windows(corpus(), range(64, 70), 32, 1, 4, 500, seed=1)
    curve = train(model, windows, CONFIG, torch.device("cpu"), peers=peers)
    return curve, torch.cat([weight.detach().flatten() for weight in model.parameters()])


def process(rank: int, size: int, port: int, folder: str, dropout: float) -> None:
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.distributed.init_process_group("gloo", rank=rank, world_size=size)
    curve, weights = trained(Group.joined(), dropout)
    torch.save((curve_rows(curve), weights), Path(folder) / f"{rank}.pt")
    torch.distributed.destroy_process_group()


def curve_rows(curve: list[StepRecord]) -> list[list[float]]:
    return [[r.loss, r.diffusion, r.first_pose, r.velocity, r.grad_norm] for r in curve]


@pytest.mark.parametrize(("size", "dropout"), [(2, 0.0), (4, 0.0), (2, 0.1), (4, 0.1)])
def test_losses_and_weights_agree_with_one_process(
    size: int, dropout: float, tmp_path: Path
) -> None:
    alone, weights = trained(Alone(), dropout)
    port = 29500 + os.getpid() % 1000 + size + round(100 * dropout)
    multiprocessing.spawn(process, (size, port, str(tmp_path), dropout), nprocs=size)
    found = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(size)]
    for rows, shared in found:
        # Adam divides by the root of small numbers, so rounding grows with the steps.
        torch.testing.assert_close(
            torch.tensor(rows), torch.tensor(curve_rows(alone)), rtol=1e-4, atol=1e-6
        )
        torch.testing.assert_close(shared, weights, rtol=1e-3, atol=1e-5)
        assert torch.equal(shared, found[0][1])
