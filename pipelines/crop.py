"""Crop the face out of every raw clip: `python -m pipelines.crop`."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from dimitra.assets import asset_path
from dimitra.clips import Clip, ClipError, Reason
from dimitra.datasets.original import check_unchanged
from dimitra.faces.backends import load_detector, load_landmarker
from dimitra.faces.crop import CropBox, crop_box, cut_off, rescale, to_crop
from dimitra.faces.detector import FaceDetector
from dimitra.faces.insightface import InsightFaceError
from dimitra.faces.landmarks import Landmarker
from dimitra.faces.mediapipe import MediaPipeError, MediaPipeLandmarker, complete
from dimitra.faces.mesh import FaceMesh, pack
from dimitra.faces.track import (
    BLOCK,
    FaceTracker,
    Track,
    interpolate,
    measure_steadily,
    smooth_boxes,
)
from dimitra.media.audio import SAMPLE_RATE_HZ, encode_flac, read_audio
from dimitra.media.container import MediaLimits, frame_count, probe
from dimitra.media.kept_frames import KeptFrames
from dimitra.media.mp4 import encode_mp4
from dimitra.media.video import LUMA_FIRST, SCALING, iterate_frames, luma, scaler, to_rgb
from dimitra.shards import Members, npz_bytes
from pipelines.errors import StageError
from pipelines.lineage.record import with_lineage
from pipelines.params import CropParams, load
from pipelines.runtime.jobs import Job, Worker, read_manifest, run, units_of
from pipelines.runtime.mainguard import guarded

SEARCH_SIDES_PX = (320, 640, 1280)
"""Longer side of the picture in which faces are sought: the next one where too few are found."""

KEPT_BYTES = 200_000_000
"""Frames of a clip that are kept between the two passes over it; a larger clip is decoded twice."""

MESH_SCALE = 2
"""MediaPipe's mesh is measured on the crop at twice its size."""

_SILENCE_RMS = 1e-4


