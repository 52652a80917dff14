"""MATLAB files of every kind that is not wanted, and the one that is."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse
from scipy.io import loadmat, savemat

from dimitra.clips import ClipError, Reason
from dimitra.morphable import mat_file
from dimitra.morphable.mat_file import read_arrays


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "00001.mat"


def _refused(path: Path, message: str) -> None:
    with pytest.raises(ClipError, match=message) as caught:
        read_arrays(path, ["coeff"])
    assert caught.value.reason is Reason.BAD_COEFFICIENTS
    assert str(path) in caught.value.message


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("kind", [np.float32, np.float64, np.int16])
def test_real_tables(path: Path, packed: bool, kind: type) -> None:
    table = (100 * np.random.default_rng(0).normal(size=(9, 4))).astype(kind)
    savemat(path, {"coeff": table, "other": "text"}, do_compression=packed)
    found = read_arrays(path, ["coeff", "absent"])
    assert list(found) == ["coeff"]
    assert found["coeff"].dtype == np.float64
    np.testing.assert_array_equal(found["coeff"], table)
    np.testing.assert_array_equal(found["coeff"], loadmat(path)["coeff"])


@pytest.mark.parametrize("seed", range(60))
def test_sound_files_are_read_as_scipy_reads_them(path: Path, seed: int) -> None:
    """Every class of numbers, narrow storage and short elements, beside arrays of other kinds."""
    rng = np.random.default_rng(seed)
    contents: dict[str, Any] = {}
    for number, kind in enumerate(
        ("f4", "f8", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "?")
    ):
        table = np.abs(10.0 ** rng.integers(0, 3) * rng.normal(size=rng.integers(1, 7, 2)))
        name = "n" * int(rng.integers(1, 29)) + str(number)
        contents |= {name: table.astype(kind), f"t{number}": "text", f"s{number}": {"a": 1.0}}
    savemat(path, contents, do_compression=bool(seed % 2))
    names = [name for name in contents if name.startswith("n")]
    found, expected = read_arrays(path, names), loadmat(path)
    assert list(found) == names
    for name in names:
        np.testing.assert_array_equal(found[name], expected[name].astype(np.float64))


@pytest.mark.parametrize("packed", [False, True])
def test_the_other_byte_order(path: Path, packed: bool) -> None:
    table = np.random.default_rng(0).normal(size=(5, 3))
    parts = (
        (6, struct.pack(">II", 6, 0)),  # class double
        (5, struct.pack(">ii", *table.shape)),
        (1, b"coeff"),
        (9, table.T.astype(">f8").tobytes()),
    )
    inner = b"".join(
        struct.pack(">II", kind, len(part)) + part + bytes(-len(part) % 8) for kind, part in parts
    )
    element = struct.pack(">II", 14, len(inner)) + inner
    if packed:
        element = zlib.compress(element)
        element = struct.pack(">II", 15, len(element)) + element
    path.write_bytes(b"MATLAB 5.0 MAT-file".ljust(124) + b"\x01\x00MI" + element)
    np.testing.assert_array_equal(loadmat(path)["coeff"], table)
    np.testing.assert_array_equal(read_arrays(path, ["coeff"])["coeff"], table)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.ones((3, 4)) * 1j, "as complex, need a table of real numbers"),
        ({"a": 1.0}, "as struct, need a table"),
        (np.array([[1, "a"]], object), "as cell, need a table"),
        ("text", "as text, need a table"),
        (np.ones((2, 3, 4)), r"with shape \[2, 3, 4\]"),
        (np.ones((0, 4)), r"with shape \[0, 4\]"),
        (scipy.sparse.eye_array(3).tocsc(), "as sparse, need a table"),
        (np.array([[1.0, 2.0], [3.0, np.nan]]), "1 values .* not finite, .* frame 1, column 1"),
        (np.array([[np.inf, 2.0]]), "1 values .* not finite"),
    ],
)
def test_other_arrays_are_refused(path: Path, value: Any, message: str) -> None:
    savemat(path, {"coeff": value})
    _refused(path, message)


def test_other_files_are_refused(path: Path) -> None:
    savemat(path, {"coeff": np.ones((50, 4))})
    good = path.read_bytes()
    for data, message in (
        (b"", "no MATLAB 5 file"),
        (b"PK\x03\x04" + bytes(200), "no MATLAB 5 file"),
        (b"MATLAB 7.3 MAT-file, Platform: GLNXA64" + bytes(600), r"MATLAB 7\.3 \(HDF5\)"),
        (b"\x89HDF\r\n\x1a\n" + bytes(600), r"MATLAB 7\.3 \(HDF5\)"),
        (good[:-40], "promises .* bytes and has"),
        (good[:131], "ends at byte 131, within the head of an element"),
        (good[:126] + b"XX" + good[128:], "its byte order is b'XX'"),
    ):
        path.write_bytes(data)
        _refused(path, message)
    with pytest.raises(ClipError, match="is not a file") as caught:
        read_arrays(path.with_name("absent.mat"), ["coeff"])
    assert caught.value.reason is Reason.MISSING_FILE


def test_what_unpacks_beyond_the_limit_is_refused_unread(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mat_file, "MAX_BYTES", 100_000)
    savemat(path, {"coeff": np.zeros((500, 257))}, do_compression=True)
    assert path.stat().st_size < 5_000
    _refused(path, "unpacks to more than 100,000 bytes")
    savemat(path, {"coeff": np.zeros((500, 257))})
    _refused(path, "more than 100,000 bytes")


def test_a_file_that_was_changed_at_random_is_read_or_refused(path: Path) -> None:
    """Bytes of a small file are flipped; nothing but a ClipError may come out."""
    outcomes = set()
    rng = np.random.default_rng(0)
    for packed in (False, True):
        savemat(path, {"coeff": np.arange(12.0).reshape(3, 4)}, do_compression=packed)
        good = path.read_bytes()
        inner = b""
        if packed:  # flips inside the packed element, packed again so that zlib does not object
            inner = zlib.decompress(good[136:])
        for _ in range(300):
            data = bytearray(inner if packed else good[128:])
            for place in rng.integers(0, len(data), rng.integers(1, 4)):
                data[place] = int(rng.integers(0, 256))
            body = bytes(data)
            if packed:
                again = zlib.compress(body)
                body = struct.pack("<II", 15, len(again)) + again
            path.write_bytes(good[:128] + body)
            try:
                outcomes.add(tuple(read_arrays(path, ["coeff"])))
            except ClipError as error:
                outcomes.add(str(error.reason))
    assert "bad_coefficients" in outcomes
