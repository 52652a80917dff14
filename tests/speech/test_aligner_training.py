import kaldi_hmm_gmm as khg
import numpy as np
import pytest

from dimitra.shards import npz_bytes
from dimitra.speech.acoustics import FEATURE_DIM, acoustic_features
from dimitra.speech.aligner import PDFS, Mixtures
from dimitra.speech.aligner_training import (
    TrainingError,
    Utterance,
    _estimate,
    _posteriors,
    _split,
    train_aligner,
)
from tests.speech.signals import TONE_LEXICON, tone_utterance


def utterances(count: int) -> list[Utterance]:
    clips = [tone_utterance(seed) for seed in range(count)]
    return [
        Utterance(
            f"clip-{k:02d}",
            acoustic_features(clip.samples),
            tuple(TONE_LEXICON.pronunciations(word) for word in clip.spoken),
        )
        for k, clip in enumerate(clips)
    ]


def model_bytes(seed: int) -> bytes:
    aligner, _ = train_aligner(utterances(6), iterations=5, max_gaussians=150, seed=seed)
    return npz_bytes({**vars(aligner.mixtures), "counts": aligner.transition_counts})


def test_same_seed_same_bytes() -> None:
    assert model_bytes(1) == model_bytes(1)
    assert model_bytes(1) != model_bytes(2)


def test_likelihood_rises_and_the_bound_holds() -> None:
    aligner, curve = train_aligner(utterances(10), iterations=8, max_gaussians=135, seed=0)
    likelihoods = [row.log_likelihood for row in curve[1:]]
    assert likelihoods == sorted(likelihoods)
    assert [row.aligned for row in curve] == [10] * 9
    assert PDFS < aligner.mixtures.count <= 135
    assert curve[-1].gaussians == aligner.mixtures.count


def test_posteriors_agree_with_kaldi() -> None:
    generator = np.random.default_rng(0)
    weights = np.array([0.2, 0.5, 0.3])
    means = generator.normal(size=(3, FEATURE_DIM))
    variances = generator.uniform(0.5, 2, size=(3, FEATURE_DIM))
    features = generator.normal(size=(20, FEATURE_DIM))
    gmm = khg.DiagGmm(3, FEATURE_DIM)
    gmm.set_weights(weights.astype(np.float32))
    gmm.set_invvars_and_means((1 / variances).astype(np.float32), means.astype(np.float32))
    gmm.compute_gconsts()
    ours = _posteriors(features, weights, means, variances)
    for frame, shares in zip(features.astype(np.float32), ours, strict=True):
        np.testing.assert_allclose(shares, gmm.component_posteriors(frame)[1], atol=1e-4)


def flat() -> Mixtures:
    return Mixtures(
        np.arange(PDFS + 1, dtype=np.int32),
        np.ones(PDFS, dtype=np.float32),
        np.zeros((PDFS, FEATURE_DIM), dtype=np.float32),
        np.ones((PDFS, FEATURE_DIM), dtype=np.float32),
    )


def test_one_gaussian_takes_the_moments_of_its_frames() -> None:
    generator = np.random.default_rng(1)
    features = (3 + 2 * generator.normal(size=(500, FEATURE_DIM))).astype(np.float32)
    pdfs = np.full(500, 7, dtype=np.int32)
    pdfs[:5] = 8  # too few: keeps what it had
    updated, counts = _estimate(flat(), features, pdfs)
    np.testing.assert_allclose(updated.means[7], features[5:].mean(axis=0), rtol=1e-4)
    np.testing.assert_allclose(updated.variances[7], features[5:].var(axis=0), rtol=1e-3)
    np.testing.assert_array_equal(updated.means[8], 0)
    assert counts[7] == 495
    assert counts.sum() == 500


def test_splitting_keeps_weight_and_mean() -> None:
    counts = np.zeros(PDFS)
    counts[3], counts[4] = 1000, 10
    grown = _split(flat(), counts, PDFS + 3, (0, 1))
    assert np.diff(grown.offsets)[[2, 3, 4]].tolist() == [1, 4, 1]
    own = slice(int(grown.offsets[3]), int(grown.offsets[4]))
    assert grown.weights[own].sum() == pytest.approx(1.0)
    centre = (grown.weights[own, None] * grown.means[own]).sum(axis=0)
    np.testing.assert_allclose(centre, 0, atol=1e-6)


def test_no_usable_clip_is_an_error() -> None:
    item = utterances(1)[0]
    short = Utterance("short", item.features[:5], item.pronunciations)
    with pytest.raises(TrainingError, match="none of 1 training clips"):
        train_aligner([short], iterations=1, max_gaussians=200, seed=0)
