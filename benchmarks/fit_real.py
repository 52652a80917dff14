"""The face fit on real footage: against stored coefficients of another method, and to look at.

    DIMITRA_REAL_DATA=<folder> python benchmarks/fit_real.py --source mediapipe --out <folder>

The folder holds real talking faces that are not part of this project: `styletalk/<name>.mp4, .wav,
.mat` (the samples of StyleTalk, Ma et al. 2023: 30 fps, with coefficients of Deng's network) and
`talking/*.mp4`. Every clip goes through the crop stage at its own frame rate and the fit.

StyleTalk's coefficients start `video frames - coefficient frames` frames late (two in its samples).
Head angles are compared by correlation and by the standard deviation of the difference. The mouth
opening of the fit is the distance of the inner lips; it is compared with the 13 mouth values of the
stored expression three ways: their first principal component (no choice made), the best of the 13,
and a least-squares combination of them fitted on one half of the clip and scored on the other, both
ways round. The last says whether the stored values hold the same opening at all; principal
components of the Basel expression basis mix opening with rounding and smiling.

`--out` gets for every clip a video (crop with measured and fitted landmarks; fitted mesh; mesh with
estimated texture and light) and a contact sheet.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy.io import loadmat
from torch import Tensor

from dimitra.clips import Clip, ClipError
from dimitra.media.mp4 import encode_mp4
from dimitra.media.video import read_video
from dimitra.morphable import open_head
from dimitra.morphable.camera import DISTANCE, aligned_to_crop, project, to_camera
from dimitra.morphable.coefficients import BFM_MOUTH
from dimitra.morphable.fit import ClipFit, FitSettings, checked, fit_clip
from dimitra.morphable.head_encoder import encode_clip
from dimitra.morphable.head_encoder_weights import load as load_encoder
from dimitra.morphable.model import FaceModel, vertex_normals
from dimitra.morphable.photometric import Photometry, choose_frames, fit_photometry
from dimitra.render.rasterizer import interpolate, magnify, rasterize, reduce_image
from dimitra.shards import read_npz
from pipelines.crop import Cropper
from pipelines.fitters.frames import BLOCK
from pipelines.fitters.open_head import mesh_landmarks
from pipelines.params import Params, load

VARIABLE = "DIMITRA_REAL_DATA"
INNER_LIPS = ((61, 67), (62, 66), (63, 65))
PANEL = 2
"""Times the crop's size in the videos."""
SHEET_FRAMES = 5
LAGS = range(-3, 7)
ANGLES = ("pitch", "yaw", "roll")


@dataclass(frozen=True)
class Fitted:
    """A clip, its crop frames, measured landmarks and fit."""

    name: str
    fps: int
    frames: NDArray[np.uint8]
    landmarks: NDArray[np.float32]
    detected: NDArray[np.bool_]
    fit: ClipFit
    light: Photometry


def fit_video(path: Path, model: FaceModel, params: Params, source: str) -> Fitted:
    """Crop and fit one file at its own frame rate."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        fps = round(float(stream.average_rate or 25))
    sound = path.with_suffix(".wav")
    clip = Clip(
        clip_id=path.stem, dataset="real", identity=path.stem, source_video=path.stem,
        path=path.name, audio_path=sound.name if sound.exists() else None, sha256="",
        start_s=0.0, end_s=None, duration_s=0.0, fps=fps, width=0, height=0, transcript=None,
        shard=0,
    )  # fmt: skip
    cropper = Cropper(
        {
            "crop": params.crop.model_dump()
            | {"fps": fps, "mesh": "mediapipe" if source == "mediapipe" else "none"},
            "limits": params.limits.model_dump(),
            "roots": {"real": str(path.parent)},
        }
    )
    parts = cropper(clip, {})
    track = read_npz(parts["track.npz"])
    settings = FitSettings(
        iterations=params.fit.iterations,
        smoothness=params.fit.smoothness,
        prior=params.fit.prior,
    )
    measured, detected = torch.from_numpy(track["landmarks"]), torch.from_numpy(track["detected"])
    frames = read_video(parts["mp4"], fps=fps)
    if source == "encoder":
        pictures = torch.split(torch.from_numpy(frames), BLOCK)
        fit = checked(model, encode_clip(load_encoder(), model, pictures), measured)
    else:
        mesh = mesh_landmarks(track, path.stem) if source == "mediapipe" else None
        fit = fit_clip(model, measured, detected, settings, mesh)
    chosen = choose_frames(fit.residual_px)
    light = fit_photometry(
        model, frames[chosen.numpy()], fit.identity, fit.expression[chosen], fit.pose[chosen],
        fit.crop,
    )  # fmt: skip
    return Fitted(path.stem, fps, frames, track["landmarks"], track["detected"], fit, light)


def mouth_opening(model: FaceModel, fit: ClipFit) -> NDArray[np.float32]:
    """Mean distance of the inner lips [T], decimetres."""
    points = model.landmarks(fit.identity, fit.expression)
    upper, lower = (points[:, list(side)] for side in zip(*INNER_LIPS, strict=True))
    return np.asarray(torch.linalg.vector_norm(upper - lower, dim=-1).mean(1).numpy())


def correlation(first: NDArray[np.floating], second: NDArray[np.floating]) -> float:
    """Pearson's."""
    return float(np.corrcoef(first, second)[0, 1])


