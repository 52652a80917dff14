"""Measure generated videos against the ground truth: `python -m pipelines.evaluate`."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from dimitra.assets import asset_path
from dimitra.clips import Clip, ClipError, Reason
from dimitra.faces.detector import DlibDetector
from dimitra.faces.landmarks import Dlib68
from dimitra.media.video import iterate_frames, to_rgb
from dimitra.metrics.coefficients import mean_absolute_error
from dimitra.metrics.definitions import METHODS
from dimitra.metrics.landmarks_distance import LANDMARKS, LandmarkTrack, landmark_distance
from dimitra.metrics.records import CLIP_TABLE_SCHEMA, ClipRecord, clip_rows, tabulate
from dimitra.metrics.summary import ClipValue
from dimitra.morphable.coefficients import MOUTH
from dimitra.shards import Members, iterate_shard, json_bytes, read_npz, write_atomic
from pipelines.inputs import require_made
from pipelines.jobs import Job, Worker, read_manifest, run, units_of
from pipelines.mainguard import guarded
from pipelines.params import load
from pipelines.quarantine import write_table
from pipelines.work_cache import WorkCache, local_shards

CROPS = Path("data/crops")
MOTION = Path("data/motion")
GENERATED = Path("data/generated")
VIDEOS = Path("data/videos")
STATS = Path("data/shards/stats.json")
SPLIT = Path("data/split/split.parquet")
OUTPUT = Path("data/evaluation")
METRIC_FILES = Path("metrics")

VIDEO_PARTS = {"dimitra_hp": "hp.mp4", "dimitra_no_hp": "no_hp.mp4"}

NO_SYNC = "SyncNet is not part of this version"
IS_REFERENCE = "the ground truth is what the others are measured against"
NO_VIDEO = "coefficients only, no video"
NO_TRAINING = "no clip to train on"
OTHER_MODEL = "the corpus truth is the open head's, the motion another face model's"
SAME_MOTION = "the same coefficients as dimitra_hp"

FaceFinder = Callable[[NDArray[np.uint8]], NDArray[np.float64] | None]
"""RGB frame ``[H, W, 3]`` to 68 landmarks ``[68, 2]`` in pixels, or None without a face."""


def dlib_finder() -> FaceFinder:
    """The paper's landmarks: dlib's detector on the frame as it is, then its 68 points.

    The surest face counts where there are several.
    """
    detector = DlibDetector()
    landmarker = Dlib68(asset_path("dlib_68"))

    def find(image: NDArray[np.uint8]) -> NDArray[np.float64] | None:
        faces = detector.detect(image)
        return landmarker.measure(image, faces[0].box).astype(np.float64) if faces else None

    return find


def track_faces(video: bytes, find: FaceFinder) -> LandmarkTrack:
    """Detect the face in every frame by itself, as the paper's protocol asks."""
    points, found = [], []
    for frame in iterate_frames(video):
        landmarks = find(to_rgb(frame))
        found.append(landmarks is not None)
        points.append(np.full((LANDMARKS, 2), np.nan) if landmarks is None else landmarks)
    return LandmarkTrack(
        np.asarray(points, dtype=np.float64).reshape(-1, LANDMARKS, 2),
        np.asarray(found, dtype=bool),
    )


def _landmark_values(
    generated: LandmarkTrack, reference: LandmarkTrack, params: Mapping[str, Any]
) -> dict[str, ClipValue]:
    result = landmark_distance(
        generated,
        reference,
        fit=params["lmd_fit"],
        max_reference_missed=params["max_ground_truth_missed"],
    )
    return {
        "f_lmd": ClipValue(result.f_lmd, result.reason, dropped=result.f_lmd is None),
        "m_lmd": ClipValue(result.m_lmd, result.reason, dropped=result.m_lmd is None),
    }


def read_truth(folder: Path, clip: Clip, frames: int) -> tuple[NDArray[np.float32] | None, str]:
    """True expression ``[T, 64]`` of a clip of the sample corpus, or None and the reason why not.

    Args:
        folder: holds ``<dataset>/<clip_id>.npz``; may be absent.
        clip: the clip.
        frames: T.
    """
    path = folder / clip.dataset / f"{clip.clip_id}.npz"
    if not path.is_file():
        return None, f"no truth of this clip under {folder.as_posix()}/"
    expression = np.asarray(read_npz(path.read_bytes())["expression"], dtype=np.float32)
    if len(expression) != frames:
        return None, f"the truth has {len(expression)} frames and the video {frames}"
    return expression, ""


