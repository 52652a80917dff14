"""Sampling: how fast, and how good against the truth of the sample corpus."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.motion.costs import profile_config, seconds_of, synthetic_batch
from dimitra.cmdt import checkpoint
from dimitra.cmdt.checkpoint import TrainedPart
from dimitra.cmdt.chunks import seam_report
from dimitra.cmdt.dataset import MotionClip, ShardCorpus
from dimitra.cmdt.model import CMDT
from dimitra.cmdt.recursion import SamplingConfig, denoiser_of, generate_part
from dimitra.diffusion.samplers import Sampler, sample
from dimitra.diffusion.schedule import linear_schedule
from dimitra.diffusion.spacing import Spacing, spaced_steps
from dimitra.metrics.motion import head_speed
from dimitra.morphable.coefficients import ANGLES, PARTS

FPS = 25
RESAMPLES = 200
SIZES = {"lips": 13, "expression": 51, "pose": 6}

SETTINGS: tuple[tuple[Sampler, Spacing, int], ...] = (
    ("ddim", "leading", 5),
    ("ddim", "leading", 10),
    ("ddim", "leading", 25),
    ("ddim", "leading", 50),
    ("ancestral", "leading", 25),
    ("ancestral", "leading", 50),
    ("ancestral", "leading", 250),
    ("dpm_solver", "trailing", 5),
    ("dpm_solver", "trailing", 10),
    ("dpm_solver", "log_snr", 5),
    ("dpm_solver", "log_snr", 10),
    ("dpm_solver", "log_snr", 20),
)


@torch.no_grad()
def real_time(profile: str, rounds: int, device: torch.device) -> list[dict[str, Any]]:
    """Seconds of motion a second, for one window of N frames of all three parts."""
    config = profile_config(profile)
    schedule = linear_schedule(500)
    rows = []
    windows = []
    for part in PARTS:
        torch.manual_seed(0)
        model = CMDT(replace(config, motion=SIZES[part])).to(device).eval()
        trained = TrainedPart(part, tuple(range(SIZES[part])), 0, 500, model, ())
        windows.append((trained, synthetic_batch(model.config, 1, config.frames, device)))
    for sampler, spacing, count in SETTINGS:
        steps = spaced_steps(schedule, count, spacing)

        def work() -> None:
            for trained, data in windows:
                denoise = denoiser_of(trained, data.conditions, data.mask)
                generator = torch.Generator().manual_seed(0)
                sample(sampler, denoise, data.noise, schedule, steps, generator)  # noqa: B023

        taken = seconds_of(work, rounds, device)
        rows.append(
            {
                "profile": profile,
                "sampler": sampler,
                "spacing": spacing,
                "steps": count,
                "times_real_time": config.frames / FPS / taken,
            }
        )
    return rows


def truth_of(clip: MotionClip, folder: Path) -> NDArray[np.float32] | None:
    """[T, 70] the corpus' truth of a clip, or None."""
    dataset = clip.clip_id.split("-")[0]
    path = folder / dataset / f"{clip.clip_id}.npz"
    if not path.exists():
        return None
    with np.load(path) as archive:
        values = np.concatenate([archive["expression"], archive["pose"]], axis=1)
    return values.astype(np.float32) if len(values) == len(clip.motion) else None


def correlation(one: NDArray[np.float32], two: NDArray[np.float32]) -> float:
    """Mean over values of Pearson's correlation over frames, weighted by the truth's spread."""
    weights = two.std(axis=0)
    a, b = one - one.mean(axis=0), two - two.mean(axis=0)
    scale = np.maximum(one.std(axis=0) * weights, 1e-9)
    return float(np.average((a * b).mean(axis=0) / scale, weights=weights + 1e-9))


def _draw(
    models: Sequence[TrainedPart], clip: MotionClip, sampling: SamplingConfig
) -> dict[str, NDArray[np.float32]]:
    return {
        trained.part: generate_part(trained, clip.drive, clip.motion[0], sampling, clip.clip_id)
        for trained in models
    }


