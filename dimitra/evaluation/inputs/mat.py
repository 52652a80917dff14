"""MATLAB 5 files of tables, the same bytes for the same numbers."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

_TEXT = b"MATLAB 5.0 MAT-file"
_TEXT_BYTES = 116
"""Of the header, free text; SciPy writes the time of day into it."""


def mat_bytes(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """Named tables ``[rows, columns]`` as ``scipy.io.loadmat`` reads them.

    Args:
        arrays: written sorted by name.
    """
    from scipy.io import savemat

    buffer = io.BytesIO()
    savemat(buffer, {name: arrays[name] for name in sorted(arrays)})
    return _TEXT.ljust(_TEXT_BYTES) + buffer.getvalue()[_TEXT_BYTES:]