def mouth_values(
    generated: NDArray[np.float32],
    fitted: NDArray[np.float32],
    truth: NDArray[np.float32] | None,
    no_truth: str,
    train_mean: NDArray[np.float32] | None,
) -> dict[str, dict[str, ClipValue]]:
    """Errors of the mouth coefficients for each method that has its own.

    Args:
        generated: ``[T, 13]``.
        fitted: ``[T, 13]``, fitted to the ground-truth video.
        truth: ``[T, 13]`` or None.
        no_truth: why there is no truth.
        train_mean: ``[13]``, of the training clips' fitted coefficients; None without any.
    """
    candidates = {
        "ground_truth": fitted,
        "dimitra_hp": generated,
        "frozen_first_frame": fitted[0],
    }
    if train_mean is not None:
        candidates["train_mean"] = train_mean
    values: dict[str, dict[str, ClipValue]] = {
        method: {
            "mouth_mae_fit": ClipValue(mean_absolute_error(motion, fitted)),
            "mouth_mae_truth": ClipValue(None, no_truth)
            if truth is None
            else ClipValue(mean_absolute_error(motion, truth)),
        }
        for method, motion in candidates.items()
    }
    values["ground_truth"]["mouth_mae_fit"] = ClipValue(None, IS_REFERENCE)
    metrics = tuple(values["dimitra_hp"])
    values["dimitra_no_hp"] = {metric: ClipValue(None, SAME_MOTION) for metric in metrics}
    if train_mean is None:
        values["train_mean"] = {metric: ClipValue(None, NO_TRAINING) for metric in metrics}
    return values


def _check_frames(clip: Clip, counts: Mapping[str, int]) -> int:
    if len(set(counts.values())) != 1:
        listed = ", ".join(f"{name} {count}" for name, count in counts.items())
        raise ClipError(
            Reason.INTERNAL_ERROR,
            f"{clip.clip_id}: frame counts differ ({listed}); frame-wise metrics need one count",
        )
    return next(iter(counts.values()))


def evaluate_clip(
    clip: Clip, parts: Members, find: FaceFinder, params: Mapping[str, Any]
) -> ClipRecord:
    """Every number of one clip.

    Args:
        clip: the clip.
        parts: ``mp4``, ``motion.npz``, ``generated.npz`` and the videos of ``VIDEO_PARTS``.
        find: face landmarks of one frame.
        params: ``lmd_fit``, ``max_ground_truth_missed``, ``truth`` (None where the motion is not
            the open head's), ``mouth`` (indices of the mouth coefficients) and ``train_mean`` (of
            all 64 expression coefficients, or None).

    Raises:
        ClipError: the frame counts of the parts differ, or a video cannot be decoded.
    """
    reference = track_faces(parts["mp4"], find)
    tracks = {method: track_faces(parts[part], find) for method, part in VIDEO_PARTS.items()}
    fitted = np.asarray(read_npz(parts["motion.npz"])["expression"], dtype=np.float32)
    generated = np.asarray(read_npz(parts["generated.npz"])["motion"], dtype=np.float32)
    frames = _check_frames(
        clip,
        {
            "ground truth": len(reference.found),
            **{method: len(track.found) for method, track in tracks.items()},
            "fitted motion": len(fitted),
            "generated motion": len(generated),
        },
    )
    tracks["frozen_first_frame"] = reference.frozen()
    mouth = list(params["mouth"])
    truth, no_truth = None, OTHER_MODEL
    if params["truth"] is not None:
        truth, no_truth = read_truth(Path(params["truth"]), clip, frames)
    train_mean = params["train_mean"]
    coefficient_values = mouth_values(
        generated[:, mouth],
        fitted[:, mouth],
        None if truth is None else truth[:, mouth],
        no_truth,
        None if train_mean is None else np.asarray(train_mean, dtype=np.float32)[mouth],
    )
    values: dict[str, dict[str, ClipValue]] = {}
    for method in METHODS:
        no_sync = NO_SYNC if method.video else NO_VIDEO
        if method.key in tracks:
            landmarks = _landmark_values(tracks[method.key], reference, params)
        else:
            reason = IS_REFERENCE if method.video else NO_VIDEO
            landmarks = {"f_lmd": ClipValue(None, reason), "m_lmd": ClipValue(None, reason)}
        values[method.key] = {
            **landmarks,
            "sync_dist": ClipValue(None, no_sync),
            "sync_conf": ClipValue(None, no_sync),
            **coefficient_values[method.key],
        }
    missed = {"ground_truth": reference.missed}
    missed |= {method: track.missed for method, track in tracks.items()}
    return ClipRecord(clip.clip_id, clip.dataset, clip.identity, frames, missed, values)


