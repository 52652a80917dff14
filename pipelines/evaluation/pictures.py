"""The picture columns of `evaluate`: likeness of frames and faces, and features of their sets."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dimitra.assets import asset_path
from dimitra.faces.recognition import ArcFace, DlibFaces, FaceEmbedder, cosine
from dimitra.media.video import iterate_frames, to_rgb
from dimitra.metrics.definitions import OF_ALL_FRAMES, VIDEO_METRICS
from dimitra.metrics.features import FeatureNetwork
from dimitra.metrics.fidelity import fidelity
from dimitra.metrics.landmarks_distance import LandmarkTrack
from dimitra.metrics.summary import ClipValue
from pipelines.evaluation.scores import OF_THE_SET
from pipelines.params import EvaluateParams

NO_FACE = "dlib finds no face in both videos in the frames that are compared"
NO_ERROR = "no frame differs from the ground truth's"

Picture = NDArray[np.uint8]
Features = dict[str, NDArray[np.float32]]
"""``<metric>.<method>`` to features ``[N, D]``."""
Row = dict[str, ClipValue]


@dataclass(frozen=True)
class Networks:
    """What describes pictures.

    Attributes:
        faces: describes a face.
        frame: features of a frame, None for none.
        clip: features of 16 frames, None for none.
    """

    faces: FaceEmbedder
    frame: FeatureNetwork | None
    clip: FeatureNetwork | None


def picture_weights(section: EvaluateParams) -> tuple[str, ...]:
    """References of the networks' weights."""
    chosen = (section.face_weights, section.frame_weights, section.clip_weights)
    return tuple(name for name in chosen if name is not None)


def load_networks(params: Mapping[str, Any]) -> Networks:
    """The networks that the parameters name.

    Raises:
        AssetError: weights are not here.
        ValueError: they are of another network.
    """
    kind = DlibFaces if params["face_network"] == "dlib" else ArcFace
    frame, clip = params["frame_weights"], params["clip_weights"]
    return Networks(
        faces=kind(asset_path(params["face_weights"])),
        frame=None if frame is None else FeatureNetwork(asset_path(frame), clips=False),
        clip=None if clip is None else FeatureNetwork(asset_path(clip), clips=True),
    )


def absent_pictures(reason: str) -> Row:
    """No values, and why."""
    return {metric.key: ClipValue(None, reason) for metric in VIDEO_METRICS}


def _frames(video: bytes, every: int) -> Iterator[Picture]:
    for frame in itertools.islice(iterate_frames(video), 0, None, every):
        yield to_rgb(frame)


def describe(
    frames: Iterator[Picture], track: LandmarkTrack, every: int, network: FaceEmbedder
) -> dict[int, NDArray[np.float64]]:
    """Place to face descriptor, of every so many frames; those without a face are left out."""
    return {
        place: network.describe(frame, track.points[place])
        for place, frame in zip(range(0, len(track.found), every), frames, strict=False)
        if track.found[place]
    }


def _likeness(
    own: Mapping[int, NDArray[np.float64]], true: Mapping[int, NDArray[np.float64]]
) -> ClipValue:
    both = sorted(own.keys() & true.keys())
    if not both:
        return ClipValue(None, NO_FACE, dropped=True)
    return ClipValue(math.fsum(cosine(own[place], true[place]) for place in both) / len(both))


@dataclass(frozen=True)
class Pictures:
    """Measures the videos of a clip.

    Attributes:
        networks: what describes them.
        pictures_every: frames from one that is compared to the next.
        faces_every: frames from one whose face is described to the next.
    """

    networks: Networks
    pictures_every: int
    faces_every: int

    def measure(
        self, videos: Mapping[str, tuple[bytes, LandmarkTrack]]
    ) -> tuple[dict[str, Row], Features]:
        """Values and features of each video and of the frozen first frame.

        Args:
            videos: ``ground_truth`` and the generated ones: mp4 and landmarks.

        Returns:
            Method to metric to value; and the features that the data set's numbers are made of.
        """
        video, track = videos["ground_truth"]
        true = describe(_frames(video, self.faces_every), track, self.faces_every, self._faces)
        rows: dict[str, Row] = {}
        features = self._features("ground_truth", video, true)
        for method, (own, found) in videos.items():
            if method != "ground_truth":
                faces = describe(
                    _frames(own, self.faces_every), found, self.faces_every, self._faces
                )
                rows[method] = self._row(video, _frames(own, self.pictures_every))
                rows[method]["identity_sim"] = _likeness(faces, true)
                features |= self._features(method, own, faces)
        still = next(_frames(video, 1))
        rows["frozen_first_frame"] = self._row(video, itertools.repeat(still))
        held = dict.fromkeys(range(0, len(track.found), self.faces_every), true.get(0))
        faces = {place: face for place, face in held.items() if face is not None}
        rows["frozen_first_frame"]["identity_sim"] = _likeness(faces, true)
        features |= self._held("frozen_first_frame", still, len(track.found), faces)
        return rows, features

    @property
    def _faces(self) -> FaceEmbedder:
        return self.networks.faces

    def _row(self, video: bytes, frames: Iterator[Picture]) -> Row:
        pairs = zip(_frames(video, self.pictures_every), frames, strict=False)
        found = fidelity(pairs)
        row = {key: ClipValue(None, OF_THE_SET) for key in OF_ALL_FRAMES}
        if found is None:
            return row | {key: ClipValue(None, "no frame") for key in ("psnr", "ssim")}
        psnr = ClipValue(found.psnr) if math.isfinite(found.psnr) else ClipValue(None, NO_ERROR)
        return row | {"psnr": psnr, "ssim": ClipValue(found.ssim)}

    def _features(
        self, method: str, video: bytes, faces: Mapping[int, NDArray[np.float64]]
    ) -> Features:
        made: Features = {}
        if faces:
            made[f"face_fd.{method}"] = np.stack(list(faces.values())).astype(np.float32)
        if self.networks.frame is not None:
            frames = _frames(video, self.pictures_every)
            made[f"fid.{method}"] = self.networks.frame.features(frames)
        if self.networks.clip is not None:
            made[f"fvd.{method}"] = self.networks.clip.features(_frames(video, 1))
        return made

    def _held(
        self, method: str, still: Picture, count: int, faces: Mapping[int, NDArray[np.float64]]
    ) -> Features:
        """Those of a picture that stands for ``count`` frames."""
        made: Features = {}
        if faces:
            made[f"face_fd.{method}"] = np.stack(list(faces.values())).astype(np.float32)
        if self.networks.frame is not None:
            one = self.networks.frame.features([still])
            made[f"fid.{method}"] = np.repeat(one, -(-count // self.pictures_every), axis=0)
        if self.networks.clip is not None:
            made[f"fvd.{method}"] = self.networks.clip.features(itertools.repeat(still, count))
        return made


def read_pictures(params: Mapping[str, Any]) -> Pictures:
    """What the parameters of `evaluate` ask for.

    Raises:
        AssetError: weights are not here.
        ValueError: they are of another network.
    """
    return Pictures(load_networks(params), params["pictures_every"], params["faces_every"])
