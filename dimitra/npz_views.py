"""Arrays of an ``.npz`` as views of its bytes: nothing is copied, decompressed or summed.

``dimitra.shards.npz_bytes`` stores members uncompressed and in one piece, so each array lies in the
file as it does in memory. Reading thousands of them a second, as training does, then costs no more
than reading the file. The zip's own checksums are not looked at: a shard's sha256 is what tells
whether its bytes are right.
"""

from __future__ import annotations

import functools
import io
import math
import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dimitra.shards import read_npz

_HEADER = struct.Struct("<4s5H3I2H")
"""Local file header of a zip (APPNOTE.TXT, 4.3.7)."""
_MEMBER = b"PK\x03\x04"
_UNKNOWN_SIZES = 0x8
_ZIP64 = 0xFFFFFFFF
_NPY = b"\x93NUMPY\x01\x00"
"""Magic and version of an npy file, followed by two bytes of header length."""


def npz_views(data: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
    """The arrays of an ``.npz``, by name; not aligned in memory, so copy what is computed on.

    What ``npz_bytes`` did not write (compressed, by ``numpy.savez``) is decoded instead.

    Args:
        data: [n] bytes of the file; the arrays are parts of it.

    Raises:
        ValueError: pickled objects.
        zipfile.BadZipFile: this is no npz.
    """
    found: dict[str, NDArray[Any]] = {}
    place = 0
    raw = data.data
    while place + _HEADER.size <= len(raw) and raw[place : place + 4] == _MEMBER:
        _, _, flags, method, _, _, _, size, _, name_size, extra_size = _HEADER.unpack_from(
            raw, place
        )
        begin = place + _HEADER.size
        name = bytes(raw[begin : begin + name_size]).decode()
        begin += name_size + extra_size
        view = _view(raw, begin, size)
        if view is None or method or flags & _UNKNOWN_SIZES or size == _ZIP64:
            return read_npz(data.tobytes())
        found[name.removesuffix(".npy")] = view
        place = begin + size
    return found or read_npz(data.tobytes())


def _view(raw: memoryview, begin: int, size: int) -> NDArray[Any] | None:
    """The array of the npy file at ``begin``; None where it cannot be viewed."""
    front = len(_NPY) + 2
    if size < front or begin + size > len(raw) or raw[begin : begin + len(_NPY)] != _NPY:
        return None
    length = front + int.from_bytes(raw[begin + front - 2 : begin + front], "little")
    shape, count, dtype = _layout(bytes(raw[begin + front - 2 : begin + length]))
    if dtype is None or length + dtype.itemsize * count != size:
        return None
    return np.frombuffer(raw, dtype, count, begin + length).reshape(shape)


@functools.lru_cache(maxsize=4096)
def _layout(header: bytes) -> tuple[tuple[int, ...], int, np.dtype[Any] | None]:
    """Shape, count and type that an npy header names; no type where it cannot be viewed."""
    shape, fortran_order, dtype = np.lib.format.read_array_header_1_0(io.BytesIO(header))
    return shape, math.prod(shape), None if fortran_order or dtype.hasobject else dtype
