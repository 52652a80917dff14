"""What a training batch costs to make from shards, and how long a trainer waits for it."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.motion.costs import MOTION, ROOT, TRAINING, profile_config
from dimitra.cmdt.dataset import CACHED_CLIPS, ShardCorpus, Windows
from dimitra.cmdt.model import CMDT
from dimitra.cmdt.prefetch import AHEAD, batches
from dimitra.cmdt.training import StepTiming, train
from dimitra.shards import Members, ShardWriter, iterate_shard, npz_bytes, read_npz
from pipelines.params import load

PAPER_RATE_HZ = 50.0
"""Features a second of wav2vec 2.0."""
STARTING = AHEAD + 1
"""Steps that do not count: the threads begin with them."""


def widened(parts: Members, speech: int, text: int) -> Members:
    """A clip's parts with features of the paper's widths and rate; values are repeated ones.

    Args:
        parts: as ``shard`` writes them.
        speech: values of a speech feature.
        text: values of a text token.
    """
    drive, words = read_npz(parts["speech.npz"]), read_npz(parts["text.npz"])
    given = drive["features"]
    length = int(len(drive["phonemes"]) / 25 * PAPER_RATE_HZ)
    rows = np.minimum(np.arange(length) * len(given) // max(length, 1), len(given) - 1)
    drive |= {
        "features": _repeated(given[rows], speech),
        "rate_hz": np.asarray(PAPER_RATE_HZ, np.float32),
    }
    words["tokens"] = _repeated(words["tokens"], text)
    return parts | {"speech.npz": npz_bytes(drive), "text.npz": npz_bytes(words)}


def _repeated(values: NDArray[Any], width: int) -> NDArray[Any]:
    return values[..., np.arange(width) % values.shape[-1]]


def replicate(
    shards: Sequence[Path], folder: Path, clips: int, widths: tuple[int, int] | None = None
) -> list[Path]:
    """Copy shards, under new clip ids, until there are at least ``clips`` clips.

    Args:
        shards: tar files that hold clips.
        folder: for the copies.
        clips: wanted.
        widths: of speech and text features, where they are to be others.

    Raises:
        ValueError: the shards hold no clips.
    """
    made: list[Path] = []
    count = copy = 0
    while count < clips:
        for shard in shards:
            path = folder / f"{copy:03d}-{shard.name}"
            with ShardWriter(path) as writer:
                for clip_id, parts in iterate_shard(shard):
                    sized = parts if widths is None else widened(parts, *widths)
                    writer.add(f"c{copy:03d}-{clip_id}", sized)
                count += writer.finish().clips
            made.append(path)
            if count >= clips:
                break
        if count == 0:
            raise ValueError(f"{len(shards)} shards hold no clips to copy")
        copy += 1
    return made


def forget(paths: Sequence[Path]) -> None:
    """Take files out of the system's page cache, so that the next read is the disk's."""
    for path in paths:
        with path.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _windows(corpus: ShardCorpus, profile: str, batch: int) -> Windows:
    params = load(ROOT / "conf" / f"{profile}.yaml")
    return Windows(
        corpus,
        range(MOTION),
        params.model.frames,
        params.model.window,
        batch,
        params.diffusion.steps,
        params.seed,
        params.diffusion.null_probability,
    )


def wait_share(windows: Windows, steps: int, trainer_s: float, device: torch.device) -> float:
    """Share of the wall time in which a trainer of ``trainer_s`` a step waits for its batches.

    The trainer holds neither a core nor the interpreter, as where a GPU does its work.
    """
    waited = spent = 0.0
    asked = time.perf_counter()
    for step, _ in enumerate(batches(windows, range(steps), device)):
        came = time.perf_counter()
        time.sleep(trainer_s)
        now = time.perf_counter()
        if step >= STARTING:
            waited += came - asked
            spent += now - asked
        asked = now
    return waited / spent


def trained_wait_share(
    profile: str, windows: Windows, steps: int, device: torch.device
) -> tuple[float, float]:
    """The same in a real training of the profile's expression model, and its steps a second."""
    torch.manual_seed(0)
    model = CMDT(profile_config(profile))
    timings: list[StepTiming] = []
    train(
        model,
        windows,
        replace(TRAINING, steps=steps),
        device,
        lambda _, timing: timings.append(timing),
    )
    counted = timings[STARTING:]
    spent = sum(timing.step_s for timing in counted)
    return sum(timing.wait_s for timing in counted) / spent, len(counted) / spent


def loading(
    profile: str,
    shards: Sequence[Path],
    batch: int,
    steps: int,
    trainer_s: float,
    device: torch.device,
) -> list[dict[str, Any]]:
    """Costs of a batch with every clip in the clip cache (warm) and with none (cold).

    Cold batches read each clip for the first time, from the disk.

    Args:
        profile: whose frames, speech window and model.
        shards: of at least ``steps * batch`` clips, and of more than the cache holds.
        batch: windows a step.
        steps: measured.
        trainer_s: seconds that a trainer spends on a step.
        device: that batches are copied to.

    Raises:
        ValueError: too few clips.
    """
    many = ShardCorpus(shards)
    clips = len(many.clip_ids)
    if clips < max(steps * batch, CACHED_CLIPS + 1):
        raise ValueError(
            f"{clips} clips: at least {steps} x {batch}, and more than the {CACHED_CLIPS} of the "
            "cache, are needed; replicate more"
        )
    few: list[Path] = []
    while not few or len(ShardCorpus([*few, shards[len(few)]]).clip_ids) <= CACHED_CLIPS:
        few.append(shards[len(few)])
    rows = []
    for cache, chosen in (("warm", few), ("cold", list(shards))):

        def stream(paths: list[Path] = chosen, warm: bool = cache == "warm") -> Windows:
            corpus = ShardCorpus(paths)
            forget(paths)
            for clip_id in corpus.clip_ids if warm else ():
                corpus.load(clip_id)
            return _windows(corpus, profile, batch)

        windows = stream()
        costs, bytes_made = [], 0
        for step in range(steps):
            began = time.process_time()
            made = windows.batch(step)
            costs.append(time.process_time() - began)
            bytes_made = max(bytes_made, made.conditions.speech.values.nbytes)
        cost = statistics.median(costs)
        row: dict[str, Any] = {
            "profile": profile,
            "batch": batch,
            "clips": len(windows.corpus.clip_ids),
            "clip_cache": cache,
            "speech_mb": bytes_made / 2**20,
            "batch_cpu_ms": 1000 * cost,
            "cores_at_trainer's_pace": cost / trainer_s,
            "waits": wait_share(stream(), steps, trainer_s, device),
            "waits_in_training": None,
            "steps_per_second": None,
        }
        if profile == "sample" or device.type == "cuda":
            share, pace = trained_wait_share(profile, stream(), steps, device)
            row |= {"waits_in_training": share, "steps_per_second": pace}
        rows.append(row)
    return rows
