"""Face-model coefficients of every crop: `python -m pipelines.fit`.

By the fit to landmarks, by the head encoder or Deng's from the picture, or from files that others
have computed (`fit.method`).
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from dimitra.assets import asset_path, require
from dimitra.morphable.bfm import FaceModelFileError
from dimitra.morphable.bfm import read as read_bfm
from dimitra.morphable.deng import DengWeightsError, ReconNet, load_weights
from pipelines.fitters.precomputed import with_files
from pipelines.lineage.record import with_lineage
from pipelines.params import FitParams, Params, load
from pipelines.runtime.jobs import BatchWorker, Job, Resources, Worker, read_manifest, run, units_of
from pipelines.runtime.mainguard import StageError, guarded

OUTPUT = Path("data/motion")


def make_worker(params: dict[str, Any]) -> Worker | BatchWorker:
    """Load the face model and its encoder once for a worker process."""
    import torch

    torch.set_num_threads(1)
    if params["method"] == "precomputed":
        from pipelines.fitters.precomputed import PrecomputedFitter

        return PrecomputedFitter(params)
    if params["method"] == "deng":
        from pipelines.fitters.deng import DengFitter

        return DengFitter(params)
    from pipelines.fitters.open_head import OpenHeadFitter

    return OpenHeadFitter(params)


def _weights(fit: FitParams) -> tuple[str, ...]:
    named = (fit.face_model_weights, fit.encoder_weights)
    return tuple(reference for reference in named if reference is not None)


def check_weights(fit: FitParams) -> None:
    """Refuse a face model or an encoder that cannot be used, before any work.

    Raises:
        AssetError: it is not here, or not pinned; the message says what to do.
        FaceModelFileError: the Basel model's file is none.
        DengWeightsError: the checkpoint is not the encoder's.
    """
    require(_weights(fit))
    if fit.face_model == "bfm" and fit.face_model_weights is not None:
        read_bfm(asset_path(fit.face_model_weights))
    if fit.method == "deng" and fit.encoder_weights is not None:
        load_weights(ReconNet(), asset_path(fit.encoder_weights))


def plan(params: Params) -> Job:
    """The stage's job.

    Raises:
        StageError: the folder of coefficients is not there.
    """
    fit = params.fit
    roots = {
        name: (Path(params.datasets.root) / one.path).as_posix()
        for name, one in params.datasets.sets.items()
    }
    units = units_of(read_manifest(), [Path("data/crops")])
    values: dict[str, Any] = fit.model_dump(exclude={"deadline_s"})
    given = fit.method == "precomputed"
    if given:
        folder = Path(fit.coefficients or "")
        if not folder.is_dir():
            raise StageError(
                f"fit.coefficients is {fit.coefficients!r}, which is no folder; it holds one .mat "
                "a clip (docs/morphable.md)"
            )
        units = with_files(units, folder)
        values |= {
            "limits": params.limits.model_dump(),
            "roots": roots,
            "fps": params.crop.fps,
            "size": params.crop.size,
        }
    pictures = fit.photometric or fit.method in ("encoder", "deng")
    on_gpu = fit.device == "cuda" and fit.method in ("encoder", "deng")
    return Job(
        stage="fit",
        worker="pipelines.fit:make_worker",
        params=values,
        units=units,
        output=OUTPUT,
        budget=params.budgets.fit,
        deadline_s=fit.deadline_s,
        seed=params.seed,
        assets=_weights(fit),
        resources=Resources(gpus=1.0 if on_gpu else 0.0),
        media=roots if given else {},
        packages=(
            *(("av",) if pictures or given else ()),
            *(("numba",) if fit.photometric else ()),
            "numpy",
            "pillow",
            "scipy",
            "torch",
        ),
    )


def main() -> None:
    """Run the stage."""
    params = load()
    check_weights(params.fit)
    run(plan(params), params.ray, params.storage)


if __name__ == "__main__":
    sys.exit(guarded(with_lineage(main), FaceModelFileError, DengWeightsError))
