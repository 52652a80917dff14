"""Numeric arrays out of a MATLAB 5 file that comes from anywhere, under limits.

Written after MathWorks' *MAT-File Format* (chapter 1, level 5), for tables of real numbers alone.
``scipy.io.loadmat`` believes what a file says of itself: a few wrong bytes end the process, and
with it the work on other clips. Here every length is held against the bytes that are there.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dimitra.clips import ClipError, Reason
from dimitra.media.source import open_regular

MAX_BYTES = 1 << 28
"""Of the file and of what is unpacked of it: 130,000 frames of 257 values in double precision."""
_HEADER = 128
_MATRIX, _COMPRESSED = 14, 15
_INT8, _INT32, _UINT32 = 1, 5, 6
_HEAD_BYTES = 4096
"""Unpacked to see an array's name, type and shape; they come first."""
_COMPLEX = 0x08
_STORED = dict(
    zip(
        (1, 2, 3, 4, 5, 6, 7, 9, 12, 13),
        ("i1", "u1", "i2", "u2", "i4", "u4", "f4", "f8", "i8", "u8"),
        strict=True,
    )
)
"""How numbers are stored, which may be narrower than the array's class."""
_NUMBERS = range(6, 16)
_OTHERS = {1: "cell", 2: "struct", 3: "object", 4: "text", 5: "sparse", 16: "function"}


@dataclass(frozen=True)
class _Head:
    """What an array says before its numbers."""

    name: str
    kind: int
    is_complex: bool
    shape: tuple[int, ...]
    body: int
    """Byte of the element at which the numbers begin."""


class _DamagedError(ValueError):
    """Lengths that do not fit the bytes."""


def read_arrays(path: Path, names: Sequence[str]) -> dict[str, NDArray[np.float64]]:
    """The named arrays that a file holds; a missing name is left out.

    Args:
        path: a MATLAB 5 file.
        names: of the arrays.

    Returns:
        ``[rows, columns]`` each, none of them empty.

    Raises:
        ClipError: MISSING_FILE, UNREADABLE or NOT_A_FILE; BAD_COEFFICIENTS for anything but a
            MATLAB 5 file within ``MAX_BYTES`` whose named arrays are real, finite tables.
    """
    with open_regular(path, str(path)) as file:
        data = file.read(MAX_BYTES + 1)
    order = _byte_order(data, path)
    found: dict[str, NDArray[np.float64]] = {}
    left = MAX_BYTES
    try:
        for kind, element in _elements(data, _HEADER, order):
            if kind not in (_MATRIX, _COMPRESSED):
                continue
            packed = kind == _COMPRESSED
            head = _head(_unpacked_element(element, _HEAD_BYTES) if packed else element, order)
            if head.name not in names or head.name in found:
                continue
            _check_head(head, path)
            if packed:
                element = _unpacked_element(element, left + 9)  # noqa: PLW2901 - as it was meant
                left -= len(element)
                if left < 0:
                    raise bad(path, f"unpacks to more than {MAX_BYTES:,} bytes; cut the clip")
            found[head.name] = _finite(head, _table(head, element, order), path)
    except (_DamagedError, zlib.error, UnicodeDecodeError) as error:
        raise bad(path, f"is damaged ({error}); copy it again") from None
    return found


def bad(path: Path, what: str) -> ClipError:
    """Error about a file's content."""
    return ClipError(Reason.BAD_COEFFICIENTS, f"{path} {what}")


def _byte_order(data: bytes, path: Path) -> str:
    if len(data) > MAX_BYTES:
        raise bad(path, f"has more than {MAX_BYTES:,} bytes; cut the clip")
    if data.startswith((b"MATLAB 7.3", b"\x89HDF")):
        raise bad(
            path, "is of MATLAB 7.3 (HDF5); save it with save(..., '-v7'), or scipy's savemat"
        )
    if not data.startswith(b"MATLAB 5.0") or len(data) < _HEADER:
        raise bad(path, f"is no MATLAB 5 file: it begins with {data[:10]!r}")
    order = {b"IM": "<", b"MI": ">"}.get(data[126:128])
    if order is None:
        raise bad(path, f"is no MATLAB 5 file: its byte order is {data[126:128]!r}")
    return order


