"""Training the head encoder on rendered heads.

The loss is what an error does to the face: squared distances of the vertices, lips and lids
counting more, which is a quadratic form of the coefficients' errors and needs no vertices; plus the
coefficients themselves, pose and place.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from numpy.typing import NDArray
from torch import Tensor, nn

from dimitra.morphable.camera import rotation
from dimitra.morphable.head_encoder import (
    WINDOW_DM,
    HeadEncoder,
    HeadEstimate,
    cut_windows,
)
from dimitra.morphable.model import FaceModel
from dimitra.seeds import clip_seed

REGIONS = {"skin": 1.0, "brows": 1.0, "lips": 4.0, "eyelids": 4.0}
"""Weight of a vertex of each part."""
SHAPE_DM = 0.02
"""Vertex error that costs one."""
ANGLE_RAD = 0.03
ORIGIN_SHARE = 0.01
SCALE_SHARE = 0.02
WIDE_SHARE = 0.25
"""Share of the windows that are as wide and as ill placed as a whole crop."""
EMA_STEPS = 400
"""Steps over which the kept weights average."""


@dataclass(frozen=True, eq=False)
class HeadSet:
    """Rendered heads; pictures may be a memory map. Shapes as ``dimitra.sample.heads.Heads``."""

    images: NDArray[np.uint8]
    identity: Float[Tensor, "heads 80"]
    expression: Float[Tensor, "heads 64"]
    angles: Float[Tensor, "heads 3"]
    origin: Float[Tensor, "heads 2"]
    scale: Float[Tensor, " heads"]

    def __len__(self) -> int:
        return len(self.images)


@dataclass(frozen=True)
class TrainingSettings:
    """How the encoder is trained.

    Attributes:
        steps: gradient steps.
        batch: heads of a step.
        learning_rate: at its highest, after the warm-up.
        warmup: steps of linear growth.
        weight_decay: of AdamW.
        seed: of weights, order and disturbance.
    """

    steps: int
    batch: int = 64
    learning_rate: float = 2e-3
    warmup: int = 300
    weight_decay: float = 0.01
    seed: int = 0


class Objective:
    """The loss, prepared for a face model.

    Args:
        model: the open head.
        heads: the training set, for the deviation of every expression coefficient.
        device: where it is computed.
    """

    def __init__(
        self, model: FaceModel, heads: HeadSet, device: torch.device | str = "cpu"
    ) -> None:
        weights = torch.zeros(len(model.mean))
        for name, weight in REGIONS.items():
            weights[model.part(name).bool()] = weight
        weights = weights / weights.sum()
        basis = torch.cat((model.identity_basis, model.expression_basis)).flatten(1)
        root = basis * weights.repeat_interleave(3).sqrt()
        self._form = ((root @ root.T) / SHAPE_DM**2).to(device)
        self._spread = heads.expression.std(0).clamp_min(0.05).to(device)

    def __call__(self, seen: HeadEstimate, true: HeadEstimate) -> Float[Tensor, " batch"]:
        """Loss of every head."""
        change = seen.expression - true.expression
        both = torch.cat((seen.identity - true.identity, change), dim=1)
        shape = torch.einsum("bi,ij,bj->b", both, self._form, both)
        coefficients = (change / self._spread).square().mean(1)
        turn = ((seen.angles - true.angles) / ANGLE_RAD).square().mean(1)
        place = ((seen.origin - true.origin) / ORIGIN_SHARE).square().mean(1)
        size = ((seen.scale - true.scale) / SCALE_SHARE).square()
        # A square root of each tames the first steps and single bad windows.
        return (
            (shape + 1e-3).sqrt()
            + 2 * coefficients
            + (turn + 1e-3).sqrt()
            + 0.5 * (place + 1e-3).sqrt()
            + 0.5 * (size + 1e-3).sqrt()
        )


def random_windows(
    heads: HeadSet, picks: Int[Tensor, " batch"], generator: torch.Generator
) -> tuple[Float[Tensor, "batch 3"], HeadEstimate]:
    """Windows about the right ones, most of them close, and what is to be said of each."""
    count = len(picks)
    right = heads.scale[picks] * WINDOW_DM
    wide = torch.rand(count, generator=generator) < WIDE_SHARE
    noise = torch.randn(count, 3, generator=generator)
    grow = torch.where(wide, 0.30 + 0.12 * noise[:, 2], 0.05 * noise[:, 2])
    side = right * grow.exp()
    shift = torch.where(wide, 0.06, 0.02)[:, None] * side[:, None] * noise[:, :2]
    middle = heads.origin[picks] + shift
    windows = torch.cat((middle, side[:, None]), dim=1)
    true = HeadEstimate(
        heads.identity[picks],
        heads.expression[picks],
        heads.angles[picks],
        -shift / side[:, None],
        -grow,
    )
    return windows, true


def recoloured(
    images: Float[Tensor, "batch 3 height width"], generator: torch.Generator
) -> Float[Tensor, "batch 3 height width"]:
    """Random exposure, white balance, contrast and gamma."""
    count = len(images)

    def draw(*shape: int) -> Tensor:
        return torch.randn(count, *shape, generator=generator)

    gain = (0.12 * draw(1, 1, 1) + 0.05 * draw(3, 1, 1)).exp()
    gamma = (0.15 * draw(1, 1, 1)).exp()
    lift = 0.04 * draw(1, 1, 1)
    return ((images.clamp_min(1e-4) ** gamma) * gain + lift).clamp(0.0, 1.0)


def _pictures(
    heads: HeadSet, picks: Int[Tensor, " batch"]
) -> Float[Tensor, "batch 3 height width"]:
    chosen: UInt8[Tensor, "batch height width 3"] = torch.from_numpy(heads.images[picks.numpy()])
    return chosen.permute(0, 3, 1, 2).float() / 255


def _orders(count: int, batch: int, seed: int) -> Iterator[Int[Tensor, " batch"]]:
    """Batches of shuffled indices without end; each pass has its own order."""
    turn = 0
    while True:
        generator = torch.Generator().manual_seed(clip_seed(seed, "order", str(turn)))
        order = torch.randperm(count, generator=generator)
        for start in range(0, count - batch + 1, batch):
            yield order[start : start + batch].sort().values
        turn += 1


def train(
    model: FaceModel,
    heads: HeadSet,
    settings: TrainingSettings,
    encoder: HeadEncoder | None = None,
    watch: Callable[[int, float], None] | None = None,
) -> HeadEncoder:
    """Train an encoder; 16-bit floats where the machine computes them.

    Args:
        model: the open head.
        heads: at least a batch of them.
        settings: how.
        encoder: where to start; fresh weights by the seed if left out. Its device is used.
        watch: called with the step and its loss.

    Returns:
        The average of the weights over the last steps, in evaluation mode.

    Raises:
        ValueError: fewer heads than a batch.
        FloatingPointError: the loss is not a number; names the step.
    """
    if len(heads) < settings.batch:
        raise ValueError(f"{len(heads)} heads are fewer than a batch of {settings.batch}")
    torch.manual_seed(clip_seed(settings.seed, "weights") % 2**31)
    encoder = encoder or HeadEncoder()
    device = encoder.out.weight.device
    encoder = encoder.to(memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    kept = deepcopy(encoder)
    objective = Objective(model, heads, device)
    optimiser = torch.optim.AdamW(
        encoder.parameters(), settings.learning_rate, weight_decay=settings.weight_decay
    )
    orders = _orders(len(heads), settings.batch, settings.seed)
    for step in range(settings.steps):
        generator = torch.Generator().manual_seed(clip_seed(settings.seed, "step", str(step)))
        picks = next(orders)
        windows, true = random_windows(heads, picks, generator)
        inputs = recoloured(cut_windows(_pictures(heads, picks), windows), generator)
        for group in optimiser.param_groups:
            group["lr"] = settings.learning_rate * _rate(step, settings)
        inputs = inputs.to(device).contiguous(memory_format=torch.channels_last)
        with torch.autocast(device.type, torch.bfloat16):
            seen = encoder(inputs)
        loss = objective(seen, _moved(true, device)).mean()
        value = float(loss.detach())
        if not math.isfinite(value):
            raise FloatingPointError(f"the loss of step {step} is {value}")
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(encoder.parameters(), 5.0)
        optimiser.step()
        _follow(kept, encoder, 1 / min(step + 1, EMA_STEPS))
        if watch is not None:
            watch(step, value)
    return kept.eval()


def _moved(estimate: HeadEstimate, device: torch.device) -> HeadEstimate:
    return HeadEstimate(*(getattr(estimate, name).to(device) for name in _FIELDS))


_FIELDS = ("identity", "expression", "angles", "origin", "scale")


def _rate(step: int, settings: TrainingSettings) -> float:
    """Linear warm-up, then half a cosine down to nothing."""
    if step < settings.warmup:
        return (step + 1) / settings.warmup
    done = (step - settings.warmup) / max(settings.steps - settings.warmup, 1)
    return 0.5 * (1 + math.cos(math.pi * done))


@torch.no_grad()
def _follow(kept: HeadEncoder, encoder: HeadEncoder, share: float) -> None:
    for old, new in zip(kept.state_dict().values(), encoder.state_dict().values(), strict=True):
        if old.is_floating_point():
            old.lerp_(new, share)
        else:
            old.copy_(new)


@dataclass(frozen=True)
class Check:
    """Errors on heads that were not trained on.

    Attributes:
        rotation_deg: mean angle between estimated and true rotation.
        mouth_dm: mean distance of the lips' vertices in the model's frame.
        face_dm: the same for skin, lips, lids and brows.
        correlation: of each expression coefficient over all heads.
    """

    rotation_deg: float
    mouth_dm: float
    face_dm: float
    correlation: tuple[float, ...]


@torch.inference_mode()
def check(encoder: HeadEncoder, model: FaceModel, heads: HeadSet, batch: int = 64) -> Check:
    """Errors of an encoder in evaluation mode, on close windows."""
    face = torch.nonzero(model.part(*REGIONS))[:, 0]
    lips = torch.isin(face, torch.nonzero(model.part("lips"))[:, 0])
    shape = model.subset(face)
    turns, mouths, faces, estimates = [], [], [], []
    for start in range(0, len(heads), batch):
        picks = torch.arange(start, min(start + batch, len(heads)))
        side = heads.scale[picks] * WINDOW_DM
        windows = torch.cat((heads.origin[picks], side[:, None]), dim=1)
        inputs = cut_windows(_pictures(heads, picks), windows)
        seen = encoder(inputs.contiguous(memory_format=torch.channels_last))
        between = rotation(seen.angles) @ rotation(heads.angles[picks]).transpose(1, 2)
        cosine = (between.diagonal(dim1=1, dim2=2).sum(1) - 1) / 2
        turns.append(torch.rad2deg(torch.arccos(cosine.clamp(-1, 1))))
        error = shape.vertices(seen.identity, seen.expression) - shape.vertices(
            heads.identity[picks], heads.expression[picks]
        )
        distance = torch.linalg.vector_norm(error, dim=-1)
        mouths.append(distance[:, lips].mean(1))
        faces.append(distance.mean(1))
        estimates.append(seen.expression)
    found, true = torch.cat(estimates), heads.expression
    pairs = zip(found.T.numpy(), true.T.numpy(), strict=True)
    return Check(
        float(torch.cat(turns).mean()),
        float(torch.cat(mouths).mean()),
        float(torch.cat(faces).mean()),
        tuple(float(np.corrcoef(a, b)[0, 1]) for a, b in pairs),
    )
