"""The face fit against the truth of the sample corpus: how right, and how fast.

    make bench            # or: python benchmarks/fit.py --clips 24

Needs `data/crops` (any `dvc repro`) and `truth/`, or other folders by `--crops` and `--truth`. One
table a source; `exact` are the truth's own landmarks and outline, so its errors are the fit's, and
what the others add is the detector's. MediaPipe's mesh is the crop stage's, or measured here on the
crops where there is none. What the rows mean:

* rotation: angle between fitted and true head rotation. The truth is turned into the crop's virtual
  camera, which looks at the middle of the crop. "Motion": without each clip's constant rotation.
  "Signed": fitted minus true angle, mean of a clip; positive pitch looks down.
* vertices: mean distance in the model's frame, identity and expression, no alignment; in percent of
  the true distance of the outer eye corners. "Best placed": after one similarity a clip, since one
  camera does not know size from distance. "Motion": after each vertex' mean over the clip.
* coefficients: Pearson's correlation in a clip, mean over clips; the median row takes the median of
  the 13 in every clip first. The corpus' faces move alike left and right, so the coefficients that
  turn one side against the other hardly move, and what they correlate with is noise: a second row
  leaves out those whose true standard deviation is below 0.05.
* blinks: frames whose lid opening (height over width) is below a share of the clip's median make a
  blink; the truth's are those with `blink` over 0.5. Two blinks match when they are at most two
  frames apart. F1 at a share of one half, and at the share that serves this source best.
* jitter: one frame of a clip, 50 times with fresh sensor noise (standard deviation 2 of 255),
  measured as the crop stage does, fitted: standard deviation about the mean.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402

from benchmarks.fitting.blinks import blink_counts  # noqa: E402
from benchmarks.fitting.corpus import Sample, read_samples, tensor  # noqa: E402
from benchmarks.fitting.errors import correlations, errors, spreads  # noqa: E402
from benchmarks.fitting.meshes import with_meshes  # noqa: E402
from benchmarks.fitting.sources import Source, sources  # noqa: E402
from benchmarks.fitting.still import StillFaces, jitter  # noqa: E402
from benchmarks.fitting.tally import Tally, report  # noqa: E402
from dimitra.assets import asset_path  # noqa: E402
from dimitra.faces.landmarks import load_68  # noqa: E402
from dimitra.faces.mediapipe import MediaPipeLandmarker  # noqa: E402
from dimitra.morphable import open_head  # noqa: E402
from dimitra.morphable.coefficients import MOUTH  # noqa: E402
from dimitra.morphable.fit import FitSettings  # noqa: E402
from dimitra.morphable.model import FaceModel  # noqa: E402
from pipelines.params import load  # noqa: E402

STILL_CLIPS = 4


def measure(
    model: FaceModel,
    samples: Mapping[str, Sample],
    source: Source,
    settings: FitSettings,
    mouth: Sequence[int],
) -> Tally:
    """Fit every clip and compare it with its truth."""
    tally = Tally()
    source.prepare(model, next(iter(samples.values())), settings)()  # warm up
    for sample in samples.values():
        fit = source.prepare(model, sample, settings)
        start = time.process_time()
        found = fit()
        tally.seconds += time.process_time() - start
        tally.frames += len(found.expression)
        tally.errors.append(errors(model, sample, found))
        tally.correlations.append(correlations(sample.truth, found, mouth))
        tally.spreads.append(spreads(sample.truth, mouth))
        fitted = model.landmarks(found.identity, found.expression)
        tally.fitted_blinks.append(blink_counts(fitted, sample.truth["blink"]))
    return tally


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is not at least 1")
    return value


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument(
        "--clips", type=_positive, default=24, help="about so many clips, spread over the corpus"
    )
    parser.add_argument("--crops", type=Path, default=Path("data/crops"), help="of the crop stage")
    parser.add_argument("--truth", type=Path, default=Path("truth"), help="of the corpus")
    parser.add_argument("--sources", nargs="*", help="names of sources (default: all)")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    model = open_head.load()
    params = load().fit
    settings = FitSettings(
        iterations=params.iterations, smoothness=params.smoothness, prior=params.prior
    )
    samples = read_samples(arguments.crops, arguments.truth, arguments.clips)
    landmarker = None
    if not arguments.sources or "mediapipe" in arguments.sources:
        landmarker = MediaPipeLandmarker(asset_path("mediapipe_landmarker"))
        samples = with_meshes(samples, landmarker)
    mouth = MOUTH[params.face_model]
    offered = sources(samples)
    chosen = arguments.sources or list(offered)
    if unknown := sorted(set(chosen) - set(offered)):
        parser.error(f"no sources {unknown} for these crops, only {sorted(offered)}")
    faces = StillFaces(load_68(asset_path("dlib_68")), landmarker)
    spread = list(samples.values())[:: max(1, len(samples) // STILL_CLIPS)][:STILL_CLIPS]
    still = [faces.measure(sample, seed) for seed, sample in enumerate(spread)]
    for name in chosen:
        source = offered[name]
        tally = measure(model, samples, source, settings, mouth)
        if name == "dlib":
            tally.measured_blinks = [
                blink_counts(tensor(sample.track["landmarks"]), sample.truth["blink"])
                for sample in samples.values()
            ]
        if source.noisy:
            tally.jitter = [
                jitter(
                    model,
                    source.measured(model, sample) if source.measured else None,
                    source.prepare(model, sample, settings),
                )
                for sample in still
            ]
        print(f"\n{params.face_model}, source {name}: {len(samples)} clips, {tally.frames} frames")
        report(tally, mouth)


if __name__ == "__main__":
    main()
