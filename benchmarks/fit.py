"""The landmark fit against the truth of the sample corpus: how right, and how fast.

    make bench            # or: python benchmarks/fit.py --clips 24

Needs `data/crops` (any `dvc repro`) and `truth/`. Rotation is compared after removing each clip's
constant rotation too, because the crop's virtual camera looks at the face from its own centre.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch

from dimitra.morphable import open_head
from dimitra.morphable.camera import rotation
from dimitra.morphable.coefficients import MOUTH
from dimitra.morphable.fit import FitSettings, fit_clip
from dimitra.shards import list_shards, read_npz, read_shard
from pipelines.params import load

OUTER_EYE = (36, 45)


def angle_deg(first: torch.Tensor, second: torch.Tensor) -> np.ndarray:
    """Angle between rotations [T,3,3], degrees."""
    trace = torch.einsum("tij,tij->t", first, second)
    return np.degrees(np.arccos(np.clip((trace.numpy() - 1) / 2, -1, 1)))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=24, help="clips, spread over the corpus")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    model = open_head.load()
    params = load().fit
    settings = FitSettings(
        iterations=params.iterations, smoothness=params.smoothness, prior=params.prior
    )
    samples = {
        clip: parts
        for shard in list_shards(Path("data/crops"))
        for clip, parts in read_shard(shard).items()
    }
    if not samples or not any(Path("truth").rglob("*.npz")):
        raise SystemExit("data/crops or truth/ is empty: run `make repro` first")
    chosen = sorted(samples)[:: max(1, len(samples) // arguments.clips)]
    mouth = list(MOUTH[params.face_model])
    eyes = model.landmarks(torch.zeros(80), torch.zeros(64))[list(OUTER_EYE)]
    eye_distance = float((eyes[0] - eyes[1]).norm())
    lips = torch.as_tensor(model.part("lips"))
    rows = []
    frames, seconds = 0, 0.0
    for clip in chosen:
        truth_path = Path("truth") / clip.split("-")[0] / f"{clip}.npz"
        truth = read_npz(truth_path.read_bytes())
        track = read_npz(samples[clip]["track.npz"])
        start = time.process_time()
        fit = fit_clip(model, track["landmarks"], track["detected"], settings)
        seconds += time.process_time() - start
        count = min(len(fit.expression), len(truth["expression"]))
        frames += count
        fitted_rotation = rotation(torch.as_tensor(np.asarray(fit.pose))[:count, :3].float())
        true_rotation = rotation(torch.as_tensor(truth["pose"])[:count, :3].float())
        difference = torch.einsum("tij,tkj->tik", fitted_rotation, true_rotation).mean(0)
        left, _, right = torch.linalg.svd(difference)
        constant = left @ right
        fitted = torch.as_tensor(np.asarray(fit.expression))[:count].float()
        true = torch.as_tensor(truth["expression"])[:count].float()
        zero = torch.zeros(80)
        error = (model.vertices(zero, fitted) - model.vertices(zero, true))[:, lips]
        moving = error - error.mean(0)
        correlations = [
            np.corrcoef(fitted[:, i], true[:, i])[0, 1] for i in mouth if true[:, i].std() > 1e-3
        ]
        rows.append(
            (
                angle_deg(fitted_rotation, true_rotation).mean(),
                angle_deg(fitted_rotation, constant @ true_rotation).mean(),
                100 * float(error.norm(dim=-1).mean()) / eye_distance,
                100 * float(moving.norm(dim=-1).mean()) / eye_distance,
                float(np.median(correlations)),
                float(correlations[0]),
            )
        )
    names = (
        "rotation error, degrees",
        "  after the clip's constant rotation",
        "lip vertex error, % of outer-eye distance",
        "  after the clip's mean",
        "median correlation of 13 mouth coefficients",
        "  of the first",
    )
    print(f"{len(rows)} clips, {frames} frames, landmarks: {params.landmarks}")
    worst_of = (np.max, np.max, np.max, np.max, np.min, np.min)
    for name, column, worst in zip(names, np.array(rows).T, worst_of, strict=True):
        print(f"{name:46} mean {column.mean():6.2f}   worst {worst(column):6.2f}")
    print(f"{'frames per CPU second (landmarks given)':46} {frames / seconds:11.0f}")


if __name__ == "__main__":
    main()
