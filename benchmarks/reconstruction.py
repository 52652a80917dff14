"""Re-render real motion and compare with the source video: PSNR, SSIM, F-LMD.

    python benchmarks/reconstruction.py                    # test clips of the last `dvc repro`
    python benchmarks/reconstruction.py --videos FOLDER    # films of one's own, cropped and fitted
    python benchmarks/reconstruction.py --weights my_pirender.pt
    python benchmarks/reconstruction.py --pictures FOLDER  # a sheet of each clip, to look at

Every clip's first frame is the photo, its fitted coefficients are the motion, its own frames are
the truth. `frozen frame` shows the photo throughout. PIRender's row is there with `--weights`
(an asset or a path, or `trained`: renderers/trained of this checkout, if it was trained at the
clips' size). LPIPS is absent: the package `lpips` brings its linear weights, but AlexNet's
or VGG's lie outside the package indexes. F-LMD is in pixels, by dlib, over the frames in which both
faces are found; head pose is taken out of it (`dimitra/metrics/landmarks_distance.py`). `face` and
`rest` are the PSNR inside and outside the hull of the clip's own landmarks, where dlib finds them.

A sheet has five frames of the clip: its own, then for each renderer its picture and the absolute
difference to the clip's own, three times as bright.
"""

from __future__ import annotations

import argparse
import sys
import tarfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from rich.table import Table
from scipy.spatial import ConvexHull
from skimage.draw import polygon2mask

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.fit_real import fit_video  # noqa: E402
from dimitra.assets import asset_path  # noqa: E402
from dimitra.media.video import read_video  # noqa: E402
from dimitra.metrics.image import psnr, ssim  # noqa: E402
from dimitra.metrics.landmarks_distance import LANDMARKS, LandmarkTrack, landmark_distance  # noqa: E402
from dimitra.morphable import open_head  # noqa: E402
from dimitra.render import pirender, renderer_checkpoint  # noqa: E402
from dimitra.render.mesh import MeshRenderer  # noqa: E402
from dimitra.shards import read_npz  # noqa: E402
from pipelines.evaluate import FaceFinder, dlib_finder  # noqa: E402
from pipelines.params import TRAINED, load  # noqa: E402
from pipelines.render import OWN  # noqa: E402

Frames = NDArray[np.uint8]
Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Take:
    """A clip with its fitted motion: frames [T, S, S, 3], identity [80], motion [T, 70], crop."""

    name: str
    frames: Frames
    identity: Floats
    motion: Floats
    crop: Floats


Draw = Callable[[Take], Iterable[Frames]]


def corpus_takes(data: Path, frames: int, clips: int) -> Iterator[Take]:
    """One test clip of each shard, as the stages left it."""
    for shard in sorted((data / "generated").glob("*.tar"))[:clips]:
        with tarfile.open(shard) as generated:
            name = generated.getnames()[0].split(".")[0]

        def part(folder: str, kind: str, name: str = name, shard: Path = shard) -> bytes:
            with tarfile.open(data / folder / shard.name) as tar:
                member = tar.extractfile(f"{name}.{kind}")
                if member is None:
                    raise FileNotFoundError(f"{folder}/{shard.name} holds no {name}.{kind}")
                return member.read()

        fitted = read_npz(part("motion", "motion.npz"))
        motion = np.concatenate([fitted["expression"], fitted["pose"]], axis=1)
        pictures = read_video(part("crops", "mp4"))
        yield Take(name, pictures[:frames], fitted["identity"], motion[:frames], fitted["crop"][0])


def film_takes(folder: Path, frames: int, clips: int) -> Iterator[Take]:
    """Films [*.mp4] of a folder, through the crop stage and the fit to MediaPipe's mesh."""
    model, params = open_head.load(), load()
    for path in sorted(folder.glob("*.mp4"))[:clips]:
        fitted = fit_video(path, model, params, "mediapipe")
        fit = fitted.fit
        motion = torch.cat([fit.expression, fit.pose], dim=1).numpy()
        yield Take(
            path.stem,
            fitted.frames[:frames],
            fit.identity.numpy(),
            motion[:frames],
            fit.crop.numpy(),
        )


def frozen(take: Take) -> Iterable[Frames]:
    """The first frame throughout."""
    return [take.frames[0]] * len(take.frames)


def mesh() -> Draw:
    """The mesh renderer."""
    renderer = MeshRenderer(open_head.load())
    return lambda take: renderer.render(
        take.frames[0], take.identity, take.crop, take.motion[0], take.motion
    )


def neural(weights: str) -> Draw:
    """PIRender with weights of one's own or the published ones."""
    if weights == TRAINED:
        trained = renderer_checkpoint.load(OWN)
        renderer = pirender.PIRenderer(trained.network, "cpu")
    else:
        renderer = pirender.load(asset_path(weights), "cpu")
    return lambda take: renderer.render(
        take.frames[0], take.motion, np.tile(take.crop, (len(take.motion), 1))
    )