class Cropper:
    """Turns one raw clip into face crop, sound and track.

    Args:
        params: ``crop``, ``limits`` and ``root``: dataset name to folder.
    """

    def __init__(self, params: Mapping[str, Any]) -> None:
        crop = params["crop"]
        self._roots = {name: Path(path) for name, path in params["roots"].items()}
        self._limits = MediaLimits(**params["limits"])
        self._fps: int = crop["fps"]
        self._size: int = crop["size"]
        self._margin: float = crop["margin"]
        self._max_missing: float = crop["max_missing"]
        self._crf: int = crop["crf"]
        self._preset: str = crop["preset"]
        detector, self._landmarker = _backends(crop)
        self._mesh = (
            MediaPipeLandmarker(asset_path("mediapipe_landmarker"))
            if crop["mesh"] == "mediapipe"
            else None
        )
        self._tracker = FaceTracker(detector, self._landmarker, crop["detect_every"])

    def __call__(self, clip: Clip, parts: Members) -> Members:  # noqa: ARG002
        """Parts ``mp4``, ``flac`` and ``track.npz`` of a clip; ``parts`` is not used."""
        video = self._roots[clip.dataset] / clip.path
        sound = video if clip.audio_path is None else self._roots[clip.dataset] / clip.audio_path
        probe(video, self._limits, audio=clip.audio_path is None)
        samples = self._sound(sound, clip)
        frames = frame_count(len(samples) / SAMPLE_RATE_HZ, self._fps)
        pictures = KeptFrames(lambda: islice(self._frames(video, clip), frames), KEPT_BYTES)
        track, size = self._track(pictures, clip)
        frames = len(track.detected)
        self._check_length(frames, clip)
        box = crop_box(track.landmarks[track.detected], *size, self._margin)
        boxes = smooth_boxes(track.landmarks)
        mp4, landmarks, mesh = self._cut(pictures, clip, box, boxes)
        return {
            "mp4": mp4,
            "flac": encode_flac(self._fit(samples, frames)),
            "track.npz": npz_bytes(
                {
                    "boxes": boxes,
                    "landmarks": interpolate(landmarks, track.detected),
                    "detected": track.detected,
                    "transform": box.transform(self._size),
                    **({} if mesh is None else pack(mesh, self._size)),
                }
            ),
        }

    def _sound(self, path: Path, clip: Clip) -> NDArray[np.float32]:
        samples = read_audio(path, clip.start_s, clip.end_s, limits=self._limits)
        level = math.sqrt(float(np.mean(samples.astype(np.float64) ** 2))) if len(samples) else 0.0
        if level < _SILENCE_RMS:
            raise ClipError(
                Reason.SILENT_AUDIO,
                f"{clip.clip_id}: the sound of {path.name} has an RMS of {level:.1e}, "
                f"need at least {_SILENCE_RMS:.0e} of full scale",
            )
        return samples

    def _frames(self, path: Path, clip: Clip) -> Iterator[av.VideoFrame]:
        return iterate_frames(path, clip.start_s, clip.end_s, self._fps, self._limits)

    def _track(self, pictures: KeptFrames, clip: Clip) -> tuple[Track, tuple[int, int]]:
        """Track in source pixels, and the source's size."""
        best: Track | None = None
        refusal: ClipError | None = None
        size = (0, 0)
        for side in SEARCH_SIDES_PX:
            search = _Search(iter(pictures), side, clip.clip_id)
            try:
                track = self._tracker.follow(search, clip.clip_id)
            except ClipError as error:
                if error.reason is not Reason.NO_FACE:
                    raise
                refusal = error
            else:
                size = search.source
                if best is None or track.missing < best.missing:
                    points = rescale(track.landmarks, search.size, size)
                    best = Track(points, track.detected)
            if search.count == 0:
                self._check_length(0, clip)
            if (best is not None and best.missing <= self._max_missing) or (
                side >= max(search.source)
            ):
                break
        if best is None:
            raise refusal or ClipError(Reason.NO_FACE, f"{clip.clip_id}: no face found")
        if best.missing > self._max_missing:
            raise ClipError(
                Reason.FACE_LOST,
                f"{clip.clip_id}: the face is missing in {best.missing:.0%} of the frames, "
                f"crop.max_missing is {self._max_missing:.0%}",
            )
        cut = float(cut_off(best.landmarks[best.detected], *size).mean())
        if cut > self._max_missing:
            raise ClipError(
                Reason.FACE_CUT,
                f"{clip.clip_id}: the border of the picture cuts the face in {cut:.0%} of the "
                f"frames, crop.max_missing is {self._max_missing:.0%}",
            )
        return best, size

    def _cut(
        self, pictures: KeptFrames, clip: Clip, box: CropBox, boxes: NDArray[np.float32]
    ) -> tuple[bytes, NDArray[np.float32], FaceMesh | None]:
        """Encoded crop, landmarks ``[T, 68, 2]`` and face mesh in its pixels."""
        size = self._size
        places = to_crop(boxes.reshape(-1, 2, 2), box.transform(size)).reshape(-1, 4)
        points = _CropLandmarks(self._landmarker, places, size)
        answers: list[tuple[NDArray[np.float32], NDArray[np.float32]] | None] = []

        def crops() -> Iterator[av.VideoFrame]:
            cut: Callable[[av.VideoFrame], av.VideoFrame] | None = None
            enlarge: Callable[[av.VideoFrame], av.VideoFrame] | None = None
            square = f"crop={box.side}:{box.side}:{box.x}:{box.y}"
            for frame in islice(pictures, len(places)):
                if cut is None or enlarge is None:
                    cut = scaler(frame, f"{square},{_scale(size, size)},format=yuv420p")
                    large = size * MESH_SCALE
                    enlarge = scaler(frame, f"{square},{_scale(large, large)},format=rgb24")
                if self._mesh is not None:
                    answers.append(self._mesh.measure(to_rgb(enlarge(frame))))
                crop = cut(frame)
                points.add(luma(crop))
                yield crop

        mp4 = encode_mp4(crops(), fps=self._fps, crf=self._crf, preset=self._preset)
        mesh: FaceMesh | None = None
        if self._mesh is not None:
            mesh = complete(answers)
            missing = 1.0 if mesh is None else 1.0 - float(mesh.found.mean())
            if mesh is None or missing > self._max_missing:
                raise ClipError(
                    Reason.FACE_LOST,
                    f"{clip.clip_id}: MediaPipe finds no face in {missing:.0%} of the frames, "
                    f"crop.max_missing is {self._max_missing:.0%}",
                )
            large = size * MESH_SCALE
            small = rescale(mesh.points, (large, large), (size, size))
            mesh = FaceMesh(small, mesh.scores, mesh.found)
        return mp4, points.finish(), mesh

    def _check_length(self, frames: int, clip: Clip) -> None:
        if frames < max(1.0, self._limits.min_duration_s * self._fps):
            raise ClipError(
                Reason.TOO_SHORT,
                f"{clip.clip_id} has {frames} frames with both picture and sound, "
                f"limits.min_duration_s is {self._limits.min_duration_s}",
            )

    def _fit(self, samples: NDArray[np.float32], frames: int) -> NDArray[np.float32]:
        length = frames * SAMPLE_RATE_HZ // self._fps
        return np.pad(samples[:length], (0, max(0, length - len(samples))))


class _CropLandmarks:
    """Landmarks of crops as they come, measured a block at a time."""

    def __init__(self, landmarker: Landmarker, places: NDArray[np.float32], size: int) -> None:
        self._landmarker = landmarker
        self._places = places
        self._block = np.empty((min(BLOCK, len(places)), size, size), np.uint8)
        self._count = 0
        self._measured: list[NDArray[np.float32]] = []

    def add(self, image: NDArray[np.uint8]) -> None:
        """Take the next crop ``[size, size]``, grey."""
        self._block[self._count % BLOCK] = image
        self._count += 1
        if self._count % BLOCK == 0:
            self._measure(BLOCK)

    def finish(self) -> NDArray[np.float32]:
        """Landmarks ``[T, 68, 2]`` of all crops."""
        if self._count % BLOCK:
            self._measure(self._count % BLOCK)
        return np.concatenate(self._measured)

    def _measure(self, count: int) -> None:
        places = self._places[self._count - count : self._count]
        self._measured.append(measure_steadily(self._landmarker, self._block[:count], places))