def quality(
    root: Path,
    truth: Path,
    settings: Iterable[tuple[Sampler, Spacing, int]],
    samples: int,
    clips: int,
) -> dict[str, Any]:
    """Errors of generated test clips against the truth, for each sampler and number of steps.

    Args:
        root: holds ``models`` and ``data/shards``.
        truth: folder of the corpus' truth.
        settings: sampler, spacing and steps.
        samples: drawn of every clip.
        clips: test clips of chorus, the first of them.

    Raises:
        FileNotFoundError: nothing was trained there.
        ValueError: no test clip has a truth.
    """
    models = [checkpoint.load(root / "models" / part) for part in PARTS]
    corpus = ShardCorpus(sorted((root / "data" / "shards").glob("test-chorus-*.tar")))
    pairs = []
    for clip_id in corpus.clip_ids[:clips]:
        clip = corpus.load(clip_id)
        known = truth_of(clip, truth)
        if known is not None:
            pairs.append((clip, known))
    if not pairs:
        raise ValueError(f"no test clip under {root / 'data/shards'} has a truth under {truth}")
    mouth = list(models[0].columns)
    frozen = float(np.mean([np.abs(c.motion[:1] - t)[:, mouth].mean() for c, t in pairs]))
    speed = float(np.mean([head_speed(t[:, ANGLES], FPS) or 0.0 for _, t in pairs]))
    rows = []
    for sampler, spacing, count in settings:
        errors, mean_errors, likeness, speeds, spreads = [], [], [], [], []
        start, seconds = time.perf_counter(), 0.0
        for clip, known in pairs:
            drawn = []
            for number in range(samples):
                sampling = SamplingConfig(sampler, count, number, spacing)
                drawn.append(_draw(models, clip, sampling))
                seconds += len(clip.motion) / FPS
            lips = np.stack([one["lips"] for one in drawn])
            errors.append(np.abs(lips - known[:, mouth]).mean())
            mean_errors.append(np.abs(lips.mean(axis=0) - known[:, mouth]).mean())
            likeness.append(correlation(lips[0], known[:, mouth]))
            speeds.append(np.mean([head_speed(one["pose"][:, :3], FPS) or 0.0 for one in drawn]))
            spreads.append(lips.std(axis=0).mean())
        rows.append(
            {
                "sampler": sampler,
                "spacing": spacing,
                "steps": count,
                "mouth_error": float(np.mean(errors)) / frozen,
                "mouth_error_of_mean": float(np.mean(mean_errors)) / frozen,
                "mouth_correlation": float(np.mean(likeness)),
                "pose_speed": float(np.mean(speeds)) / speed,
                "spread": float(np.mean(spreads)) / frozen,
                "times_real_time": seconds / (time.perf_counter() - start),
            }
        )
    return {"clips": len(pairs), "samples": samples, "frozen_error": frozen, "rows": rows}


def seams(
    root: Path, overlaps: Sequence[int], sampling: SamplingConfig, clips: int
) -> list[dict[str, Any]]:
    """Change from frame to frame at seams beside that within chunks, part by part.

    Values are divided by the scale of the model, so that they can be averaged.
    """
    corpus = ShardCorpus(sorted((root / "data" / "shards").glob("test-*.tar")))
    rows = []
    for part in PARTS:
        trained = checkpoint.load(root / "models" / part)
        longest = trained.model.config.frames
        scale = trained.model.scale.numpy()
        chosen = [c for c in corpus.clip_ids if len(corpus.load(c).motion) > longest][:clips]
        for overlap in overlaps:
            for mouth in ("reset", "carry") if part == "lips" else ("reset",):
                how = replace(sampling, overlap=overlap, mouth=mouth)
                made = []
                for clip_id in chosen:
                    clip = corpus.load(clip_id)
                    motion = generate_part(trained, clip.drive, clip.motion[0], how, clip_id)
                    made.append(motion / scale)
                report = seam_report(made, longest, overlap)
                if report is not None:
                    low, high = _interval(made, longest, overlap)
                    rows.append(
                        {
                            "part": part,
                            "overlap": overlap,
                            "mouth": mouth if part == "lips" else "",
                            "seams": report.seams,
                            "step": report.seam_step / report.inside_step,
                            "low": low,
                            "high": high,
                            "bend": report.seam_bend / report.inside_bend,
                        }
                    )
    return rows


def _interval(
    motions: Sequence[NDArray[np.float32]], longest: int, overlap: int
) -> tuple[float, float]:
    """95 % interval of the ratio of steps: percentiles over clips drawn with replacement."""
    generator = np.random.default_rng(0)
    ratios = []
    for _ in range(RESAMPLES):
        chosen = [motions[i] for i in generator.integers(len(motions), size=len(motions))]
        report = seam_report(chosen, longest, overlap)
        if report is not None:
            ratios.append(report.seam_step / report.inside_step)
    low, high = np.percentile(ratios, (2.5, 97.5))
    return float(low), float(high)
