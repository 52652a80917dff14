"""What the crop stage is compared with: the least that a crop costs, and what is usual."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import dlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dimitra.assets import asset_path
from dimitra.media.mp4 import encode_mp4
from dimitra.media.video import SCALING, iterate_frames, scaler
from pipelines.params import CropParams


def reencode(path: Path, crop: CropParams) -> bytes:
    """(a) Decode at native size, scale the whole picture, encode: no face is looked for.

    One pass, one thread, picture only; decoder, scaler and encoder with the stage's own settings.
    """

    def frames() -> Iterator[av.VideoFrame]:
        scale = None
        for frame in iterate_frames(path, fps=crop.fps):
            if scale is None:
                size = f"{crop.size}:{crop.size}"
                scale = scaler(frame, f"scale={size}:flags={SCALING},format=yuv420p")
            yield scale(frame)

    return encode_mp4(frames(), fps=crop.fps, crf=crop.crf, preset=crop.preset)


class FrameByFrame:
    """(b) The usual loop: one frame after another, the detector on every one.

    As the preparation scripts of talking-head repositories have it: the video is read as RGB
    pictures; in each, dlib's detector at native size (no upsampling, the cheaper of its usual
    settings) and its 68 landmarks in the largest face, with the face of the frame before where
    there is none; then one square for the clip, each picture cut and resized by Pillow, and the
    same encoder. The pictures are kept between the two loops, which is quicker than reading the
    video twice. The sound is left out.
    """

    def __init__(self) -> None:
        self._detector: Any = dlib.get_frontal_face_detector()
        self._predictor: Any = dlib.shape_predictor(str(asset_path("dlib_68")))

    def __call__(self, path: Path, crop: CropParams) -> bytes:
        pictures: list[NDArray[np.uint8]] = []
        points: list[NDArray[np.float64]] = []
        with av.open(str(path)) as container:
            container.streams.video[0].codec_context.thread_count = 1
            for frame in container.decode(video=0):
                picture = np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)
                faces = self._detector(picture, 0)
                if faces:
                    face = max(faces, key=lambda one: one.area())
                    shape = self._predictor(picture, face)
                    points.append(np.array([(p.x, p.y) for p in shape.parts()], np.float64))
                elif points:
                    points.append(points[-1])
                pictures.append(picture)
        if not points:
            raise ValueError(f"{path.name}: no face in any frame")
        height, width = pictures[0].shape[:2]
        x, y, side = _square(np.stack(points), height, width, crop.margin)
        cut = (
            np.asarray(
                Image.fromarray(picture[y : y + side, x : x + side]).resize(
                    (crop.size, crop.size), Image.Resampling.BICUBIC
                )
            )
            for picture in pictures
        )
        return encode_mp4(cut, fps=crop.fps, crf=crop.crf, preset=crop.preset)


def _square(
    points: NDArray[np.float64], height: int, width: int, margin: float
) -> tuple[int, int, int]:
    """A square around all landmarks, with as much above the brows as there is face below."""
    low, high = points.min(axis=(0, 1)), points.max(axis=(0, 1))
    low[1] -= 0.7 * (high[1] - low[1])
    side = min(int((high - low).max() * (1 + 2 * margin)), height, width)
    x, y = np.clip((low + high - side) / 2, 0, (width - side, height - side)).astype(int)
    return int(x), int(y), side
