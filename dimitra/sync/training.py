"""Training of the compact SyncNet: sound and lips that belong together against all others.

The contrastive loss of Chung and Zisserman pulls true pairs together and pushes false ones apart;
its form here is that of van den Oord et al. ("Representation learning with contrastive predictive
coding", 2018), in which every other pair of a batch is a false one. A batch holds several windows
of each of its clips, so most false pairs that are hard to tell are of the same person, voice and
sentence at other times: what decides is the time.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from dimitra.learning.pace import StepTiming
from dimitra.learning.state import StateKind, TrainingState
from dimitra.seeds import clip_seed
from dimitra.sync.compact import SIZE, CompactConfig, CompactSyncNet
from dimitra.sync.protocol import WINDOW, sound_windows, window_count

WARM_UP_SHARE = 0.1
_APART = 2
"""Frames between two windows of one clip in a batch: neighbours look the same."""
_CONTRAST, _COLOUR, _LOUDNESS = 0.2, 0.075, 0.6
"""Spread of contrast, of each colour (share of 255), and of the log energy."""


class SyncTrainingError(RuntimeError):
    """The training cannot go on; the message says at which step, on which clips."""


@dataclass(frozen=True, eq=False)
class SyncClip:
    """A clip to train on.

    Attributes:
        clip_id: seeds its random numbers.
        mouths: ``[T, 40, 40, 3]`` RGB.
        mfcc: ``[F, 13]``.
        samples: length of the sound.
    """

    clip_id: str
    mouths: NDArray[np.uint8]
    mfcc: NDArray[np.float32]
    samples: int

    @property
    def windows(self) -> int:
        """Windows that it has."""
        return window_count(len(self.mouths), self.samples)


@dataclass(frozen=True)
class SyncTraining:
    """How it is trained.

    Attributes:
        steps: optimiser steps.
        clips: of a batch.
        windows: of each of them.
        learning_rate: peak of Adam's.
        weight_decay: of AdamW.
    """

    steps: int
    clips: int
    windows: int
    learning_rate: float
    weight_decay: float = 0.01


@dataclass(frozen=True)
class SyncStep:
    """One row of the curve: loss in nats, share of pictures whose own sound is the nearest."""

    step: int
    loss: float
    accuracy: float


STATE = StateKind("dimitra-sync-training-1", SyncStep)


def learning_rate_at(step: int, config: SyncTraining) -> float:
    """Linear warm-up, then a half cosine to zero."""
    warm_up = max(1, round(WARM_UP_SHARE * config.steps))
    rise = min(1.0, (step + 1) / warm_up)
    return config.learning_rate * rise * 0.5 * (1.0 + math.cos(math.pi * step / config.steps))


def usable(clips: Sequence[SyncClip], config: SyncTraining) -> list[SyncClip]:
    """Clips long enough for their share of a batch, sorted by id."""
    needed = _APART * config.windows
    return sorted((c for c in clips if c.windows >= needed), key=lambda clip: clip.clip_id)


def draw(
    clip: SyncClip, config: SyncTraining, seed: int, step: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Windows of a clip for one step, varied: position, mirror, contrast, colour, loudness.

    The random numbers follow from (seed, step, clip id) alone.

    Returns:
        Pictures ``[windows, 5, 36, 36, 3]``, 0 to 255, and MFCC ``[windows, 13, 20]``.
    """
    random = np.random.default_rng(clip_seed(seed, "sync", str(step), clip.clip_id))
    slots = random.choice(clip.windows // _APART, config.windows, replace=False)
    times = np.sort(slots) * _APART + random.integers(0, _APART)
    times = np.minimum(times, clip.windows - 1)
    room = clip.mouths.shape[1] - SIZE
    top, left = random.integers(0, room + 1, 2)
    frames = times[:, None] + np.arange(WINDOW)
    pictures = clip.mouths[frames, top : top + SIZE, left : left + SIZE].astype(np.float32)
    if random.random() < 0.5:
        pictures = pictures[:, :, :, ::-1]
    contrast = random.uniform(1.0 - _CONTRAST, 1.0 + _CONTRAST)
    colour = random.uniform(-_COLOUR, _COLOUR, 3) * 255.0
    pictures = (pictures - 115.0) * np.float32(contrast) + 115.0 + colour.astype(np.float32)
    sound = sound_windows(clip.mfcc, clip.windows)[times]
    sound[:, 0] += np.float32(random.normal(0.0, _LOUDNESS))
    return np.ascontiguousarray(pictures), sound


def batch_of(
    clips: Sequence[SyncClip], config: SyncTraining, seed: int, step: int
) -> tuple[Tensor, Tensor, list[str]]:
    """Pictures, sounds and clip ids of one step; a corpus smaller than a batch gives all of it."""
    random = np.random.default_rng(clip_seed(seed, "sync", str(step)))
    chosen = random.choice(len(clips), min(config.clips, len(clips)), replace=False)
    drawn = [draw(clips[number], config, seed, step) for number in chosen]
    pictures = torch.from_numpy(np.concatenate([one for one, _ in drawn]))
    sounds = torch.from_numpy(np.concatenate([one for _, one in drawn]))
    return pictures, sounds, [clips[number].clip_id for number in chosen]


def contrastive_loss(lips: Tensor, sound: Tensor, scale: Tensor) -> tuple[Tensor, float]:
    """Cross entropy of the true pairs among all, both ways, over negative squared distances.

    Args:
        lips: ``[B, D]`` unit vectors.
        sound: ``[B, D]`` unit vectors; row i belongs to row i.
        scale: of the squared distances.

    Returns:
        The loss, and the share of pictures whose own sound is the nearest.
    """
    logits = (2.0 * lips @ sound.T - 2.0) * scale
    truth = torch.arange(len(logits))
    both = functional.cross_entropy(logits, truth) + functional.cross_entropy(logits.T, truth)
    return both / 2, float((logits.argmax(dim=1) == truth).float().mean())


def train(
    clips: Sequence[SyncClip],
    sizes: CompactConfig,
    config: SyncTraining,
    seed: int,
    on_step: Callable[[SyncStep, StepTiming], None] | None = None,
    *,
    resumed: TrainingState[SyncStep] | None = None,
    save_every: int = 500,
    on_state: Callable[[TrainingState[SyncStep]], None] | None = None,
) -> tuple[CompactSyncNet, list[SyncStep]]:
    """Train a network; one thread count gives the same bytes every time.

    Args:
        clips: to train on.
        sizes: of the network.
        config: how it is trained.
        seed: of the run.
        on_step: called after every step.
        resumed: where an earlier training of the same settings stopped.
        save_every: steps between two calls of ``on_state``.
        on_state: is given the state, whose tensors are copies; also after the last step.

    Returns:
        The network, and the curve, those steps before ``resumed`` included.

    Raises:
        SyncTrainingError: no clip is long enough, or the loss is not finite.
        StateError: ``resumed`` is another network's.
    """
    chosen = usable(clips, config)
    if not chosen:
        raise SyncTrainingError(
            f"none of {len(clips)} training clips has {_APART * config.windows} windows, which "
            f"sync.windows: {config.windows} needs; lower it, or add longer clips"
        )
    torch.manual_seed(clip_seed(seed, "sync"))
    network = CompactSyncNet(sizes)
    rows = np.concatenate([clip.mfcc for clip in chosen]).astype(np.float64)
    network.mean.copy_(torch.from_numpy(rows.mean(axis=0)))
    network.spread.copy_(torch.from_numpy(rows.std(axis=0).clip(min=1e-3)))
    decay = config.weight_decay
    optimiser = torch.optim.AdamW(network.parameters(), config.learning_rate, weight_decay=decay)
    network.train()
    curve: list[SyncStep] = []
    if resumed is not None:
        resumed.restore(network, (), optimiser)
        curve = list(resumed.curve)
    asked = time.perf_counter()
    for step in range(len(curve), config.steps):
        for group in optimiser.param_groups:
            group["lr"] = learning_rate_at(step, config)
        pictures, sounds, names = batch_of(chosen, config, seed, step)
        came = time.perf_counter()
        lips, sound = network.lips(pictures), network.sound(sounds)
        loss, accuracy = contrastive_loss(lips, sound, network.log_scale.exp())
        record = SyncStep(step, float(loss.detach()), accuracy)
        if not math.isfinite(record.loss):
            raise SyncTrainingError(
                f"step {step}: the loss is {record.loss}, on the clips {', '.join(names)}; look "
                "for bad values in them, or lower sync.learning_rate"
            )
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        curve.append(record)
        now = time.perf_counter()
        if on_step is not None:
            frames = WINDOW * len(pictures)
            on_step(record, StepTiming(now - asked, came - asked, frames))
        asked = now
        done = step + 1
        if on_state is not None and (done == config.steps or done % save_every == 0):
            on_state(STATE.of(network, (), optimiser, curve))
    return network.eval().requires_grad_(requires_grad=False), curve