def make_worker(params: dict[str, Any]) -> Worker:
    """A worker that evaluates one clip."""
    find = dlib_finder()

    def work(clip: Clip, parts: Members) -> Members:
        record = evaluate_clip(clip, parts, find, params)
        return {"metrics.json": json_bytes(record.to_json())}

    return work


def read_records(shards: Sequence[Path], datasets: Iterable[str]) -> dict[str, list[ClipRecord]]:
    """Records of finished shards: dataset to its clips, sorted by clip id.

    Args:
        shards: of ``data/evaluation``.
        datasets: those of the run; one without a test clip gets an empty list.
    """
    found: dict[str, list[ClipRecord]] = {dataset: [] for dataset in datasets}
    for shard in shards:
        for _, parts in iterate_shard(shard):
            record = ClipRecord.from_json(json.loads(parts["metrics.json"]))
            found[record.dataset].append(record)
    return {
        dataset: sorted(clips, key=lambda record: record.clip_id)
        for dataset, clips in sorted(found.items())
    }


def write_metrics(records: Mapping[str, list[ClipRecord]], folder: Path) -> None:
    """Write ``<dataset>.json`` and ``clips/<dataset>.parquet`` for each dataset."""
    for dataset, clips in records.items():
        table = {
            method: {metric: asdict(summary) for metric, summary in row.items()}
            for method, row in tabulate(clips).items()
        }
        write_atomic(folder / f"{dataset}.json", json_bytes(table))
        write_table(folder / "clips" / f"{dataset}.parquet", clip_rows(clips), CLIP_TABLE_SCHEMA)


def main() -> None:
    """Evaluate every generated clip, then average."""
    params = load()
    require_made({SPLIT: "split", STATS: "shard"})
    clips = tested_clips()
    stats = json.loads(STATS.read_text())
    comparable = params.fit.face_model == "open_head"
    truth = Path(params.evaluate.truth)
    run(
        Job(
            stage="evaluate",
            worker="pipelines.evaluate:make_worker",
            params={
                **params.evaluate.model_dump(exclude={"deadline_s"}),
                "truth": params.evaluate.truth if comparable else None,
                "mouth": list(MOUTH[params.fit.face_model]),
                "train_mean": stats["expression"]["mean"] if stats["clips"] else None,
            },
            units=units_of(clips, [VIDEOS, CROPS, MOTION, GENERATED]),
            output=OUTPUT,
            budget=params.budgets.evaluate,
            deadline_s=params.evaluate.deadline_s,
            seed=params.seed,
            assets=("dlib_68",),
            corpus_inputs=(truth,) if comparable and truth.exists() else (),
            packages=("dlib-bin", "numpy", "av"),
        ),
        params.ray,
        params.storage,
    )
    shards = local_shards(OUTPUT, WorkCache.of(params.storage.root))
    write_metrics(read_records(shards, params.datasets.sets), METRIC_FILES)


def tested_clips() -> list[Clip]:
    """Clips of the manifest that the split tests on."""
    split = pq.read_table(SPLIT, columns=["clip_id", "split"]).to_pylist()
    chosen = {row["clip_id"] for row in split if row["split"] == "test"}
    return [clip for clip in read_manifest() if clip.clip_id in chosen]


if __name__ == "__main__":
    sys.exit(guarded(main))