def track(frames: Iterable[Frames], find: FaceFinder) -> LandmarkTrack:
    """Landmarks of a video."""
    points = [find(frame) for frame in frames]
    blank = np.full((LANDMARKS, 2), np.nan)
    return LandmarkTrack(
        np.stack([blank if p is None else p for p in points]),
        np.array([p is not None for p in points]),
    )


def psnr_of(error: NDArray[np.float64]) -> float:
    """PSNR in dB of squared errors; bounded, since equal pictures have no finite one."""
    # The loss of 8 bits bounds it at 10 log10(255^2 * 12).
    return float(min(10.0 * np.log10(255.0**2 / max(float(error.mean()), 1e-9)), 58.9))


def score(
    take: Take, made: Sequence[Frames], truth: LandmarkTrack, find: FaceFinder
) -> tuple[float, ...]:
    """PSNR, SSIM, F-LMD, PSNR in the face and outside, without the first frame, which is given."""
    pairs = list(zip(made, take.frames[1:], strict=True))
    distance = landmark_distance(track(made, find), truth, max_reference_missed=1.0)
    levels = [min(psnr(*pair), 58.9) for pair in pairs]
    lmd = np.nan if distance.f_lmd is None else distance.f_lmd
    inside, outside = [], []
    for (drawn, own), points, found in zip(pairs, truth.points, truth.found, strict=True):
        if found:
            hull = points[ConvexHull(points).vertices]
            face = polygon2mask(own.shape[:2], hull[:, ::-1])  # type: ignore[no-untyped-call]
            error = np.square(drawn.astype(np.float64) - own)
            inside.append(psnr_of(error[face]))
            outside.append(psnr_of(error[~face]))
    alike = [ssim(*pair) for pair in pairs]
    return tuple(
        float(np.mean(values)) if values else np.nan
        for values in (levels, alike, [lmd], inside, outside)
    )


def sheet(take: Take, drawn: Mapping[str, Sequence[Frames]], path: Path) -> None:
    """Five frames of a clip, what was drawn of them, and the differences, as a picture."""
    chosen = np.linspace(0, len(take.frames) - 2, 5).round().astype(int)
    own = [take.frames[1 + i] for i in chosen]
    rows = [np.hstack(own)]
    for made in drawn.values():
        pictures = [made[i] for i in chosen]
        rows.append(np.hstack(pictures))
        off = [np.abs(a.astype(int) - b) * 3 for a, b in zip(pictures, own, strict=True)]
        rows.append(np.hstack(off).clip(0, 255).astype(np.uint8))
    Image.fromarray(np.vstack(rows)).save(path)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=Path("data"), help="of the last `dvc repro`")
    parser.add_argument("--videos", type=Path, help="folder of films in place of the test clips")
    parser.add_argument("--weights", help="PIRender's: an asset, or a path")
    parser.add_argument("--frames", type=int, default=100, help="of each clip, at most")
    parser.add_argument("--clips", type=int, default=6)
    parser.add_argument("--pictures", type=Path, help="folder for a sheet (PNG) of each clip")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    source = options.videos or options.data / "generated"
    if not source.is_dir():
        sys.stderr.write(f"{source} is no folder: run `dvc repro` first, or name --videos\n")
        return 1
    takes = (
        corpus_takes(options.data, options.frames, options.clips)
        if options.videos is None
        else film_takes(options.videos, options.frames, options.clips)
    )
    methods: dict[str, Draw] = {"frozen frame": frozen, "mesh": mesh()}
    if options.weights is not None:
        methods["PIRender"] = neural(options.weights)
    find, console = dlib_finder(), Console(width=110)
    rows: dict[str, list[tuple[float, ...]]] = {name: [] for name in methods}
    for take in takes:
        truth = track(take.frames[1:], find)
        drawn = {name: list(draw(take))[1:] for name, draw in methods.items()}
        for name, made in drawn.items():
            rows[name].append(score(take, made, truth, find))
            listed = ", ".join(f"{value:.3f}" for value in rows[name][-1])
            console.print(f"{take.name}: {name} {listed}")
        if options.pictures is not None:
            options.pictures.mkdir(parents=True, exist_ok=True)
            sheet(take, drawn, options.pictures / f"{take.name}.png")
    columns = ("renderer", "clips", "PSNR dB", "SSIM", "F-LMD px", "face dB", "rest dB", "LPIPS")
    table = Table(*columns, title=str(source))
    for name, scores in rows.items():
        level, similarity, lmd, face, rest = np.nanmean(np.array(scores), axis=0)
        values = (f"{level:.2f}", f"{similarity:.3f}", f"{lmd:.2f}", f"{face:.2f}", f"{rest:.2f}")
        table.add_row(name, str(len(scores)), *values, "absent")
    console.print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