class _Search:
    """Grey frames with a longer side of ``side`` pixels, and what was learnt while making them."""

    def __init__(self, frames: Iterator[av.VideoFrame], side: int, clip_id: str) -> None:
        self._frames = frames
        self._side = side
        self._clip_id = clip_id
        self.source = (0, 0)
        self.size = (0, 0)
        self.count = 0

    def __iter__(self) -> Iterator[NDArray[np.uint8]]:
        shrink: Callable[[av.VideoFrame], av.VideoFrame] | None = None
        for frame in self._frames:
            if not self.count:
                self.source = (frame.width, frame.height)
                ratio = self._side / max(self.source)
                self.size = (
                    max(1, round(frame.width * ratio)),
                    max(1, round(frame.height * ratio)),
                )
                if self.size != self.source or frame.format.name not in LUMA_FIRST:
                    shrink = scaler(frame, f"{_scale(*self.size)},format=gray")
            if (frame.width, frame.height) != self.source:
                raise ClipError(
                    Reason.DECODE_ERROR,
                    f"{self._clip_id}: the frame size changes from {self.source} to "
                    f"{(frame.width, frame.height)}",
                )
            self.count += 1
            yield luma(frame if shrink is None else shrink(frame))


def _scale(width: int, height: int) -> str:
    return f"scale={width}:{height}:flags={SCALING}"


def _backends(crop: Mapping[str, Any]) -> tuple[FaceDetector, Landmarker]:
    """Detector and landmarks of ``params.yaml``'s section ``crop``.

    Raises:
        AssetError: weights are missing.
        InsightFaceError: its package is.
        ValueError: the weights are not of their kind; the message names the file.
    """
    weights = crop["detector_weights"]
    return (
        load_detector(crop["detector"], None if weights is None else asset_path(weights)),
        load_landmarker(crop["landmarks"], asset_path(crop["landmarks_weights"])),
    )


def make_worker(params: dict[str, Any]) -> Worker:
    """Load detector and landmarks once for a worker process."""
    cropper = Cropper(params)
    roots = {name: Path(path) for name, path in params["roots"].items()}

    def work(clip: Clip, parts: Members) -> Members:
        check_unchanged(roots[clip.dataset], clip)
        return cropper(clip, parts)

    return work


def _packages(crop: CropParams) -> tuple[str, ...]:
    """Distributions whose version the bytes depend on."""
    return (
        *("av", "dlib-bin"),
        *(("insightface",) if "insightface" in (crop.detector, crop.landmarks) else ()),
        *(("mediapipe",) if crop.mesh == "mediapipe" else ()),
        *("numba", "numpy"),
        *(
            ("onnxruntime", "opencv-contrib-python")
            if "insightface" in (crop.detector, crop.landmarks)
            else ()
        ),
        *("pillow", "scipy", "soundfile", "soxr"),
    )


def _assets(crop: CropParams) -> tuple[str, ...]:
    """What the workers load, each once, in a fixed order."""
    wanted = [crop.landmarks_weights]
    if crop.detector_weights is not None:
        wanted.append(crop.detector_weights)
    if crop.mesh == "mediapipe":
        wanted.append("mediapipe_landmarker")
    return tuple(dict.fromkeys(wanted))


def _check_backends(crop: CropParams) -> None:
    """Load detector and landmarks once, so that what is wrong with them is said before any work.

    Raises:
        StageError: the weights are not of their kind, or a package is missing.
        AssetError: weights are missing.
    """
    try:
        _backends(crop.model_dump())
    except (ValueError, InsightFaceError) as error:
        raise StageError(f"crop: {error}") from error


def main() -> None:
    """Run the stage."""
    params = load()
    root = Path(params.datasets.root)
    roots = {name: (root / one.path).as_posix() for name, one in params.datasets.sets.items()}
    _check_backends(params.crop)
    run(
        Job(
            stage="crop",
            worker="pipelines.crop:make_worker",
            params={
                "crop": params.crop.model_dump(exclude={"deadline_s"}),
                "limits": params.limits.model_dump(),
                "roots": roots,
            },
            media=roots,
            units=units_of(read_manifest(), []),
            output=Path("data/crops"),
            budget=params.budgets.crop,
            deadline_s=params.crop.deadline_s,
            seed=params.seed,
            assets=_assets(params.crop),
            packages=_packages(params.crop),
        ),
        params.ray,
        params.storage,
    )


if __name__ == "__main__":
    sys.exit(guarded(with_lineage(main), MediaPipeError))
