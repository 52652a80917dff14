"""Measure generated motion by its coefficients: `python -m pipelines.score`.

No video is made or looked at, so that variants of the models can be compared without rendering.
Against the coefficients fitted to the ground truth and, where the corpus has one, the truth.
`evaluate` takes these numbers up into `metrics/<dataset>.json`.

It runs in this process: a clip costs milliseconds. Phonemes come from the test shards, the sound
from the crops. In memory at a time is the fitted motion of the test clips of one data set (the
other clips' motions are a baseline), 280 bytes a frame.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from dimitra.clips import Clip
from dimitra.media.audio import decode_flac
from dimitra.metrics.beats import onsets
from dimitra.metrics.definitions import COEFFICIENT_METRICS, METHODS, OF_ALL_CLIPS
from dimitra.metrics.records import ClipRecord, tabulate
from dimitra.metrics.summary import ClipValue
from dimitra.shards import iterate_shard, json_bytes, read_npz, write_atomic
from pipelines.errors import StageError
from pipelines.evaluation.motion import (
    ONE_SAMPLE,
    Motion,
    Reference,
    Space,
    Voice,
    diversity_values,
    motion_values,
)
from pipelines.evaluation.scores import OF_THE_SET, SCORES, SPLIT, tested_clips
from pipelines.lineage.record import with_lineage
from pipelines.params import Params, load
from pipelines.runtime.inputs import require_made
from pipelines.runtime.mainguard import guarded
from pipelines.runtime.progress import console
from pipelines.stores.work_cache import WorkCache, local_shards
from pipelines.tracking.stage_record import StageRecord

CROPS = Path("data/crops")
MOTION = Path("data/motion")
GENERATED = Path("data/generated")
SHARDS = Path("data/shards")
STATS = SHARDS / "stats.json"

IS_REFERENCE = "it is what the others are measured against"
NO_TRAINING = "no clip to train on"
OTHER_MODEL = "the corpus truth is the open head's, the motion another face model's"
SAME_MOTION = "the same coefficients as dimitra_hp"
SAME_FACE = "the same coefficients as ground_truth"
NO_DONOR = "no other test clip of the data set is as long"
NOT_SAMPLED = "only generated motion has samples"


def _absent(reason: str) -> dict[str, ClipValue]:
    return {metric.key: ClipValue(None, reason) for metric in COEFFICIENT_METRICS}


def clip_values(
    samples: Motion,
    reference: Reference,
    space: Space,
    train_mean: Motion | None,
    donor: Motion | None,
) -> dict[str, dict[str, ClipValue]]:
    """Every number of one clip: method to metric to value.

    Args:
        samples: ``[S, T, 70]``, generated; the first is the one that is rendered.
        reference: fit and truth, T frames.
        space: of all motions.
        train_mean: ``[70]``, None without a training clip.
        donor: another clip's fitted motion, at least T frames; None without one.
    """
    frames = len(reference.fit)
    several = samples if len(samples) > 1 else None

    def held(pose: Motion) -> Motion:
        return np.broadcast_to(pose, (frames, len(pose)))

    motions: dict[str, Motion | str] = {
        "truth": reference.no_truth if reference.truth is None else reference.truth,
        "ground_truth": reference.fit,
        "dimitra_hp": samples[0],
        "dimitra_no_hp": SAME_MOTION,
        "dimitra_mean": ONE_SAMPLE if several is None else several.mean(axis=0),
        "frozen_first_frame": held(reference.fit[0]),
        "shuffled_audio": SAME_FACE,
        "train_mean": NO_TRAINING if train_mean is None else held(train_mean),
        "other_clip": NO_DONOR if donor is None else donor[:frames],
    }
    values: dict[str, dict[str, ClipValue]] = {}
    for method in METHODS:
        motion = motions[method.key]
        if isinstance(motion, str):
            values[method.key] = _absent(motion)
            continue
        row = _absent(NOT_SAMPLED) | motion_values(motion, reference, space)
        if method.key == "dimitra_hp":
            row |= diversity_values(several, space)
        itself = {"truth": "_truth", "ground_truth": "_fit"}.get(method.key)
        if itself:
            row |= {key: ClipValue(None, IS_REFERENCE) for key in row if key.endswith(itself)}
        values[method.key] = row | {key: ClipValue(None, OF_THE_SET) for key in OF_ALL_CLIPS}
    return values


def read_truth(folder: Path, clip: Clip, frames: int) -> tuple[Motion | None, str]:
    """True motion ``[T, 70]`` of a clip of the sample corpus, or None and the reason why not.

    Args:
        folder: holds ``<dataset>/<clip_id>.npz``; may be absent.
        clip: the clip.
        frames: T.
    """
    path = folder / clip.dataset / f"{clip.clip_id}.npz"
    if not path.is_file():
        return None, f"no truth of this clip under {folder.as_posix()}/"
    motion = as_motion(path.read_bytes())
    if len(motion) != frames:
        return None, f"the truth has {len(motion)} frames and the video {frames}"
    return motion, ""


def as_motion(data: bytes) -> Motion:
    """``[T, 70]`` of a file with ``expression`` and ``pose``."""
    arrays = read_npz(data)
    return np.concatenate([arrays["expression"], arrays["pose"]], axis=1).astype(np.float32)


def read_samples(parts: Mapping[str, bytes]) -> Motion:
    """``[S, T, 70]`` of a generated clip."""
    first = np.asarray(read_npz(parts["generated.npz"])["motion"], dtype=np.float32)[None]
    if "samples.npz" not in parts:
        return first
    others = np.asarray(read_npz(parts["samples.npz"])["motion"], dtype=np.float32)
    return np.concatenate([first, others])


def read_voices(clip_ids: Collection[str], cache: WorkCache) -> dict[str, Voice]:
    """Phonemes and onsets of the sound of clips, by clip id.

    Args:
        clip_ids: those wanted; what a stage has quarantined is left out.
        cache: where shards are that do not lie beside their sidecars.
    """
    phonemes = {
        clip_id: read_npz(parts["speech.npz"])["phonemes"]
        for shard in local_shards(SHARDS, cache, clip_ids)
        for clip_id, parts in iterate_shard(shard, clip_ids)
    }
    return {
        clip_id: Voice(phonemes[clip_id], onsets(*decode_flac(parts["flac"])))
        for shard in local_shards(CROPS, cache, list(phonemes))
        for clip_id, parts in iterate_shard(shard, phonemes)
    }


def choose_donor(clip: Clip, clips: Sequence[Clip], lengths: Mapping[str, int]) -> str | None:
    """Whose motion stands for another clip's: the next clip by name that is long enough.

    Of another identity where there is one, else of any; after the last clip comes the first.

    Args:
        clip: the clip.
        clips: of its data set.
        lengths: clip id to frames.
    """
    order = sorted(clips, key=lambda other: (other.clip_id <= clip.clip_id, other.clip_id))
    fitting = [
        other
        for other in order
        if other.clip_id != clip.clip_id and lengths.get(other.clip_id, 0) >= lengths[clip.clip_id]
    ]
    others = [other for other in fitting if other.identity != clip.identity]
    return next((other.clip_id for other in (*others, *fitting)), None)


def score_dataset(
    clips: Sequence[Clip],
    truth: Path | None,
    train_mean: Motion | None,
    space: Space,
    cache: WorkCache,
) -> list[ClipRecord]:
    """Records of the generated clips of one data set, sorted by clip id.

    Args:
        clips: its test clips; those that generation has quarantined have no record.
        truth: folder of the corpus truth, None where the motion is of another face model.
        train_mean: see ``clip_values``.
        space: of all motions.
        cache: where shards are that do not lie beside their sidecars.

    Raises:
        StageError: fitted and generated motion differ in length.
    """
    by_id = {clip.clip_id: clip for clip in clips}
    fitted = {
        clip_id: as_motion(parts["motion.npz"])
        for shard in local_shards(MOTION, cache, list(by_id))
        for clip_id, parts in iterate_shard(shard)
        if clip_id in by_id
    }
    lengths = {clip_id: len(motion) for clip_id, motion in fitted.items()}
    voices = read_voices(list(by_id), cache)
    records = []
    for shard in local_shards(GENERATED, cache, list(by_id)):
        for clip_id, parts in iterate_shard(shard):
            if clip_id not in by_id:
                continue
            clip, samples = by_id[clip_id], read_samples(parts)
            frames = lengths.get(clip_id, 0)
            if frames != samples.shape[1]:
                raise StageError(
                    f"{clip_id}: {samples.shape[1]} generated frames, but {frames} fitted ones; "
                    f"{GENERATED} and {MOTION} are of different runs: `dvc repro generate`"
                )
            known, no_truth = (None, OTHER_MODEL)
            if truth is not None:
                known, no_truth = read_truth(truth, clip, frames)
            donor = choose_donor(clip, clips, lengths)
            values = clip_values(
                samples,
                Reference(voices[clip_id], fitted[clip_id], known, no_truth),
                space,
                train_mean,
                None if donor is None else fitted[donor],
            )
            records.append(ClipRecord(clip_id, clip.dataset, clip.identity, frames, {}, values))
    return sorted(records, key=lambda record: record.clip_id)


def score(params: Params) -> None:
    """Score every generated clip.

    Raises:
        StageError: a stage before has not finished.
    """
    space = Space.of(params)
    cache = WorkCache.of(params.storage.root)
    require_made({SPLIT: "split", STATS: "shard"})
    stats = json.loads(STATS.read_text())
    train_mean = None
    if stats["clips"]:
        mean = stats["expression"]["mean"] + stats["pose"]["mean"]
        train_mean = np.asarray(mean, dtype=np.float32)
    truth = Path(params.evaluate.truth) if params.fit.face_model == "open_head" else None
    clips = tested_clips()
    for dataset in params.datasets.sets:
        own = [clip for clip in clips if clip.dataset == dataset]
        records = score_dataset(own, truth, train_mean, space, cache)
        table = {
            method: {metric: asdict(summary) for metric, summary in row.items()}
            for method, row in tabulate(records, COEFFICIENT_METRICS).items()
        }
        content = {"clips": [record.to_json() for record in records], "table": table}
        write_atomic(SCORES / f"{dataset}.json", json_bytes(content))
        console.print(f"score {dataset}: {len(records)} clips")


def main() -> None:
    """Score the clips of the run in the working folder."""
    params = load()
    with StageRecord("score", wanted=params.ray.mlflow):
        score(params)


if __name__ == "__main__":
    sys.exit(guarded(with_lineage(main)))
