"""Numeric arrays out of a MATLAB 5 file that comes from anywhere, under limits.

Nothing in such a file is code: ``scipy.io.loadmat`` reads arrays, and of those only the ones that
are asked for. Before it sees a byte the file's elements are walked: a compressed element may unpack
to no more than the limit.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dimitra.clips import ClipError, Reason
from dimitra.media.source import open_regular

MAX_BYTES = 1 << 28
"""Of the file and of what it unpacks to: 130,000 frames of 257 values in double precision."""
_HEADER = 128
_COMPRESSED = 15
_NUMBERS = frozenset(
    {"double", "single"} | {f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)}
)


def read_arrays(path: Path, names: Sequence[str]) -> dict[str, NDArray[np.float64]]:
    """The named arrays that a file holds; a missing name is left out.

    Args:
        path: a MATLAB 5 file.
        names: of the arrays.

    Raises:
        ClipError: MISSING_FILE, UNREADABLE or NOT_A_FILE; BAD_COEFFICIENTS for anything but a
            MATLAB 5 file within ``MAX_BYTES`` whose named arrays are real, finite tables.
    """
    from scipy.io import loadmat, whosmat
    from scipy.io.matlab import MatReadError

    with open_regular(path, path.name) as file:
        data = file.read(MAX_BYTES + 1)
    _check_elements(data, path)
    try:
        listed = {name: (shape, kind) for name, shape, kind in whosmat(io.BytesIO(data))}
        wanted = [name for name in names if name in listed]
        for name in wanted:
            _check_kind(name, *listed[name], path)
        arrays = loadmat(io.BytesIO(data), variable_names=wanted) if wanted else {}
    except (MatReadError, NotImplementedError, ValueError, TypeError, KeyError) as error:
        raise bad(path, f"cannot be read as a MATLAB 5 file ({error}); save it again") from None
    except (OSError, EOFError, IndexError, OverflowError, zlib.error) as error:
        raise bad(path, f"is damaged ({error}); copy it again") from None
    return {name: _numbers(name, arrays[name], path) for name in wanted}


def bad(path: Path, what: str) -> ClipError:
    """Error about a file's content."""
    return ClipError(Reason.BAD_COEFFICIENTS, f"{path} {what}")


def _check_elements(data: bytes, path: Path) -> None:
    if len(data) > MAX_BYTES:
        raise bad(path, f"has more than {MAX_BYTES:,} bytes; cut the clip")
    if data.startswith((b"MATLAB 7.3", b"\x89HDF")):
        raise bad(
            path, "is of MATLAB 7.3 (HDF5); save it with `save(..., '-v7')` or scipy's savemat"
        )
    if not data.startswith(b"MATLAB 5.0") or len(data) < _HEADER:
        raise bad(path, f"is no MATLAB 5 file: it begins with {data[:10]!r}")
    order = {b"IM": "<", b"MI": ">"}.get(data[126:128])
    if order is None:
        raise bad(path, f"is no MATLAB 5 file: its byte order is {data[126:128]!r}")
    total = 0
    for kind, content in _elements(data, order, path):
        if kind == _COMPRESSED:
            unpacker = zlib.decompressobj()
            try:
                total += len(unpacker.decompress(content, MAX_BYTES - total + 1))
            except zlib.error as error:
                raise bad(path, f"is damaged ({error}); copy it again") from None
        else:
            total += len(content)
        if total > MAX_BYTES:
            raise bad(path, f"unpacks to more than {MAX_BYTES:,} bytes; cut the clip")


def _elements(data: bytes, order: str, path: Path) -> Iterator[tuple[int, memoryview]]:
    """Type and content of every element at the file's top."""
    view, place = memoryview(data), _HEADER
    while place < len(data):
        if place + 8 > len(data):
            raise bad(path, f"ends within an element's head at byte {place}; copy it again")
        kind, size = struct.unpack_from(f"{order}II", data, place)
        stop = place + 8 + size
        if stop > len(data):
            raise bad(path, f"promises {stop:,} bytes and has {len(data):,}; copy it again")
        yield kind, view[place + 8 : stop]
        place = stop


def _check_kind(name: str, shape: tuple[int, ...], kind: str, path: Path) -> None:
    if kind not in _NUMBERS:
        raise bad(path, f"holds {name!r} as {kind}, need a table of real numbers")
    if len(shape) != 2 or 0 in shape:
        raise bad(path, f"holds {name!r} with shape {list(shape)}, need [frames, values]")


def _numbers(name: str, array: NDArray[Any], path: Path) -> NDArray[np.float64]:
    if array.dtype.kind not in "iuf":
        raise bad(path, f"holds {name!r} as {array.dtype}, need real numbers")
    values = np.ascontiguousarray(array, dtype=np.float64)
    wrong = ~np.isfinite(values)
    if wrong.any():
        frame, column = np.argwhere(wrong)[0]
        raise bad(
            path,
            f"holds {int(wrong.sum())} values of {name!r} that are not finite, the first in "
            f"frame {frame}, column {column}",
        )
    return values
