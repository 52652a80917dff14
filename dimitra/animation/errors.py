"""What cannot be animated, and why."""

from __future__ import annotations


class AnimationError(RuntimeError):
    """Photo, sound, models or settings will not do; the message says which, why and what helps."""
