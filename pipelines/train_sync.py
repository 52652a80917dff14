"""Train the compact SyncNet on the training clips: `python -m pipelines.train_sync`.

Writes `evaluators/sync/`: `model.safetensors`, `config.json` (what it was trained on and how),
`curve.csv`. Killed at any time, the same command goes on from the last saved state (every
`ray.save_every` steps); curve and digests go to MLflow.
"""

from __future__ import annotations

import csv
import functools
import io
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch

from dimitra.media.audio import decode_flac
from dimitra.media.video import iterate_frames, to_rgb
from dimitra.shards import read_npz, read_sidecar, write_atomic
from dimitra.sync.compact import CompactConfig, save
from dimitra.sync.mfcc import mfcc
from dimitra.sync.pictures import MOUTH_SIZE, boxes_of, cut
from dimitra.sync.training import (
    STATE,
    SyncClip,
    SyncStep,
    SyncTraining,
    SyncTrainingError,
    train,
)
from pipelines.closure import code_digest
from pipelines.lineage.record import with_lineage
from pipelines.params import Params, load
from pipelines.runtime.jobs import Unit, read_manifest, units_of
from pipelines.runtime.mainguard import guarded
from pipelines.runtime.progress import console, progress_bar
from pipelines.runtime.units import join
from pipelines.stores.work_cache import WorkCache, digest_of, local_shard, package_version
from pipelines.training.clips import chosen
from pipelines.training.not_trained import write_marker
from pipelines.training.record import recorded
from pipelines.training.states import TrainingStates

CROPS = Path("data/crops")
OUTPUT = Path("evaluators/sync")


def training_clips(
    units: Sequence[Unit], wanted: frozenset[str], cache: WorkCache
) -> Iterator[SyncClip]:
    """Mouths and MFCC of the wanted clips, shard by shard; without a face in any frame, none."""
    for unit in units:
        for clip, parts in join(unit, functools.partial(local_shard, cache=cache)):
            if clip.clip_id not in wanted:
                continue
            landmarks = read_npz(parts["track.npz"])["landmarks"]
            found = np.isfinite(landmarks).all(axis=(1, 2))
            if not found.any():
                continue
            samples, _ = decode_flac(parts["flac"])
            frames = (to_rgb(frame) for frame in iterate_frames(parts["mp4"]))
            mouths = np.stack(list(cut(frames, boxes_of(landmarks, found, "mouth"), MOUTH_SIZE)))
            rows = mfcc(samples).astype(np.float32)
            yield SyncClip(clip.clip_id, mouths, rows, len(samples))


def curve_bytes(curve: Sequence[SyncStep]) -> bytes:
    """The training curve as CSV."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["step", "loss", "accuracy"])
    writer.writerows([row.step, f"{row.loss:.6f}", f"{row.accuracy:.6f}"] for row in curve)
    return text.getvalue().encode()


def facts_of(params: Params, units: Sequence[Unit], used: Sequence[str]) -> dict[str, object]:
    """What an auditor needs: inputs, code, parameters; nothing that differs from run to run."""
    names = set(used)
    read = [unit for unit in units if any(clip.clip_id in names for clip in unit.clips)]
    shards = [path for unit in read for path in unit.reads]
    return {
        "shards": {path.as_posix(): read_sidecar(path).sha256 for path in shards},
        "clips": len(used),
        "clip_ids_sha256": digest_of(sorted(used)),
        "code": code_digest("pipelines.train_sync"),
        "params": params.sync.model_dump(exclude={"network", "weights", "region"}),
        "seed": params.seed,
        "torch": package_version("torch"),
    }


def main() -> None:
    """Run the stage with `params.yaml`.

    Raises:
        StageError: the split has no training clip with a crop.
        SyncTrainingError: no training clip is long enough, or the training diverged.
    """
    params = load()
    section = params.sync
    if section.network != "trained":
        why = "the published network is not trained here"
        write_marker(OUTPUT, "train_sync", "sync.network", section.network, why)
        return
    torch.set_num_threads(section.threads)
    torch.use_deterministic_algorithms(True)
    units = units_of(read_manifest(), [CROPS])
    wanted = frozenset(clip.clip_id for clip in chosen(units, section.max_hours, "a crop"))
    cache = WorkCache.of(params.storage.root)
    items: list[SyncClip] = []
    with progress_bar("train_sync: clips", len(wanted)) as bar:
        for item in training_clips(units, wanted, cache):
            items.append(item)
            bar.update(len(items), 0)
    config = SyncTraining(section.steps, section.clips, section.windows, section.learning_rate)
    facts = facts_of(params, units, [item.clip_id for item in items])
    key = digest_of(facts)
    states = TrainingStates(cache.storage, key, STATE.decode)
    resumed = states.latest()
    with recorded(
        "train_sync",
        section.steps,
        asdict(config) | {"width": section.width, "seed": params.seed},
        {"clip_ids_sha256": str(facts["clip_ids_sha256"])},
        work_key=key,
        code_digest=str(facts["code"]),
        mlflow=params.ray.mlflow,
    ) as record:
        if resumed is not None:
            record.resumed(resumed.steps)
        network, curve = train(
            items,
            CompactConfig(section.width),
            config,
            params.seed,
            record.step,
            resumed=resumed,
            save_every=params.ray.save_every,
            on_state=states.write,
        )
        save(OUTPUT, network, facts)
        write_atomic(OUTPUT / "curve.csv", curve_bytes(curve))
        record.keep(OUTPUT, OUTPUT.as_posix())
    states.clear()
    console.print(
        f"train_sync: {section.steps} steps on {len(items)} clips, last loss {curve[-1].loss:.4f}"
    )


if __name__ == "__main__":
    sys.exit(guarded(with_lineage(main), SyncTrainingError))
