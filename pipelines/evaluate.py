"""Measure generated videos against the ground truth: `python -m pipelines.evaluate`."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dimitra.assets import asset_path
from dimitra.clips import Clip, ClipError, Reason
from dimitra.faces.detector import DlibDetector
from dimitra.faces.landmarks import Dlib68
from dimitra.media.video import iterate_frames, to_rgb
from dimitra.metrics.definitions import LANDMARK_METRICS, METHODS
from dimitra.metrics.landmarks_distance import (
    LANDMARKS,
    LandmarkTrack,
    landmark_distance,
    landmark_readings,
)
from dimitra.metrics.records import ClipRecord
from dimitra.metrics.summary import ClipValue
from dimitra.shards import Members, json_bytes, npz_bytes
from dimitra.sync.evaluator import SyncEvaluator
from pipelines.evaluation.pictures import (
    Features,
    Pictures,
    absent_pictures,
    picture_weights,
    read_pictures,
)
from pipelines.evaluation.scores import SCORES, SPLIT, tested_clips
from pipelines.evaluation.sync import (
    absent,
    choose_donors,
    load_evaluator,
    read_sound,
    sound_places,
    sync_values,
    trained_inputs,
    weights_of_sync,
    with_donors,
)
from pipelines.evaluation.tables import METRIC_FILES, OUTPUT, write_all
from pipelines.lineage.record import with_lineage
from pipelines.params import Params, load
from pipelines.runtime.inputs import require_made
from pipelines.runtime.jobs import Job, Worker, run, units_of
from pipelines.runtime.mainguard import guarded
from pipelines.stores.work_cache import WorkCache, local_shards
from pipelines.tracking.stage_record import StageRecord

CROPS = Path("data/crops")
VIDEOS = Path("data/videos")

VIDEO_PARTS = {"dimitra_hp": "hp.mp4", "dimitra_no_hp": "no_hp.mp4"}

IS_REFERENCE = "the ground truth is what the others are measured against"
SAME_FRAMES = "its frames are the ground truth's"
NO_VIDEO = "coefficients only, no video"

REASONS = {"ground_truth": IS_REFERENCE, "shuffled_audio": SAME_FRAMES}
"""Why a method with video has no landmark distance."""

LANDMARK_KEYS = ("f_lmd", "m_lmd", *(metric.key for metric in LANDMARK_METRICS))

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
    readings = landmark_readings(
        generated, reference, max_reference_missed=params["max_ground_truth_missed"]
    )
    values = {"f_lmd": result.f_lmd, "m_lmd": result.m_lmd, **readings.values}
    return {
        key: ClipValue(value, result.reason, dropped=value is None) for key, value in values.items()
    }


def _check_frames(clip: Clip, counts: Mapping[str, int]) -> int:
    if len(set(counts.values())) != 1:
        listed = ", ".join(f"{name} {count}" for name, count in counts.items())
        raise ClipError(
            Reason.INTERNAL_ERROR,
            f"{clip.clip_id}: frame counts differ ({listed}); frame-wise metrics need one count",
        )
    return next(iter(counts.values()))


def evaluate_clip(
    clip: Clip,
    parts: Members,
    find: FaceFinder,
    evaluator: SyncEvaluator,
    pictures: Pictures,
    params: Mapping[str, Any],
) -> tuple[ClipRecord, Features]:
    """Every number of one clip's videos; those of its coefficients are ``pipelines.score``'s.

    Beside it the features that the data set's numbers are made of, by metric and method.

    Args:
        clip: the clip.
        parts: ``mp4``, ``flac`` and the videos of ``VIDEO_PARTS``.
        find: face landmarks of one frame.
        evaluator: SyncNet.
        pictures: what looks at the frames.
        params: ``lmd_fit``, ``max_ground_truth_missed``, and ``donors``: clip id to the shard and
            the id of the clip whose sound is the shuffled one.

    Raises:
        ClipError: the frame counts of the parts differ, or a video cannot be decoded.
    """
    reference = track_faces(parts["mp4"], find)
    tracks = {method: track_faces(parts[part], find) for method, part in VIDEO_PARTS.items()}
    frames = _check_frames(
        clip,
        {
            "ground truth": len(reference.found),
            **{method: len(track.found) for method, track in tracks.items()},
        },
    )
    videos = {"ground_truth": (parts["mp4"], reference)}
    videos |= {method: (parts[part], tracks[method]) for method, part in VIDEO_PARTS.items()}
    other = (
        read_sound(*params["donors"][clip.clip_id]) if clip.clip_id in params["donors"] else None
    )
    sync, features = sync_values(evaluator, videos, parts["flac"], other)
    seen, described = pictures.measure(videos)
    tracks["frozen_first_frame"] = reference.frozen()
    values: dict[str, dict[str, ClipValue]] = {}
    for method in METHODS:
        if method.key in tracks:
            landmarks = _landmark_values(tracks[method.key], reference, params)
        else:
            reason = REASONS.get(method.key, NO_VIDEO)
            landmarks = {key: ClipValue(None, reason) for key in LANDMARK_KEYS}
        values[method.key] = {
            **landmarks,
            **sync.get(method.key, absent(NO_VIDEO, dropped=False)),
            **seen.get(method.key, absent_pictures(REASONS.get(method.key, NO_VIDEO))),
        }
    missed = {"ground_truth": reference.missed}
    missed |= {method: track.missed for method, track in tracks.items()}
    record = ClipRecord(clip.clip_id, clip.dataset, clip.identity, frames, missed, values)
    return record, features | described


def make_worker(params: dict[str, Any]) -> Worker:
    """A worker that evaluates one clip."""
    find = dlib_finder()
    evaluator = load_evaluator(params["sync"])
    pictures = read_pictures(params)

    def work(clip: Clip, parts: Members) -> Members:
        record, features = evaluate_clip(clip, parts, find, evaluator, pictures, params)
        return {"metrics.json": json_bytes(record.to_json()), "features.npz": npz_bytes(features)}

    return work


def plan(params: Params) -> Job:
    """The stage's work.

    Raises:
        StageError: a stage before has not finished.
    """
    scores = {SCORES / f"{dataset}.json": "score" for dataset in params.datasets.sets}
    require_made({SPLIT: "split", **scores})
    units = units_of(tested_clips(), [VIDEOS, CROPS])
    donors = choose_donors([clip for unit in units for clip in unit.clips])
    sync = params.sync.model_dump(include={"network", "weights", "region"})
    section = params.evaluate.model_dump(exclude={"deadline_s", "truth"})
    return Job(
        stage="evaluate",
        worker="pipelines.evaluate:make_worker",
        params={**section, "sync": sync, "donors": sound_places(donors, units, CROPS)},
        units=tuple(with_donors(unit, donors, units, CROPS) for unit in units),
        output=OUTPUT,
        budget=params.budgets.evaluate,
        deadline_s=params.evaluate.deadline_s,
        seed=params.seed,
        assets=(
            "dlib_68",
            *weights_of_sync(params.sync),
            *picture_weights(params.evaluate),
        ),
        corpus_inputs=trained_inputs(params.sync),
        packages=(
            "av",
            "dlib-bin",
            "numba",
            "numpy",
            "onnxruntime",
            "pillow",
            "scipy",
            "soundfile",
            "torch",
        ),
    )


def main() -> None:
    """Evaluate every generated clip, then average."""
    params = load()
    run(plan(params), params.ray, params.storage)
    write_all(local_shards(OUTPUT, WorkCache.of(params.storage.root)), params)
    with StageRecord("evaluate", wanted=params.ray.mlflow, joins=True) as record:
        files = [METRIC_FILES / f"{dataset}.json" for dataset in params.datasets.sets]
        files = [file for file in files if file.is_file()]
        record.results(files, register="DVC_EXP_NAME" not in os.environ)


if __name__ == "__main__":
    sys.exit(guarded(with_lineage(main)))
