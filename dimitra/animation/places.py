"""Where the videos of an animation go."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dimitra.animation.errors import AnimationError

MAX_SAMPLES = 64


def video_places(out: Path, samples: int, inputs: Sequence[object]) -> list[Path]:
    """Files of the samples: ``out``, and beside it ``NAME-2.mp4`` and so on.

    Args:
        out: of the first.
        samples: how many.
        inputs: what is read; paths among them are no places for a video.

    Raises:
        AnimationError: a place that cannot be, or that is an input.
    """
    if not 1 <= samples <= MAX_SAMPLES:
        raise AnimationError(f"{samples} samples; there can be 1 to {MAX_SAMPLES}")
    if out.suffix.lower() != ".mp4":
        raise AnimationError(f"{out}: the video is an mp4; give it a name that ends in .mp4")
    if not out.parent.is_dir():
        raise AnimationError(f"{out.parent} is no folder; make it first")
    places = [out, *(out.with_stem(f"{out.stem}-{n}") for n in range(2, samples + 1))]
    for place in places:
        if place.exists() and not place.is_file():
            raise AnimationError(f"{place} is there and is no file; choose another name")
        for given in inputs:
            same = isinstance(given, (Path, str)) and place.resolve() == Path(given).resolve()
            if same:
                raise AnimationError(f"{place} is an input; choose another name for the video")
    return places