def _elements(data: bytes | memoryview, place: int, order: str) -> Iterator[tuple[int, memoryview]]:
    """Type and content of the elements from a place to the end of ``data``."""
    while place < len(data):
        kind, content, place = _element(data, place, order)
        yield kind, content


def _element(
    data: bytes | memoryview, place: int, order: str, *, pad: bool = False
) -> tuple[int, memoryview, int]:
    """Type and content of the element at a place, and the place of the next."""
    if place + 8 > len(data):
        raise _DamagedError(f"it ends at byte {len(data)}, within the head of an element")
    kind, size = struct.unpack_from(f"{order}II", data, place)
    start = place + 8
    if kind >> 16:  # the short form: size and type in one word, content in the next
        kind, size, start = kind & 0xFFFF, kind >> 16, place + 4
        if size > 4:
            raise _DamagedError(f"a short element of {size} bytes")
    if start + size > len(data):
        raise _DamagedError(f"it promises {start + size:,} bytes and has {len(data):,}")
    after = place + 8 if start == place + 4 else start + size
    return kind, memoryview(data)[start : start + size], after + (-after % 8 if pad else 0)


def _unpacked_element(element: memoryview, limit: int) -> memoryview:
    """Content of the array inside a compressed element, its first ``limit`` bytes."""
    content = zlib.decompressobj().decompress(element, limit)
    if len(content) < 8:
        raise _DamagedError("a packed element without content")
    return memoryview(content)[8:]


def _head(element: memoryview, order: str) -> _Head:
    flag_type, flags, place = _element(element, 0, order, pad=True)
    shape_type, shape, place = _element(element, place, order, pad=True)
    name_type, name, place = _element(element, place, order, pad=True)
    if (flag_type, shape_type, name_type) != (_UINT32, _INT32, _INT8) or len(flags) != 8:
        raise _DamagedError("an array without flags, shape or name")
    if len(shape) % 4:
        raise _DamagedError(f"an array's shape of {len(shape)} bytes")
    (word,) = struct.unpack_from(f"{order}I", flags)
    return _Head(
        bytes(name).decode("ascii"),
        word & 0xFF,
        bool(word >> 8 & _COMPLEX),
        struct.unpack(f"{order}{len(shape) // 4}i", shape),
        place,
    )


def _check_head(head: _Head, path: Path) -> None:
    if head.kind not in _NUMBERS or head.is_complex:
        found = "complex" if head.is_complex else _OTHERS.get(head.kind, f"class {head.kind}")
        raise bad(path, f"holds {head.name!r} as {found}, need a table of real numbers")
    if len(head.shape) != 2 or min(head.shape) < 1:
        raise bad(path, f"holds {head.name!r} with shape {list(head.shape)}, need [frames, values]")


def _table(head: _Head, element: memoryview, order: str) -> NDArray[np.float64]:
    stored, numbers, _ = _element(element, head.body, order)
    if stored not in _STORED:
        raise _DamagedError(f"numbers of the unknown type {stored}")
    kind = np.dtype(f"{order}{_STORED[stored]}")
    if math.prod(head.shape) * kind.itemsize != len(numbers):
        raise _DamagedError(f"{len(numbers)} bytes of numbers for the shape {list(head.shape)}")
    columns = np.frombuffer(numbers, kind).reshape(head.shape[::-1])
    with np.errstate(invalid="ignore"):  # a signalling NaN: it is refused in the next step
        return np.ascontiguousarray(columns.T, dtype=np.float64)


def _finite(head: _Head, table: NDArray[np.float64], path: Path) -> NDArray[np.float64]:
    wrong = ~np.isfinite(table)
    if wrong.any():
        frame, column = np.argwhere(wrong)[0]
        raise bad(
            path,
            f"holds {int(wrong.sum())} values of {head.name!r} that are not finite, the first in "
            f"frame {frame}, column {column}",
        )
    return table
