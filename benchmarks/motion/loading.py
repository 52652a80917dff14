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
from dimitra.cmdt.batch import PackedBatch
from dimitra.cmdt.dataset import CACHE_BYTES, ShardCorpus, Windows
from dimitra.cmdt.model import CMDT
from dimitra.cmdt.prefetch import AHEAD, batches
from dimitra.cmdt.training import train
from dimitra.learning.pace import StepTiming
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


def _sent_bytes(packed: PackedBatch) -> int:
    """Bytes that a batch takes on its way to the device."""
    given = packed.conditions
    conditions = (given.phonemes, given.text, given.first_pose)
    tensors = [
        packed.clean,
        packed.mask,
        packed.noise,
        packed.steps,
        packed.keys,
        given.speech.rows,
        given.speech.places,
        *(tensor for one in conditions for tensor in (one.values, one.mask)),
    ]
    return sum(tensor.nbytes for tensor in tensors)


def _fitting(shards: Sequence[Path], limit: int) -> list[Path]:
    """The first shards whose clips fit in ``limit`` bytes together; at least one."""
    held = 0
    chosen: list[Path] = []
    for shard in shards:
        held += shard.stat().st_size
        if chosen and held > limit:
            break
        chosen.append(shard)
    return chosen


def loading(
    profile: str,
    shards: Sequence[Path],
    batch: int,
    steps: int,
    trainer_s: float,
    device: torch.device,
) -> list[dict[str, Any]]:
    """Costs of a batch with every clip in the clip cache (warm) and with none (cold).

    Cold batches read each clip from the disk, for the first time: a corpus that no cache holds.

    Args:
        profile: whose frames, speech window and model.
        shards: of at least ``steps * batch`` clips.
        batch: windows a step.
        steps: measured.
        trainer_s: seconds that a trainer spends on a step.
        device: that batches are laid out on. On a CPU the trainer's waiting is measured without
            that, since a trainer on a CPU is never so fast.

    Raises:
        ValueError: too few clips.
    """
    clips = len(ShardCorpus(shards).clip_ids)
    if clips < steps * batch:
        raise ValueError(f"{clips} clips, but {steps} x {batch} are needed; replicate more")
    away = torch.device("meta") if device.type == "cpu" else device
    rows = []
    for cache, chosen in (("warm", _fitting(shards, CACHE_BYTES)), ("cold", list(shards))):

        def stream(paths: list[Path] = chosen, warm: bool = cache == "warm") -> Windows:
            corpus = ShardCorpus(paths, CACHE_BYTES if warm else 0)
            forget(paths)
            for clip_id in corpus.clip_ids if warm else ():
                corpus.load(clip_id)
            return _windows(corpus, profile, batch)

        windows = stream()
        costs, layouts, sent, laid_out = [], [], 0, 0
        for step in range(steps):
            began = time.process_time()
            packed = windows.packed(step)
            packed_at = time.process_time()
            made = packed.to(device)
            costs.append(packed_at - began)
            layouts.append(time.process_time() - packed_at)
            sent = max(sent, _sent_bytes(packed))
            laid_out = max(laid_out, made.conditions.speech.values.nbytes)
        cost = statistics.median(costs)
        row: dict[str, Any] = {
            "profile": profile,
            "batch": batch,
            "clips": len(windows.corpus.clip_ids),
            "clip_cache": cache,
            "sent_mb": sent / 2**20,
            "laid_out_mb": laid_out / 2**20,
            "host_ms": 1000 * cost,
            "lay_out_ms": 1000 * statistics.median(layouts),
            "cores_at_trainer's_pace": cost / trainer_s,
            "waits": wait_share(stream(), steps, trainer_s, away),
            "waits_in_training": None,
            "steps_per_second": None,
        }
        if profile == "sample" or device.type == "cuda":
            share, pace = trained_wait_share(profile, stream(), steps, device)
            row |= {"waits_in_training": share, "steps_per_second": pace}
        rows.append(row)
    return rows
