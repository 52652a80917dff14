"""How mouth and head move in a clip, as curves: the truth, the fit to its video, the generated."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dimitra.clips import Clip
from dimitra.morphable.coefficients import ANGLES, EXPRESSION_SIZE
from dimitra.shards import iterate_shard
from pipelines.evaluation.motion import Motion, Space
from pipelines.params import Params
from pipelines.score import GENERATED, MOTION, as_motion, read_samples, read_truth
from pipelines.stores.work_cache import WorkCache, local_shards

MOST_VALUES = 150_000
"""Of all curves of the page, about 6 bytes each."""
FEWEST_POINTS = 200
"""Of a curve of a long clip, however many clips there are."""
MILLIMETRES = 100.0
"""In a decimetre, the unit of the face models."""
ANGLE_NAMES = ("pitch", "yaw", "roll")
SOURCES = ("truth", "fit", "hp")

Curves = dict[str, Any]
"""``step``: frames from point to point; then quantity to source to values, a point each."""


def _thinned(values: NDArray[np.float64], step: int, decimals: int) -> list[float]:
    return [round(float(value), decimals) + 0.0 for value in values[::step]]


def most_points(clips: int) -> int:
    """Points of a curve, where so many clips share the page."""
    return max(FEWEST_POINTS, MOST_VALUES // (clips * len(SOURCES) * (1 + len(ANGLE_NAMES))))


def clip_curves(
    motions: dict[str, Motion], opening: NDArray[np.float64] | None, points: int
) -> Curves:
    """Curves of one clip; of one with more frames every second, third, ... is drawn.

    Args:
        motions: source to ``[T, 70]``, all of the same T.
        opening: ``[64]``, how far each expression coefficient opens the mouth; None where that is
            not known, which leaves that curve out.
        points: at most, of a curve.

    Returns:
        Opening in millimetres more than at rest, angles in degrees.
    """
    frames = max(len(motion) for motion in motions.values())
    step = max(1, math.ceil(frames / points))
    curves: Curves = {"step": step}
    if opening is not None:
        curves["opening"] = {
            name: _thinned(
                motion[:, :EXPRESSION_SIZE].astype(np.float64) @ opening * MILLIMETRES,
                step,
                2,
            )
            for name, motion in motions.items()
        }
    for place, angle in enumerate(ANGLE_NAMES):
        curves[angle] = {
            name: _thinned(np.rad2deg(motion[:, ANGLES][:, place].astype(np.float64)), step, 2)
            for name, motion in motions.items()
        }
    return curves


def read_curves(
    root: Path, params: Params, clips: list[Clip], cache: WorkCache
) -> dict[str, Curves]:
    """Curves of some test clips, by clip id.

    Args:
        root: of the run.
        params: of the run; its corpus truth counts for the open head alone, whose it is.
        clips: those that are shown.
        cache: where shards are that do not lie beside their sidecars.

    Raises:
        KeyError: a shard misses a clip that has been evaluated.
    """
    wanted = {clip.clip_id: clip for clip in clips}
    fitted = {
        clip_id: as_motion(parts["motion.npz"])
        for shard in local_shards(root / MOTION, cache, list(wanted))
        for clip_id, parts in iterate_shard(shard)
        if clip_id in wanted
    }
    made = {
        clip_id: read_samples(parts)[0]
        for shard in local_shards(root / GENERATED, cache, list(wanted))
        for clip_id, parts in iterate_shard(shard)
        if clip_id in wanted
    }
    opening = Space.of(params).opening
    curves = {}
    for clip_id, clip in wanted.items():
        motions = {"fit": fitted[clip_id], "hp": made[clip_id]}
        if params.fit.face_model == "open_head":
            truth, _ = read_truth(root / params.evaluate.truth, clip, len(fitted[clip_id]))
            motions |= {} if truth is None else {"truth": truth}
        curves[clip_id] = clip_curves(motions, opening, most_points(len(clips)))
    return curves