def combined(mouth: NDArray[np.float64], opening: NDArray[np.float32]) -> float:
    """Correlation of the opening with 13 values' best combination, on the half not fitted."""
    half = len(opening) // 2
    scores = []
    for fitted, scored in ((slice(half), slice(half, None)), (slice(half, None), slice(half))):
        design = np.column_stack([mouth, np.ones(len(mouth))])
        weights, *_ = np.linalg.lstsq(design[fitted], opening[fitted], rcond=None)
        scores.append(correlation(design[scored] @ weights, opening[scored]))
    return float(np.mean(scores))


def compare(path: Path, model: FaceModel, fitted: Fitted) -> None:
    """Print one StyleTalk clip's comparison with its stored coefficients."""
    stored = loadmat(path.with_suffix(".mat"))["coeff"].astype(np.float64)
    with av.open(str(path)) as container:
        offset = container.streams.video[0].frames - len(stored)
    opening = mouth_opening(model, fitted.fit)

    def pair(lag: int) -> tuple[slice, slice]:
        """Frames of the fit and of the stored values, the latter ``lag`` frames late."""
        low, high = max(lag, 0), min(len(opening), len(stored) + lag)
        return slice(low, high), slice(low - lag, high - lag)

    ours, theirs = pair(offset)
    print(f"\n{path.stem}: {len(stored[theirs])} frames, stored values {offset} frames late")
    found = fitted.fit.pose[ours, :3].numpy()
    for axis, name in enumerate(ANGLES):
        deng = stored[theirs, 224 + axis]
        difference = np.degrees(found[:, axis] - deng)
        print(
            f"  {name:6} correlation {correlation(found[:, axis], deng):6.3f}   standard deviation "
            f"{np.degrees(deng.std()):5.2f} deg stored, {np.degrees(found[:, axis].std()):5.2f} "
            f"fitted, {difference.std():5.2f} of the difference; mean {difference.mean():6.2f}"
        )
    mouth = stored[:, 80:144][:, list(BFM_MOUTH)]
    centred = mouth - mouth.mean(0)
    _, size, axes = np.linalg.svd(centred, full_matrices=False)
    first = centred @ axes[0]
    share = size[0] ** 2 / (size**2).sum()
    single = [correlation(mouth[theirs, k], opening[ours]) for k in range(13)]
    best = int(np.argmax(np.abs(single)))
    print(
        f"  mouth opening, absolute correlation with: first component ({share:.0%} of variance) "
        f"{abs(correlation(first[theirs], opening[ours])):.3f}; best value (expression "
        f"{BFM_MOUTH[best]}) {abs(single[best]):.3f}; combination of 13, other half "
        f"{combined(mouth[theirs], opening[ours]):.3f}"
    )
    lagged = {lag: combined(mouth[pair(lag)[1]], opening[pair(lag)[0]]) for lag in LAGS}
    print("  combination by lag " + " ".join(f"{lag}:{value:.3f}" for lag, value in lagged.items()))


def dots(picture: NDArray[np.uint8], points: NDArray[np.floating], colour: tuple[int, ...]) -> None:
    """Draw landmarks [68, 2] of the crop into its enlarged picture."""
    for x, y in np.rint((points + 0.5) * PANEL - 0.5).astype(int):
        picture[max(y - 1, 0) : max(y + 2, 0), max(x - 1, 0) : max(x + 2, 0)] = colour


