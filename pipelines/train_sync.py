"""Train the compact SyncNet on the training clips: `python -m pipelines.train_sync`.

Writes `evaluators/sync/`: `model.safetensors`, `config.json` (what it was trained on and how),
`curve.csv`. It takes a minute or two and starts over when killed; curve and digests go to MLflow.
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
from dimitra.shards import json_bytes, read_npz, read_sidecar, write_atomic
from dimitra.sync.compact import CompactConfig, save
from dimitra.sync.mfcc import mfcc
from dimitra.sync.pictures import MOUTH_SIZE, boxes_of, cut
from dimitra.sync.training import SyncClip, SyncStep, SyncTraining, SyncTrainingError, train
from pipelines.closure import code_digest
from pipelines.jobs import Unit, read_manifest, units_of
from pipelines.lineage import with_lineage
from pipelines.mainguard import StageError, guarded
from pipelines.params import Params, load
from pipelines.progress import console, progress_bar
from pipelines.tracking import open_experiment
from pipelines.train_clips import SPLIT, choose, train_ids
from pipelines.units import join
from pipelines.work_cache import WorkCache, digest_of, local_shard, package_version

CROPS = Path("data/crops")
OUTPUT = Path("evaluators/sync")
_LOG_EVERY = 10


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


def write_marker(network: str) -> None:
    """Write, in place of a model, that none was trained: no other stage reads this folder then."""
    OUTPUT.mkdir(parents=True, exist_ok=True)
    for file in OUTPUT.iterdir():
        file.unlink()
    write_atomic(
        OUTPUT / "not_trained.json",
        json_bytes({"sync.network": network, "why": "the published network is not trained here"}),
    )
    console.print(f"train_sync: nothing to train, sync.network is {network}")


def main() -> None:
    """Run the stage with `params.yaml`.

    Raises:
        StageError: the split has no training clip with a crop.
        SyncTrainingError: no training clip is long enough, or the training diverged.
    """
    params = load()
    section = params.sync
    if section.network != "trained":
        write_marker(section.network)
        return
    torch.set_num_threads(section.threads)
    torch.use_deterministic_algorithms(True)
    units = units_of(read_manifest(), [CROPS])
    training = train_ids()
    clips = [clip for unit in units for clip in unit.clips if clip.clip_id in training]
    if not clips:
        raise StageError(f"{SPLIT} names no training clip that has a crop")
    wanted = choose(clips, section.max_hours)
    items: list[SyncClip] = []
    with progress_bar("train_sync: clips", len(wanted)) as bar:
        for item in training_clips(units, wanted, WorkCache.of(params.storage.root)):
            items.append(item)
            bar.update(len(items), 0)
    config = SyncTraining(section.steps, section.clips, section.windows, section.learning_rate)
    facts = facts_of(params, units, [item.clip_id for item in items])
    mlflow = open_experiment("sync")
    with mlflow.start_run(run_name="sync"), progress_bar("train_sync", section.steps) as bar:
        mlflow.log_params(asdict(config) | {"width": section.width, "seed": params.seed})
        mlflow.set_tags({"code": facts["code"], "clip_ids_sha256": facts["clip_ids_sha256"]})

        def on_step(record: SyncStep) -> None:
            bar.update(record.step + 1, 0)
            if record.step % _LOG_EVERY == 0 or record.step == section.steps - 1:
                point = {"loss": record.loss, "accuracy": record.accuracy}
                mlflow.log_metrics(point, step=record.step, synchronous=True)

        network, curve = train(items, CompactConfig(section.width), config, params.seed, on_step)
    save(OUTPUT, network, facts)
    write_atomic(OUTPUT / "curve.csv", curve_bytes(curve))
    console.print(
        f"train_sync: {section.steps} steps on {len(items)} clips, last loss {curve[-1].loss:.4f}"
    )


if __name__ == "__main__":
    sys.exit(guarded(with_lineage(main), SyncTrainingError))
