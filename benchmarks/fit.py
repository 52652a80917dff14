"""The landmark fit against the truth of the sample corpus: how right, and how fast.

    make bench            # or: python benchmarks/fit.py --clips 24

Needs `data/crops` (any `dvc repro`) and `truth/`. One table a landmark source; `exact` are the
truth's own landmarks and outline, so its errors are the fit's, and what the others add is the
detector's. What the rows mean:

* rotation: angle between fitted and true head rotation. The truth is turned into the crop's virtual
  camera, which looks at the middle of the crop. "Motion": without each clip's constant rotation.
* vertices: mean distance in the model's frame, identity and expression, no alignment; in percent of
  the true distance of the outer eye corners. "Best placed": after one similarity a clip, since one
  camera does not know size from distance. "Motion": after each vertex' mean over the clip.
* coefficients: Pearson's correlation in a clip, mean over clips; the median row takes the median of
  the 13 in every clip first.
* blinks: frames whose lid opening (height over width) is below a share of the clip's median make a
  blink; the truth's are those with `blink` over 0.5. Two blinks match when they are at most two
  frames apart. F1 at a share of one half, and at the share that serves this source best.
* jitter: one frame of a clip, 50 times with fresh sensor noise (standard deviation 2 of 255),
  landmarks measured as the crop stage does, fitted: standard deviation about the mean.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dimitra.assets import asset_path
from dimitra.faces.crop import to_crop, to_source
from dimitra.faces.landmarks import Dlib68
from dimitra.faces.track import measure_steadily, smooth_boxes
from dimitra.media.video import read_video
from dimitra.morphable import open_head
from dimitra.morphable.camera import aligned_to_crop, project, rotation, to_camera
from dimitra.morphable.coefficients import MOUTH
from dimitra.morphable.fit import ClipFit, FitSettings, MeshLandmarks, fit_clip
from dimitra.morphable.model import FaceModel, interocular
from dimitra.shards import list_shards, read_npz, read_shard
from pipelines.params import load

FACE = ("skin", "lips", "eyelids", "brows")
UPPER_LIDS, LOWER_LIDS = (37, 38, 43, 44), (41, 40, 47, 46)
EYE_CORNERS = ((36, 39), (42, 45))
SHUT, NEAR_FRAMES = 0.5, 2
SHARES = (SHUT, *(round(0.3 + 0.05 * k, 2) for k in range(14)))
"""Shares of the median lid opening tried; the first is the rule without tuning."""
STILL_FRAMES, STILL_NOISE, STILL_CLIPS, STILL_SCALE = 50, 2.0, 4, 2
CROP_PX = 256

Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Sample:
    """One clip: what the crop stage measured, and what was really there."""

    track: Arrays
    truth: Arrays
    mp4: bytes


def read_samples(clips: int) -> dict[str, Sample]:
    """Clips spread over the corpus, by name."""
    parts = {
        clip: members
        for shard in list_shards(Path("data/crops"))
        for clip, members in read_shard(shard).items()
    }
    if not parts or not any(Path("truth").rglob("*.npz")):
        raise SystemExit("data/crops or truth/ is empty: run `make repro` first")
    chosen = sorted(parts)[:: max(1, len(parts) // clips)]
    return {
        clip: Sample(
            read_npz(parts[clip]["track.npz"]),
            read_npz((Path("truth") / clip.split("-")[0] / f"{clip}.npz").read_bytes()),
            parts[clip]["mp4"],
        )
        for clip in chosen
    }


def tensor(array: NDArray[Any]) -> Tensor:
    """float32 tensor of a copy."""
    return torch.from_numpy(np.array(array, np.float32))


def from_track(model: FaceModel, sample: Sample, settings: FitSettings) -> ClipFit:
    """Fit to the landmarks that the crop stage measured."""
    track = sample.track
    return fit_clip(model, tensor(track["landmarks"]), torch.tensor(track["detected"]), settings)


def from_mesh(model: FaceModel, sample: Sample, settings: FitSettings) -> ClipFit:
    """Fit to the MediaPipe mesh that the crop stage measured."""
    track = sample.track
    mesh = MeshLandmarks(
        tensor(track["mesh"]), tensor(track["mesh_scores"]), torch.tensor(track["mesh_found"])
    )
    landmarks, detected = tensor(track["landmarks"]), torch.tensor(track["detected"])
    return fit_clip(model, landmarks, detected, settings, mesh)


def exact_landmarks(model: FaceModel, sample: Sample) -> Tensor:
    """True landmarks [T, 68, 2] in crop pixels; jaw points where the outline of the face is."""
    truth = sample.truth
    focal, x0, y0, distance = (float(value) for value in truth["camera"])
    identity, expression = tensor(truth["identity"]), tensor(truth["expression"])

    def seen(indices: Tensor) -> Tensor:
        points = to_camera(
            model.subset(indices).vertices(identity, expression), tensor(truth["pose"])
        )
        depth = distance - points[..., 2]
        pixels = torch.stack(
            (x0 + focal * points[..., 0] / depth, y0 - focal * points[..., 1] / depth), -1
        )
        return tensor(to_crop(pixels.numpy(), sample.track["transform"]))

    points = seen(model.landmarks_68)
    skin = seen(torch.nonzero(model.part("skin"))[:, 0])
    centre = points[:, 27:36].mean(1, keepdim=True)
    direction = torch.nn.functional.normalize(points[:, :17] - centre, dim=-1)
    along = torch.einsum("fvc,fjc->fjv", skin - centre, direction)
    length = torch.linalg.vector_norm(skin - centre, dim=-1)[:, None]
    near = along > np.cos(np.radians(4)) * length
    points[:, :17] = centre + torch.where(near, along, 0.0).amax(2)[..., None] * direction
    return points


def sources(mesh: bool) -> dict[str, Callable[[FaceModel, Sample, FitSettings], ClipFit]]:
    """Ways to fit a clip, by the name of their landmarks; MediaPipe's where the crops hold them."""
    return {
        "dlib": from_track,
        **({"mediapipe": from_mesh} if mesh else {}),
        "exact": lambda model, sample, settings: fit_clip(
            model, exact_landmarks(model, sample), None, settings
        ),
    }