def panels(model: FaceModel, fitted: Fitted) -> Iterator[NDArray[np.uint8]]:
    """Frames of the overlay video."""
    fit, light = fitted.fit, fitted.light
    side = fitted.frames.shape[1] * PANEL
    triangles = model.triangles.numpy()
    for index, frame in enumerate(fitted.frames):
        picture = np.asarray(Image.fromarray(frame).resize((side, side), Image.Resampling.BICUBIC))
        pose = fit.pose[index]
        posed = to_camera(model.vertices(fit.identity, fit.expression[index]), pose)
        seen = aligned_to_crop(project(posed), fit.crop)
        place = torch.cat((seen, DISTANCE - posed[:, 2:]), dim=1).numpy()
        normals = vertex_normals(posed, model.triangles)
        grey = (0.35 + 0.6 * normals[:, 2:].clamp(0, 1)) * torch.tensor([0.55, 0.8, 1.0])
        lit = model.colours(light.texture, light.illumination, normals).clamp(0, 1)
        raster = rasterize(magnify(place, 2 * PANEL), triangles, 2 * side, 2 * side, cull=-1)
        layers = torch.cat((grey, lit, torch.ones(len(lit), 1)), dim=1).numpy()
        drawn = reduce_image(interpolate(raster, triangles, layers))
        marked = picture.copy()
        dots(marked, fitted.landmarks[index], (60, 255, 60))
        dots(marked, seen[model.landmarks_68].numpy(), (255, 50, 50))
        yield np.concatenate(
            [
                marked,
                blend(picture, drawn[..., :3], drawn[..., 6:], 0.6),
                blend(picture, drawn[..., 3:6], drawn[..., 6:], 1.0),
            ],
            axis=1,
        )


def blend(
    picture: NDArray[np.uint8],
    colours: NDArray[np.float32],
    cover: NDArray[np.float32],
    opacity: float,
) -> NDArray[np.uint8]:
    """Lay a drawn mesh (colours times cover, 0 to 1) over a picture."""
    mixed = picture * (1.0 - opacity * cover) + 255.0 * opacity * colours
    return np.asarray(np.rint(mixed.clip(0, 255)), np.uint8)


def show(model: FaceModel, fitted: Fitted, out: Path) -> None:
    """Write the overlay video and its contact sheet."""
    kept = set(np.linspace(0, len(fitted.frames) - 1, SHEET_FRAMES + 2).astype(int)[1:-1].tolist())
    sheet = []

    def frames() -> Iterator[NDArray[np.uint8]]:
        for index, frame in enumerate(panels(model, fitted)):
            if index in kept:
                sheet.append(frame)
            yield frame

    (out / f"{fitted.name}.mp4").write_bytes(encode_mp4(frames(), fps=fitted.fps))
    Image.fromarray(np.concatenate(sheet)).save(out / f"{fitted.name}.png")


def summary(fitted: Fitted, limit_px: float) -> str:
    """One row of the table of all clips."""
    residual: Tensor = fitted.fit.residual_px
    return (
        f"{fitted.name:32}{len(residual):7}{fitted.fps:5}{fitted.detected.mean():10.1%}"
        f"{float(residual.mean()):10.2f}{float(residual.max()):8.2f}"
        f"{float((residual > limit_px).float().mean()):8.1%}"
        f"{255 * float(fitted.light.residual.mean()):9.1f}"
    )


def main() -> int:
    """Run over every clip."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, help="folder for overlay videos; none without it")
    parser.add_argument("--clips", nargs="*", help="names of clips (default: all)")
    parser.add_argument(
        "--source",
        choices=("dlib", "mediapipe", "encoder"),
        help="landmarks of the fit, or the head encoder (default: fit.landmarks of params.yaml)",
    )
    arguments = parser.parse_args()
    if VARIABLE not in os.environ:
        print(f"fit on real footage: skipped, {VARIABLE} names no folder with real clips")
        return 0
    root = Path(os.environ[VARIABLE])
    paths = sorted(root.glob("styletalk/*.mp4")) + sorted(root.glob("talking/*.mp4"))
    paths = [path for path in paths if not arguments.clips or path.stem in arguments.clips]
    if not paths:
        named = f" named {', '.join(arguments.clips)}" if arguments.clips else ""
        print(f"fit on real footage: no styletalk/*.mp4 or talking/*.mp4{named} in {root}")
        return 1
    torch.set_num_threads(1)
    params = load()
    source = arguments.source or params.fit.landmarks
    print(f"source: {source}")
    model = open_head.load()
    if arguments.out:
        arguments.out.mkdir(parents=True, exist_ok=True)
    rows = []
    for path in paths:
        try:
            fitted = fit_video(path, model, params, source)
        except ClipError as error:
            rows.append(f"{path.stem:32} {error}")
            continue
        rows.append(summary(fitted, params.fit.max_residual_px))
        if path.with_suffix(".mat").exists():
            compare(path, model, fitted)
        if arguments.out:
            show(model, fitted, arguments.out)
    print(
        f"\n{'clip':32}{'frames':>7}{'fps':>5}{'detected':>10}{'residual':>10}{'worst':>8}"
        f"{'marked':>8}{'colour':>9}\n{'':54}{'px':>10}{'px':>8}{'':8}{'of 255':>9}"
    )
    print("\n".join(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
