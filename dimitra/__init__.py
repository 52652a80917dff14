"""dimitra: audio-driven talking-head generation, from raw video to the paper's tables."""

import importlib
from typing import Any

__version__ = "0.1.0"
__all__ = ["Animation", "AnimationError", "__version__", "animate"]

# Imported when asked for: `import dimitra` loads no torch, and no stage's closure holds them.
_PLACES = {
    "Animation": "dimitra.animation.animate",
    "AnimationError": "dimitra.animation.errors",
    "animate": "dimitra.animation.animate",
}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_PLACES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_PLACES})
