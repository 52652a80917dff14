"""Measure one reference clip and what other methods made of it, by the protocol of `evaluate`."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from dimitra.assets import asset_path
from dimitra.clips import Clip, ClipError, Reason
from dimitra.evaluation.columns import landmark_values, picture_values
from dimitra.evaluation.definitions import (
    GROUND_TRUTH,
    GROUPS,
    LANDMARK_KEYS,
    PICTURE_KEYS,
    SYNC_KEYS,
)
from dimitra.evaluation.film import Film, VideoError, read_file, square
from dimitra.evaluation.rows import MEASURED, Row, absent
from dimitra.evaluation.tasks import Answer, Settings, Task
from dimitra.media.audio import read_audio
from dimitra.media.video import FPS
from dimitra.metrics.landmarks_distance import LandmarkTrack
from dimitra.metrics.summary import ClipValue
from dimitra.sync import compact, network
from dimitra.sync.evaluator import SyncEvaluator, TooShortError, score_of
from pipelines.crop import Cropper
from pipelines.evaluate import IS_REFERENCE, dlib_finder, track_faces
from pipelines.evaluation.sync import NO_FACE

LENGTH_MISMATCH = "length_mismatch"

OWN_CROPS = "each video was cropped around its own face: their pixels do not belong together"
NOT_ASKED = "not asked for"
NO_NETWORK = (
    "no SyncNet was given: --sync-model evaluators/sync (a run's), or --sync-weights syncnet_v2"
)


_T = TypeVar("_T")


class Measurer:
    """Landmarks, SyncNet and cropper, loaded once a process.

    Args:
        settings: what is measured.

    Raises:
        AssetError: weights are missing.
        FileNotFoundError: there is no trained network.
        TorchFileError: the published weights are of another network.
    """

    def __init__(self, settings: Settings) -> None:
        torch.set_num_threads(1)  # the last bits depend on it
        self._settings = settings
        self._find = dlib_finder()
        sync = "sync" in settings.groups and settings.network is not None
        self._faces = "lmd" in settings.groups or (sync and settings.region != "frame")
        self._evaluator: SyncEvaluator | None = None
        if settings.network == "trained":
            self._evaluator = SyncEvaluator(compact.load(Path(settings.weights)), settings.region)
        elif settings.network == "published":
            weights = network.read_syncnet(asset_path(settings.weights))
            self._evaluator = SyncEvaluator(weights, settings.region)
        self._cropper: Cropper | None = None
        if settings.crop is not None:
            # An absolute path stays one when it is joined to a root.
            self._cropper = Cropper({**json.loads(settings.crop), "roots": {"": "/"}})

    def __call__(self, task: Task) -> Answer:
        """Measure every method of a task; what fails is a row."""
        digests: dict[str, str] = {}
        truth, failed = self._safely(lambda: self._film(task.reference, task, digests))
        if truth is None:
            code, message = failed or (Reason.INTERNAL_ERROR.value, "no message")
            methods = (*((GROUND_TRUTH,) if task.ground_truth else ()), *task.generated)
            failed = (code, f"the reference: {message}")
            return Answer(tuple(self._row(task, method, failed) for method in methods), digests)
        sound = self._sound(task, len(truth.track.found), digests)
        rows = [self._ground_truth(task, truth, sound)] if task.ground_truth else []
        for method in task.generated:
            row, wrong = self._safely(
                functools.partial(self._method, task, method, truth, sound, digests)
            )
            rows.append(row or self._row(task, method, wrong))
        return Answer(tuple(rows), digests)

    @staticmethod
    def _safely(work: Callable[[], _T]) -> tuple[_T | None, tuple[str, str] | None]:
        """The one place where a video that fails becomes a code and a message."""
        try:
            return work(), None
        except VideoError as error:
            return None, (error.outcome, error.message)
        except ClipError as error:
            return None, (error.reason.value, error.message)
        except Exception as error:  # noqa: BLE001 # one bad video must not end the batch
            return None, (Reason.INTERNAL_ERROR.value, f"{type(error).__name__}: {error}")

    def _row(self, task: Task, method: str, failed: tuple[str, str] | None) -> Row:
        outcome, message = failed or (MEASURED, "")
        generated = task.generated.get(method)
        return Row(
            clip=task.clip,
            method=method,
            identity=task.identity,
            outcome=outcome,
            message=message,
            reference=str(task.reference),
            generated="" if generated is None else str(generated),
        )

    def _film(self, path: Path, task: Task, digests: dict[str, str]) -> Film:
        data = read_file(path)
        digests[str(path)] = hashlib.sha256(data).hexdigest()
        try:
            if self._cropper is not None:
                data = self._cropper(_clip(path, task), {})["mp4"]
            track = track_faces(data, functools.partial(self._face, path.name))
        except ClipError as error:
            named = error.message.replace(f"<{len(data)} bytes>", path.name)
            raise ClipError(error.reason, named) from None
        if not len(track.found):
            raise ClipError(Reason.TOO_SHORT, f"{path.name} has no frame")
        return Film(path.name, data, track)

    def _face(self, name: str, image: NDArray[np.uint8]) -> NDArray[np.float64] | None:
        picture = square(image, name)
        return self._find(picture) if self._faces else None

    def _sound(
        self, task: Task, frames: int, digests: dict[str, str]
    ) -> NDArray[np.float32] | str | None:
        """Embedded windows of the clip's sound, or why there are none; None without a network."""
        if self._evaluator is None or "sync" not in self._settings.groups:
            return None
        try:
            data = read_file(task.sound or task.reference)
            digests[str(task.sound or task.reference)] = hashlib.sha256(data).hexdigest()
            return self._evaluator.sound(read_audio(data), frames)
        except ClipError as error:
            return f"{error.reason}: {error.message}"
        except TooShortError as error:
            return str(error)

    def _sync(self, film: Film, sound: NDArray[np.float32] | str | None) -> dict[str, ClipValue]:
        if "sync" not in self._settings.groups:
            return absent(SYNC_KEYS, NOT_ASKED, dropped=False)
        if self._evaluator is None or sound is None:
            return absent(SYNC_KEYS, NO_NETWORK, dropped=False)
        if isinstance(sound, str):
            return absent(SYNC_KEYS, sound, dropped=True)
        if self._evaluator.region != "frame" and not film.track.found.any():
            return absent(SYNC_KEYS, NO_FACE, dropped=True)
        try:
            lips = self._evaluator.lips(film.frames(), film.track.points, film.track.found)
            found = score_of(lips, sound)
        except TooShortError as error:
            return absent(SYNC_KEYS, str(error), dropped=True)
        values = (found.distance, found.confidence, float(found.offset))
        return {key: ClipValue(value) for key, value in zip(SYNC_KEYS, values, strict=True)}

    def _ground_truth(
        self, task: Task, truth: Film, sound: NDArray[np.float32] | str | None
    ) -> Row:
        others = [key for group, keys in GROUPS.items() if group != "sync" for key in keys]
        values, failed = self._safely(lambda: self._sync(truth, sound))
        row = self._row(task, GROUND_TRUTH, failed)
        if values is None:
            return row
        return replace(
            row,
            frames=len(truth.track.found),
            reference_missed=truth.track.missed if self._faces else None,
            values={**absent(others, IS_REFERENCE, dropped=False), **values},
        )

    def _method(
        self,
        task: Task,
        method: str,
        truth: Film,
        sound: NDArray[np.float32] | str | None,
        digests: dict[str, str],
    ) -> Row:
        film = self._film(task.generated[method], task, digests)
        own, theirs = len(film.track.found), len(truth.track.found)
        if abs(own - theirs) > self._settings.max_difference_s * FPS:
            raise VideoError(
                LENGTH_MISMATCH,
                f"{film.name} has {own} frames and the reference {theirs} (at {FPS} a second); "
                f"--max-length-difference is {self._settings.max_difference_s:g} s",
            )
        frames = min(own, theirs)
        generated, reference = film.first(frames), truth.first(frames)
        return replace(
            self._row(task, method, None),
            frames=frames,
            missed=generated.missed if self._faces else None,
            reference_missed=reference.missed if self._faces else None,
            values={
                **self._landmarks(generated, reference),
                **self._sync(film, sound),
                **self._pictures(film, truth),
            },
        )

    def _landmarks(
        self, generated: LandmarkTrack, reference: LandmarkTrack
    ) -> dict[str, ClipValue]:
        if "lmd" not in self._settings.groups:
            return absent(LANDMARK_KEYS, NOT_ASKED, dropped=False)
        return landmark_values(generated, reference, self._settings.max_reference_missed)

    def _pictures(self, film: Film, truth: Film) -> dict[str, ClipValue]:
        asked = [key for key in PICTURE_KEYS if key in self._settings.groups]
        values = absent(set(PICTURE_KEYS) - set(asked), NOT_ASKED, dropped=False)
        if self._cropper is not None:
            return {**values, **absent(asked, OWN_CROPS, dropped=False)}
        return {**values, **(picture_values(film, truth, asked) if asked else {})}


def _clip(path: Path, task: Task) -> Clip:
    """What the cropper asks of a clip; sound that the file lacks is the reference's."""
    return Clip(
        clip_id=path.name,
        dataset="",
        identity=task.identity or "",
        source_video=path.name,
        path=str(path.absolute()),
        audio_path=str((task.sound or task.reference).absolute()),
        sha256="",
        start_s=0.0,
        end_s=None,
        duration_s=0.0,
        fps=float(FPS),
        width=0,
        height=0,
        transcript=None,
        shard=0,
    )


@functools.lru_cache(maxsize=1)
def _measurer(settings: Settings) -> Measurer:
    return Measurer(settings)


def measure(task: Task, settings: Settings) -> Answer:
    """Measure a task in this process, which keeps its networks for the next.

    Raises:
        AssetError: weights are missing, and others of ``Measurer``.
    """
    return _measurer(settings)(task)
