"""Training of the aligner from sound and words alone: flat start, then Viterbi training.

The recipe is Kaldi's for monophones (``train_mono.sh``): every clip is cut evenly into its states,
single Gaussians are estimated, then alignment and estimation alternate while mixtures grow. The
splitting of mixtures is this project's own, because the library's draws random numbers that cannot
be seeded; the same clips in the same order give the same bytes.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dimitra.speech.acoustics import FEATURE_DIM
from dimitra.speech.aligner import PDFS, STATES, Aligner, Mixtures
from dimitra.speech.lexicon import Pronunciation
from dimitra.speech.phonemes import PHONES, SILENCE

log = logging.getLogger(__name__)

_TRANSITION_IDS = 2 * PDFS
"""Each state has a loop and a way out."""

_VARIANCE_FLOOR = 0.1
_SMALLEST_COUNT = 20.0
_SPLIT_POWER = 0.25
_PERTURBATION = 0.1
_EDGE_LEVEL = 0.3


class TrainingError(ValueError):
    """No training clip can be aligned with its words."""


@dataclass(frozen=True)
class Utterance:
    """A training clip.

    Attributes:
        clip_id: names it in messages.
        features: ``[F, 39]`` of `acoustics`.
        pronunciations: of each spoken word, best first.
    """

    clip_id: str
    features: NDArray[np.float32]
    pronunciations: tuple[tuple[Pronunciation, ...], ...]


@dataclass(frozen=True)
class Progress:
    """One line of the training curve.

    Attributes:
        iteration: counted from 0, the flat start.
        gaussians: in all states together.
        log_likelihood: mean per 10 ms frame of the Viterbi paths, before the update.
        aligned: clips that had a path.
    """

    iteration: int
    gaussians: int
    log_likelihood: float
    aligned: int


def _flat_path(utterance: Utterance) -> NDArray[np.int32] | None:
    """States of a first guess: quiet frames at both ends are silence, the rest is cut evenly."""
    phones = [phone for variants in utterance.pronunciations for phone in variants[0]]
    frames = len(utterance.features)
    states = len(phones) * STATES
    if frames < states + 2 * STATES:
        return None
    energy = utterance.features[:, 0]
    low, high = np.quantile(energy, [0.1, 0.9])
    loud = np.flatnonzero(energy > low + _EDGE_LEVEL * (high - low))
    first = int(np.clip(loud[0] if len(loud) else 0, STATES, frames - states - STATES))
    last = int(np.clip(loud[-1] + 1 if len(loud) else frames, first + states, frames - STATES))
    pieces = (
        ([SILENCE], first),
        (phones, last - first),
        ([SILENCE], frames - last),
    )
    path = [
        np.repeat(
            [PHONES.index(phone) * STATES + state for phone in labels for state in range(STATES)],
            np.diff(np.linspace(0, length, len(labels) * STATES + 1).round().astype(int)),
        )
        for labels, length in pieces
    ]
    return np.concatenate(path).astype(np.int32)


def _single(mean: NDArray[np.float64], variance: NDArray[np.float64]) -> Mixtures:
    return Mixtures(
        np.arange(PDFS + 1, dtype=np.int32),
        np.ones(PDFS, dtype=np.float32),
        np.tile(mean, (PDFS, 1)).astype(np.float32),
        np.tile(variance, (PDFS, 1)).astype(np.float32),
    )


def _posteriors(
    features: NDArray[np.float64],
    weights: NDArray[np.float64],
    means: NDArray[np.float64],
    variances: NDArray[np.float64],
) -> NDArray[np.float64]:
    """``[n, k]`` probability that each frame came from each component of one state."""
    constant = np.log(weights) - 0.5 * np.log(2 * np.pi * variances).sum(axis=1)
    distance = ((features[:, None, :] - means) ** 2 / variances).sum(axis=2)
    scores = constant - 0.5 * distance
    scores -= scores.max(axis=1, keepdims=True)
    shares = np.exp(scores)
    return np.asarray(shares / shares.sum(axis=1, keepdims=True))


def _estimate(
    mixtures: Mixtures, features: NDArray[np.float32], pdfs: NDArray[np.int32]
) -> tuple[Mixtures, NDArray[np.float64]]:
    """One maximum-likelihood update of every state from the frames assigned to it.

    A component with fewer frames than ``_SMALLEST_COUNT`` keeps its mean and variance; a state
    without frames keeps everything.

    Returns:
        the mixtures, and the frames of each component ``[G]``.
    """
    weights = mixtures.weights.astype(np.float64)
    means = mixtures.means.astype(np.float64)
    variances = mixtures.variances.astype(np.float64)
    counts = np.zeros(mixtures.count)
    order = np.argsort(pdfs, kind="stable")
    borders = np.searchsorted(pdfs[order], np.arange(PDFS + 1))
    for pdf in range(PDFS):
        part = slice(int(mixtures.offsets[pdf]), int(mixtures.offsets[pdf + 1]))
        own = features[order[borders[pdf] : borders[pdf + 1]]].astype(np.float64)
        if len(own) == 0:
            continue
        shares = _posteriors(own, weights[part], means[part], variances[part])
        count = shares.sum(axis=0)
        counts[part] = count
        safe = np.maximum(count, 1.0)[:, None]
        mean = np.stack([(share[:, None] * own).sum(axis=0) for share in shares.T]) / safe
        square = np.stack([(share[:, None] * own**2).sum(axis=0) for share in shares.T]) / safe
        enough = (count >= _SMALLEST_COUNT)[:, None]
        means[part] = np.where(enough, mean, means[part])
        spread = np.maximum(square - mean**2, _VARIANCE_FLOOR)
        variances[part] = np.where(enough, spread, variances[part])
        kept = np.maximum(count, 1e-3 * len(own))
        weights[part] = kept / kept.sum()
    updated = Mixtures(
        mixtures.offsets,
        weights.astype(np.float32),
        means.astype(np.float32),
        variances.astype(np.float32),
    )
    return updated, counts


def _grown(
    components: NDArray[np.int64], occupancy: NDArray[np.float64], total: int
) -> NDArray[np.int64]:
    """Components of each state: one more where ``occupancy ** 0.25 / components`` is largest."""
    components = components.copy()
    power = occupancy**_SPLIT_POWER
    while components.sum() < total:
        room = occupancy / (components + 1) >= _SMALLEST_COUNT
        if not room.any():
            break
        components[int(np.argmax(np.where(room, power / components, -1.0)))] += 1
    return components


def _split(
    mixtures: Mixtures, counts: NDArray[np.float64], total: int, seed: Sequence[int]
) -> Mixtures:
    """Grow the mixtures to about ``total`` components, splitting each state's heaviest ones.

    A component of mean ``m`` and deviation ``s`` becomes two of half its weight at ``m ± 0.1 s
    z``, with ``z`` standard normal from the seed.
    """
    generator = np.random.default_rng(list(seed))
    occupancy = np.add.reduceat(counts, mixtures.offsets[:-1])
    wanted = _grown(np.diff(mixtures.offsets).astype(np.int64), occupancy, total)
    weights: list[NDArray[np.float32]] = []
    means: list[NDArray[np.float32]] = []
    variances: list[NDArray[np.float32]] = []
    for pdf in range(PDFS):
        part = slice(int(mixtures.offsets[pdf]), int(mixtures.offsets[pdf + 1]))
        weight = list(mixtures.weights[part])
        mean = list(mixtures.means[part])
        variance = list(mixtures.variances[part])
        while len(weight) < wanted[pdf]:
            heaviest = int(np.argmax(weight))
            noise = generator.standard_normal(FEATURE_DIM).astype(np.float32)
            step = np.float32(_PERTURBATION) * np.sqrt(variance[heaviest]) * noise
            weight[heaviest] /= np.float32(2)
            weight.append(weight[heaviest])
            mean.append(mean[heaviest] - step)
            mean[heaviest] = mean[heaviest] + step
            variance.append(variance[heaviest])
        weights.append(np.array(weight, dtype=np.float32))
        means.append(np.stack(mean))
        variances.append(np.stack(variance))
    offsets = np.cumsum([0, *map(len, weights)]).astype(np.int32)
    return Mixtures(
        offsets, np.concatenate(weights), np.concatenate(means), np.concatenate(variances)
    )


def train_aligner(
    utterances: Sequence[Utterance], iterations: int, max_gaussians: int, seed: int
) -> tuple[Aligner, list[Progress]]:
    """Train a monophone model.

    Args:
        utterances: the training clips; their order matters to the last bit, so sort them.
        iterations: rounds of alignment and estimation; mixtures grow over the first three quarters.
        max_gaussians: upper bound on the number of Gaussians in all states together.
        seed: of the splitting.

    Returns:
        the model, and one line a round.

    Raises:
        TrainingError: no clip can be aligned at all.
    """
    starts = [(item, _flat_path(item)) for item in utterances]
    usable = [(item, path) for item, path in starts if path is not None]
    for item, path in starts:
        if path is None:
            log.warning("%s: more phones than its sound can hold; not used", item.clip_id)
    if not usable:
        raise TrainingError(
            f"none of {len(utterances)} training clips is long enough for its words: check the "
            "transcripts and the split"
        )
    everything = np.concatenate([item.features for item, _ in usable])
    wide = everything.astype(np.float64)
    mixtures = _single(wide.mean(axis=0), np.maximum(wide.var(axis=0), _VARIANCE_FLOOR))
    mixtures, counts = _estimate(mixtures, everything, np.concatenate([path for _, path in usable]))
    transitions = np.zeros(_TRANSITION_IDS + 1)
    aligner = Aligner(mixtures, transitions)
    curve = [Progress(0, mixtures.count, float("nan"), len(usable))]
    graphs = [aligner.graph(item.pronunciations) for item, _ in usable]
    growing = max(1, iterations * 3 // 4)
    for iteration in range(1, iterations + 1):
        features, pdfs, likelihood = [], [], 0.0
        transitions = np.zeros(_TRANSITION_IDS + 1)
        for (item, _), graph in zip(usable, graphs, strict=True):
            best = aligner.best_path(item.features, graph)
            if best is None:
                log.warning("%s: no path in iteration %d", item.clip_id, iteration)
                continue
            features.append(item.features)
            pdfs.append(best.pdfs)
            likelihood += best.log_likelihood
            np.add.at(transitions, best.transitions, 1.0)
        if not pdfs:
            raise TrainingError(f"no training clip has a path in iteration {iteration}")
        stacked = np.concatenate(features)
        mixtures, counts = _estimate(mixtures, stacked, np.concatenate(pdfs))
        curve.append(Progress(iteration, mixtures.count, likelihood / len(stacked), len(pdfs)))
        log.info(
            "iteration %d: %d Gaussians, %.3f per frame",
            iteration,
            mixtures.count,
            likelihood / len(stacked),
        )
        if iteration <= growing and iteration < iterations:
            total = PDFS + (max_gaussians - PDFS) * iteration // growing
            mixtures = _split(mixtures, counts, min(total, max_gaussians), (seed, iteration))
        aligner = Aligner(mixtures, transitions)
    return aligner, curve