def crop_view(sample: Sample, crop: Tensor) -> Tensor:
    """Rotation [3, 3] from the truth's camera to the crop's, which looks at the crop's middle."""
    focal, x0, y0, _ = (float(value) for value in sample.truth["camera"])
    middle = np.array([[float(crop[1]), CROP_PX - float(crop[2])]], np.float32)
    u, v = to_source(middle, sample.track["transform"])[0]
    ray = torch.tensor([(u - x0) / focal, (y0 - v) / focal, -1.0])
    ray = ray / ray.norm()
    ahead = torch.tensor([0.0, 0.0, -1.0])
    x, y, z = torch.linalg.cross(ray, ahead).tolist()
    skew = torch.tensor([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    turned: Tensor = torch.eye(3) + skew + skew @ skew / (1.0 + float(ray @ ahead))
    return turned


def angles_between(first: Tensor, second: Tensor) -> float:
    """Mean angle between rotations [T, 3, 3], degrees."""
    cosine = (torch.einsum("tij,tij->t", first, second) - 1) / 2
    return float(torch.rad2deg(torch.arccos(cosine.clamp(-1, 1))).mean())


def best_place(found: Tensor, true: Tensor) -> Tensor:
    """Points [T, V, 3] moved onto others by one similarity (Umeyama 1991)."""
    a, b = found.flatten(0, 1).double(), true.flatten(0, 1).double()
    a_mean, b_mean = a.mean(0), b.mean(0)
    u, s, vt = torch.linalg.svd((b - b_mean).T @ (a - a_mean))
    sign = torch.ones(3, dtype=torch.float64)
    sign[2] = torch.sign(torch.det(u @ vt))
    scale = (s * sign).sum() / (a - a_mean).square().sum()
    turned = (a - a_mean) @ (u @ torch.diag(sign) @ vt).T
    placed: Tensor = (scale * turned + b_mean).reshape(found.shape).float()
    return placed


def events(shut: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """First and last frame of every run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], shut.astype(int), [0]])))
    return [(int(low), int(high) - 1) for low, high in zip(edges[::2], edges[1::2], strict=True)]


def matched(first: Sequence[tuple[int, int]], second: Sequence[tuple[int, int]]) -> int:
    """How many events of one list have one of the other near them; each is used once."""
    free = list(second)
    count = 0
    for low, high in first:
        for other in free:
            if other[0] - NEAR_FRAMES <= high and low <= other[1] + NEAR_FRAMES:
                free.remove(other)
                count += 1
                break
    return count


def lid_opening(points: Tensor) -> NDArray[np.float32]:
    """Opening of both eyes over their widths [T], from landmarks [T, 68, 2 or 3]."""
    height = torch.linalg.vector_norm(
        points[:, list(UPPER_LIDS)] - points[:, list(LOWER_LIDS)], dim=-1
    ).mean(1)
    width = sum(
        torch.linalg.vector_norm(points[:, a] - points[:, b], dim=-1) for a, b in EYE_CORNERS
    )
    return np.asarray((2 * height / width).numpy())


@dataclass
class Tally:
    """What was measured so far."""

    rows: list[dict[str, float]]
    coefficients: list[list[float]]
    blinks: NDArray[np.int64]
    landmark_blinks: NDArray[np.int64]
    frames: int = 0
    seconds: float = 0.0


def compare(
    model: FaceModel, sample: Sample, fit: ClipFit, mouth: Sequence[int], tally: Tally
) -> None:
    """Add one clip."""
    truth = sample.truth
    count = min(len(fit.expression), len(truth["expression"]))
    tally.frames += count
    true_rotation = crop_view(sample, fit.crop) @ rotation(tensor(truth["pose"])[:count, :3])
    found_rotation = rotation(fit.pose[:count, :3])
    left, _, right = torch.linalg.svd(
        torch.einsum("tij,tkj->tik", found_rotation, true_rotation).mean(0)
    )
    row = {
        "rotation": angles_between(found_rotation, true_rotation),
        "rotation, motion": angles_between(found_rotation, left @ right @ true_rotation),
        "residual": float(fit.residual_px.mean()),
    }
    identity, expression = tensor(truth["identity"]), tensor(truth["expression"])[:count]
    unit = float(interocular(model.landmarks(identity, torch.zeros(64)))) / 100
    face = torch.nonzero(model.part(*FACE))[:, 0]
    lips = torch.isin(face, torch.nonzero(model.part("lips"))[:, 0])
    shape = model.subset(face)
    true = shape.vertices(identity, expression)
    found = shape.vertices(fit.identity, fit.expression[:count])
    for name, error in (
        ("", found - true),
        (", best placed", best_place(found, true) - true),
        (", motion", found - found.mean(0) - true + true.mean(0)),
    ):
        distance = torch.linalg.vector_norm(error, dim=-1) / unit
        row[f"mouth{name}"] = float(distance[:, lips].mean())
        row[f"face{name}"] = float(distance.mean())
    tally.rows.append(row)
    tally.coefficients.append(
        [
            float(np.corrcoef(fit.expression[:count, k], expression[:, k])[0, 1])
            if float(expression[:, k].std()) > 1e-3
            else np.nan
            for k in mouth
        ]
    )
    true_blinks = events(truth["blink"][:count] > SHUT)
    for points, total in (
        (model.landmarks(fit.identity, fit.expression[:count]), tally.blinks),
        (tensor(sample.track["landmarks"])[:count], tally.landmark_blinks),
    ):
        opening = lid_opening(points)
        for share, counts in zip(SHARES, total, strict=True):
            found_blinks = events(opening < share * np.median(opening))
            counts[:] += np.array(
                (matched(found_blinks, true_blinks), len(found_blinks), len(true_blinks))
            )


def still_landmarks(sample: Sample, landmarker: Dlib68, seed: int) -> Tensor:
    """Landmarks [50, 68, 2] in crop pixels of one frame under fresh noise."""
    middle = len(sample.track["landmarks"]) // 2
    picture = read_video(sample.mp4)[middle].astype(np.float32)
    noise = np.random.default_rng(seed)
    images = []
    for _ in range(STILL_FRAMES):
        noisy = picture + noise.normal(0.0, STILL_NOISE, picture.shape)
        large = torch.nn.functional.interpolate(
            torch.from_numpy(noisy).permute(2, 0, 1)[None].float(),
            scale_factor=STILL_SCALE,
            mode="bicubic",
        )[0]
        images.append(large.clamp(0, 255).round().byte().permute(1, 2, 0).numpy())
    start = (sample.track["landmarks"][middle] + 0.5) * STILL_SCALE - 0.5
    boxes = smooth_boxes(np.repeat(start[None].astype(np.float32), STILL_FRAMES, 0))
    for _ in range(2):  # the boxes follow the landmarks, as in tracking
        points = np.stack(
            [
                measure_steadily(landmarker, image, box)
                for image, box in zip(images, boxes, strict=True)
            ]
        )
        boxes = smooth_boxes(points)
    return tensor((points + 0.5) / STILL_SCALE - 0.5)


def jitter(
    model: FaceModel, landmarks: Tensor, settings: FitSettings
) -> tuple[float, float, float]:
    """Standard deviations: landmarks and fitted face in crop pixels, rotation in degrees."""
    fit = fit_clip(model, landmarks, None, settings)
    face = model.subset(torch.nonzero(model.part(*FACE))[:, 0])
    posed = to_camera(face.vertices(fit.identity, fit.expression), fit.pose)
    seen = aligned_to_crop(project(posed), fit.crop.expand(len(posed), 3))
    turn = torch.rad2deg(fit.pose[:, :3])

    def spread(values: Tensor) -> float:
        return float((values - values.mean(0)).square().sum(-1).mean().sqrt())

    return spread(landmarks), spread(seen), spread(turn)


def show(
    name: str, values: Sequence[float], unit: str = "", goal: str = "", low: bool = False
) -> None:
    """Print a row: mean over clips and the worst of them."""
    column = np.array(values)
    worst = np.nanmin(column) if low else np.nanmax(column)
    print(f"{name:44}{np.nanmean(column):9.2f}{worst:9.2f}  {unit:4}{goal}")


def show_blinks(name: str, table: NDArray[np.int64]) -> None:
    """Print F1 of the plain rule and of the best share; rows of (matched, found, true)."""
    scores = 2 * table[:, 0] / np.maximum(table[:, 1] + table[:, 2], 1)
    for title, k in (("", 0), (", best share", int(scores.argmax()))):
        hits, found, true = table[k].tolist()
        counts = f"share {SHARES[k]}, precision {hits}/{found}, recall {hits}/{true}"
        print(f"{f'blink F1, {name}{title}':44}{scores[k]:9.2f}           {counts}")


def report(tally: Tally, mouth: Sequence[int]) -> None:
    """Print one landmark source's table."""
    print(f"{'':44}{'mean':>9}{'worst':>9}")
    rows = tally.rows
    for name, unit, goal in (
        ("rotation", "deg", "goal < 1.5"),
        ("rotation, motion", "deg", ""),
        ("mouth", "%", "goal < 3"),
        ("mouth, best placed", "%", ""),
        ("mouth, motion", "%", ""),
        ("face", "%", ""),
        ("face, best placed", "%", ""),
        ("face, motion", "%", ""),
        ("residual", "px", ""),
    ):
        part, _, rest = name.partition(", ")
        kind = "error" if part == "rotation" else "vertex error"
        title = f"{part} {kind}, {rest}" if rest else f"{part} {kind}"
        title = "landmark residual" if name == "residual" else title
        show(title, [row[name] for row in rows], unit, goal)
    medians = [float(np.nanmedian(clip)) for clip in tally.coefficients]
    show("median correlation of 13 mouth coefficients", medians, "", "goal > 0.9", low=True)
    each = np.nanmean(np.array(tally.coefficients), axis=0)
    print(
        "  of each, " + " ".join(f"{k}:{value:.2f}" for k, value in zip(mouth, each, strict=True))
    )
    show_blinks("fitted lids", tally.blinks)
    speed = tally.frames / tally.seconds
    print(f"{'frames per CPU second, landmarks given':44}{speed:9.0f}             goal > 200")


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--clips", type=int, default=24, help="clips, spread over the corpus")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    model = open_head.load()
    params = load().fit
    settings = FitSettings(
        iterations=params.iterations, smoothness=params.smoothness, prior=params.prior
    )
    samples = read_samples(arguments.clips)
    mouth = MOUTH[params.face_model]
    dense = all("mesh" in sample.track for sample in samples.values())
    fit_clip(model, tensor(next(iter(samples.values())).track["landmarks"])[:10])  # warm up
    for name, source in sources(dense).items():
        none = np.zeros((len(SHARES), 3), np.int64)
        tally = Tally([], [], none.copy(), none.copy())
        for sample in samples.values():
            start = time.process_time()
            fit = source(model, sample, settings)
            tally.seconds += time.process_time() - start
            compare(model, sample, fit, mouth, tally)
        print(
            f"\n{params.face_model}, landmarks {name}: {len(samples)} clips, {tally.frames} frames"
        )
        report(tally, mouth)
        if name == "dlib":
            show_blinks("landmarks", tally.landmark_blinks)
            show_jitter(model, samples, settings)


def show_jitter(model: FaceModel, samples: Mapping[str, Sample], settings: FitSettings) -> None:
    """Print the still-face rows."""
    landmarker = Dlib68(asset_path("dlib_68"))
    chosen = list(samples.values())[:: max(1, len(samples) // STILL_CLIPS)][:STILL_CLIPS]
    found = np.array(
        [
            jitter(model, still_landmarks(sample, landmarker, seed), settings)
            for seed, sample in enumerate(chosen)
        ]
    )
    for name, unit, column in zip(
        ("landmarks", "fitted face", "fitted rotation"), ("px", "px", "deg"), found.T, strict=True
    ):
        show(f"jitter on a still face (dlib), {name}", column, unit)


if __name__ == "__main__":
    main()
