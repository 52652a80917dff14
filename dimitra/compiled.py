"""Functions compiled by numba, as this package uses it: the same bits on every processor."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

_F = TypeVar("_F", bound=Callable[..., Any])


def compiled(function: _F) -> _F:
    """``numba.njit``: cached on disk, without the GIL, exact arithmetic."""
    return cast("_F", numba.njit(cache=True, nogil=True, fastmath=False)(function))


def inlined(function: _F) -> _F:
    """``compiled`` for what runs once a pixel: a call costs more than its arithmetic."""
    compile_it = numba.njit(cache=True, nogil=True, fastmath=False, forceinline=True)
    return cast("_F", compile_it(function))
