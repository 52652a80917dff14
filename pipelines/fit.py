"""Fit the face model to every crop's landmarks: `python -m pipelines.fit`."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dimitra.clips import Clip, ClipError, Reason
from dimitra.morphable import open_head
from dimitra.morphable.fit import FitSettings, MeshLandmarks, fit_clip
from dimitra.shards import Members, npz_bytes, read_npz
from pipelines.jobs import Job, Worker, read_manifest, run, units_of
from pipelines.mainguard import guarded
from pipelines.params import load

MEDIAPIPE_TABLE = Path("dimitra/morphable/mediapipe_open_head.npz")
MESH_ARRAYS = ("mesh", "mesh_scores", "mesh_found")
"""What the crop stage adds to a track when ``crop.mesh`` is set."""


class Fitter:
    """Turns a clip's landmarks into ``motion.npz``.

    Args:
        params: ``landmarks``, ``iterations``, ``smoothness``, ``prior``, ``max_residual_px``,
            ``max_bad_frames``.
    """

    def __init__(self, params: Mapping[str, Any]) -> None:
        self._model = open_head.load()
        self._settings = FitSettings(
            iterations=params["iterations"],
            smoothness=params["smoothness"],
            prior=params["prior"],
        )
        self._dense = params["landmarks"] == "mediapipe"
        self._max_residual_px: float = params["max_residual_px"]
        self._max_bad_frames: float = params["max_bad_frames"]

    def __call__(self, clip: Clip, parts: Members) -> Members:
        """Part ``motion.npz`` of a clip, from its ``track.npz``.

        Raises:
            ClipError: FIT_RESIDUAL, too many frames are not explained by the face model.
        """
        track = read_npz(parts["track.npz"])
        if self._dense and "mesh" not in track:
            raise ValueError(
                f"{clip.clip_id}: fit.landmarks is mediapipe, but its track has no mesh; set "
                "crop.mesh: mediapipe, or fit.landmarks: dlib"
            )
        mesh = (
            MeshLandmarks(*(torch.from_numpy(track[name]) for name in MESH_ARRAYS))
            if self._dense
            else None
        )
        fit = fit_clip(
            self._model,
            torch.from_numpy(track["landmarks"]),
            torch.from_numpy(track["detected"]),
            self._settings,
            mesh,
        )
        residual = fit.residual_px.numpy()
        bad = float((residual > self._max_residual_px).mean())
        if bad > self._max_bad_frames:
            raise ClipError(
                Reason.FIT_RESIDUAL,
                f"{clip.clip_id}: in {bad:.0%} of the frames the landmarks lie more than "
                f"fit.max_residual_px = {self._max_residual_px} px from the fitted face (median "
                f"{np.median(residual):.1f} px), fit.max_bad_frames is {self._max_bad_frames:.0%}",
            )
        arrays = {
            "identity": fit.identity,
            "expression": fit.expression,
            "pose": fit.pose,
            "crop": fit.crop.expand(len(residual), 3),
            "residual_px": fit.residual_px,
        }
        return {"motion.npz": npz_bytes({name: value.numpy() for name, value in arrays.items()})}


def make_worker(params: dict[str, Any]) -> Worker:
    """Load the face model once for a worker process."""
    torch.set_num_threads(1)
    return Fitter(params)


def main() -> None:
    """Run the stage."""
    params = load()
    run(
        Job(
            stage="fit",
            worker="pipelines.fit:make_worker",
            params=params.fit.model_dump(exclude={"deadline_s"}),
            units=units_of(read_manifest(), [Path("data/crops")]),
            output=Path("data/motion"),
            budget=params.budgets.fit,
            deadline_s=params.fit.deadline_s,
            seed=params.seed,
            assets=("anny_head",),
            corpus_inputs=(MEDIAPIPE_TABLE,),
            packages=("numpy", "pillow", "scipy", "torch"),
        ),
        params.ray,
    )


if __name__ == "__main__":
    sys.exit(guarded(main))
