from dimitra.animation.animate import Animation as Animation
from dimitra.animation.animate import animate as animate
from dimitra.animation.errors import AnimationError as AnimationError

__version__: str
__all__ = ["Animation", "AnimationError", "__version__", "animate"]
