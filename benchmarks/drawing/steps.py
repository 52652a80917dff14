"""What each step of the mesh renderer costs: a stopwatch around the functions that it calls."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from dimitra.render import mesh
from dimitra.render.warp import WarpGrid

PHOTO, POSE, WARP, HEAD, MOUTH, SHADE, COMPOSITE, REST = (
    "set up the photo",
    "pose the head",
    "warp",
    "rasterise the head",
    "light in the mouth",
    "normals and shade",
    "composite",
    "the rest",
)
STEPS = (PHOTO, POSE, WARP, HEAD, MOUTH, SHADE, COMPOSITE, REST)


def _of_raster(arguments: dict[str, Any]) -> str:
    """The warp's grid is drawn from both sides, the head from the front alone."""
    return HEAD if "cull" in arguments else WARP


NAMES: dict[str, str | Callable[[dict[str, Any]], str]] = {
    "prepare_portrait": PHOTO,
    "place": POSE,
    "look": POSE,
    "rasterize": _of_raster,
    "interpolate": WARP,
    "light_inside": MOUTH,
    "vertex_normals": SHADE,
    "_appearance": SHADE,
    "_shade": SHADE,
    "compose": COMPOSITE,
}
"""What ``dimitra.render.mesh`` calls, and the step that it is."""


@contextmanager
def watched(clock: Callable[[], float] = time.process_time) -> Iterator[dict[str, float]]:
    """Seconds of each step of whatever mesh renderer draws inside the ``with`` statement.

    Args:
        clock: seconds.
    """
    spent: dict[str, float] = defaultdict(float)

    def timed(function: Callable[..., Any], step: Any) -> Callable[..., Any]:
        def call(*given: Any, **named: Any) -> Any:
            began = clock()
            try:
                return function(*given, **named)
            finally:
                spent[step(named) if callable(step) else step] += clock() - began

        return call

    own = {name: getattr(mesh, name) for name in NAMES}
    displace = WarpGrid.displace
    try:
        for name, step in NAMES.items():
            setattr(mesh, name, timed(own[name], step))
        WarpGrid.displace = timed(displace, WARP)  # type: ignore[method-assign]
        yield spent
    finally:
        for name, function in own.items():
            setattr(mesh, name, function)
        WarpGrid.displace = displace  # type: ignore[method-assign]
