"""What a person should know about a result: things that were chosen, or done without."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

Notify: TypeAlias = Callable[[str], None]
"""Takes one sentence at a time."""
