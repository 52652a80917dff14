"""Render generated motion as video: `python -m pipelines.render`.

Every test clip becomes two videos of its first frame, with its own sound: ``hp.mp4`` with the
generated head pose, ``no_hp.mp4`` with the head held as in the first frame. The mesh renderer or
PIRender draws them (`render.renderer`), on a CPU or a GPU (`render.device`).
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from dimitra.assets import asset_path
from dimitra.clips import Clip
from dimitra.media.audio import decode_flac
from dimitra.media.mark import metadata
from dimitra.media.mp4 import encode_mp4
from dimitra.media.video import iterate_frames, to_rgb
from dimitra.morphable import open_head
from dimitra.render import pirender, renderer_checkpoint
from dimitra.render.device_mesh import mesh_renderer
from dimitra.render.mesh import freeze_pose
from dimitra.render.pirender_weights import PIRenderError
from dimitra.render.reference import resize_reference
from dimitra.shards import Members, read_npz
from pipelines.lineage.record import with_lineage
from pipelines.params import TRAINED, Params, load
from pipelines.runtime.jobs import Job, Resources, Worker, read_manifest, run, units_of
from pipelines.runtime.mainguard import StageError, guarded

READS = (Path("data/generated"), Path("data/crops"), Path("data/motion"))
OUTPUT = Path("data/videos")
OWN = Path("renderers/trained")
"""What ``train_renderer`` makes."""
PACKAGES = {
    "mesh": ("av", "numba", "numpy", "scipy", "torch"),
    "pirender": ("av", "numpy", "scipy", "torch"),
}


class Renderer(Protocol):
    """Draws motion [T, 70] with the face of a photo [S, S, 3], as T frames [S, S, 3] uint8.

    ``fitted`` is the clip's ``motion.npz``; ``crop`` [3] is Deng's alignment of the photo.
    """

    def __call__(
        self,
        photo: NDArray[np.uint8],
        crop: NDArray[np.float32],
        fitted: Mapping[str, NDArray[Any]],
        motion: NDArray[np.float32],
    ) -> Iterator[NDArray[np.uint8]]: ...


def _mesh(device: str) -> Renderer:
    renderer = mesh_renderer(open_head.load(), device)

    def draw(
        photo: NDArray[np.uint8],
        crop: NDArray[np.float32],
        fitted: Mapping[str, NDArray[Any]],
        motion: NDArray[np.float32],
    ) -> Iterator[NDArray[np.uint8]]:
        return renderer.render(photo, fitted["identity"], crop, _first(fitted), motion)

    return draw


def _pirender(weights: str, device: str) -> Renderer:
    if weights == TRAINED:
        renderer = pirender.PIRenderer(renderer_checkpoint.load(OWN).network, device)
    else:
        renderer = pirender.load(asset_path(weights), device)

    def draw(
        photo: NDArray[np.uint8],
        crop: NDArray[np.float32],
        fitted: Mapping[str, NDArray[Any]],  # noqa: ARG001 - by Renderer
        motion: NDArray[np.float32],
    ) -> Iterator[NDArray[np.uint8]]:
        # The crop is one for the clip: it was measured on the photo, and is not generated.
        return renderer.render(photo, motion, np.tile(crop, (len(motion), 1)))

    return draw


def _first(fitted: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
    """Motion [70] of the reference frame."""
    return np.concatenate([fitted["expression"][0], fitted["pose"][0]])


def make_worker(params: dict[str, Any]) -> Worker:
    """A worker that renders one clip, with and without head pose."""
    import torch

    torch.set_num_threads(1)
    neural, device = params["renderer"] == "pirender", params["device"]
    draw = _pirender(params["weights"], device) if neural else _mesh(device)

    def work(clip: Clip, parts: Members) -> Members:
        fitted = read_npz(parts["motion.npz"])
        generated = read_npz(parts["generated.npz"])["motion"]
        if params["angle_limit_rad"] is not None:
            generated = pirender.limit_angles(generated, params["angle_limit_rad"])
        photo = to_rgb(next(islice(iterate_frames(parts["mp4"]), 1)))
        photo, crop = resize_reference(photo, fitted["crop"][0], params["size"])
        sound, rate = decode_flac(parts["flac"])
        audio = sound[: round(len(generated) * rate / params["fps"])]

        def video(variant: str, motion: NDArray[np.float32]) -> bytes:
            return encode_mp4(
                draw(photo, crop, fitted, motion),
                fps=params["fps"],
                audio=audio,
                sample_rate=rate,
                crf=params["crf"],
                preset=params["preset"],
                metadata=metadata(f"{clip.clip_id} ({variant})"),
            )

        return {
            "hp.mp4": video("head pose", generated),
            "no_hp.mp4": video("no head pose", freeze_pose(generated, _first(fitted))),
        }

    return work


def check_own(params: Params) -> None:
    """Refuse a renderer of one's own that is missing, or of another face model or size.

    Raises:
        StageError: naming what to do.
    """
    try:
        trained = renderer_checkpoint.load(OWN)
    except FileNotFoundError as error:
        raise StageError(str(error)) from error
    found = (trained.face_model, trained.size)
    if found != (params.fit.face_model, params.render.size):
        raise StageError(
            f"{OWN} draws {found[0]} at {found[1]} px, but fit.face_model is "
            f"{params.fit.face_model!r} and render.size {params.render.size}; run "
            "`python -m pipelines.train_renderer` again"
        )


def _assets(weights: str | None) -> tuple[str, ...]:
    if weights == TRAINED:
        return ()
    return ("anny_head",) if weights is None else (weights,)


def main() -> None:
    """Render every generated clip."""
    params = load()
    weights = params.render.weights
    if weights == TRAINED:
        check_own(params)
    on_gpu = params.render.device == "cuda"
    run(
        Job(
            stage="render",
            worker="pipelines.render:make_worker",
            params={**params.render.model_dump(exclude={"deadline_s"}), "fps": params.crop.fps},
            units=units_of(read_manifest(), READS),
            output=OUTPUT,
            budget=params.budgets.render,
            deadline_s=params.render.deadline_s,
            seed=params.seed,
            assets=_assets(weights),
            corpus_inputs=(OWN,) if weights == TRAINED else (),
            packages=PACKAGES[params.render.renderer],
            resources=Resources(gpus=1.0 if on_gpu else 0.0),
        ),
        params.ray,
        params.storage,
    )


if __name__ == "__main__":
    sys.exit(guarded(with_lineage(main), PIRenderError))
