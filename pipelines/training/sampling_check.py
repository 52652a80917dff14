"""Sampling that schedule, chunks or training do not allow, refused before any work."""

from __future__ import annotations

from dimitra.cmdt.chunks import chunk_bounds
from dimitra.diffusion.schedule import linear_schedule
from dimitra.diffusion.spacing import spaced_steps
from pipelines.errors import StageError
from pipelines.params import Params


def check_sampling(params: Params) -> None:
    """Refuse what could be trained but not sampled from; `train` and `generate` ask first.

    Raises:
        StageError: naming the key, and what is allowed.
    """
    section = params.generate
    try:
        spaced_steps(linear_schedule(params.diffusion.steps), section.steps, section.spacing)
    except ValueError as error:
        raise StageError(f"generate.steps: {error}") from error
    try:
        chunk_bounds(1, params.model.frames, section.overlap)
    except ValueError as error:
        raise StageError(f"generate.overlap: {error}") from error
    if section.guidance != 1.0 and params.diffusion.null_probability == 0.0:
        raise StageError(
            f"generate.guidance is {section.guidance}, but diffusion.null_probability is 0, so the "
            "models never see motion without speech: set it to 0.1 or so, or guidance to 1"
        )
