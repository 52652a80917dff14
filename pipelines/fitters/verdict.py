"""Which frames of a clip are explained, and whether they are enough."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from dimitra.clips import Clip, ClipError, Reason
from dimitra.shards import Members

Loaded = TypeVar("Loaded")


def judge(
    distance_px: NDArray[Any],
    limit_px: float,
    max_bad_frames: float,
    clip_id: str,
    what: str = "the landmarks lie more than {limit} from the fitted face",
) -> NDArray[np.bool_]:
    """Frames whose distance is within the limit.

    Args:
        distance_px: of every frame.
        limit_px: ``fit.max_residual_px``.
        max_bad_frames: ``fit.max_bad_frames``, the largest share beyond it.
        clip_id: of the clip.
        what: is wrong in a frame beyond it, for messages.

    Raises:
        ClipError: FIT_RESIDUAL, too many frames are beyond it.
    """
    explained = np.asarray(distance_px <= limit_px)
    bad = 1.0 - float(explained.mean())
    if bad > max_bad_frames:
        wrong = what.format(limit=f"fit.max_residual_px = {limit_px} px")
        raise ClipError(
            Reason.FIT_RESIDUAL,
            f"{clip_id}: in {bad:.0%} of the frames {wrong} (median "
            f"{np.median(distance_px):.1f} px), fit.max_bad_frames is {max_bad_frames:.0%}",
        )
    return explained


def one_by_one(
    fit: Callable[[Clip, Loaded], Members], clips: Sequence[Clip], loaded: Sequence[Loaded]
) -> list[Members | ClipError]:
    """Parts of each clip, one after the other: none depends on the clips beside it."""
    results: list[Members | ClipError] = []
    for clip, seen in zip(clips, loaded, strict=True):
        try:
            results.append(fit(clip, seen))
        except ClipError as error:
            results.append(error)
    return results
