import io
import zipfile
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hn
from numpy.typing import NDArray

from dimitra.npz_views import npz_views
from dimitra.shards import npz_bytes, read_npz


def raw(data: bytes) -> NDArray[np.uint8]:
    return np.frombuffer(data, np.uint8).copy()


kinds = st.sampled_from(["f2", "f4", "f8", "i2", "i8", "u1", "?", "U5"])
arrays = kinds.flatmap(
    lambda kind: hn.arrays(kind, hn.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))
)
names = st.text("abcdefg_", min_size=1, max_size=12)


@given(st.dictionaries(names, arrays, max_size=5))
def test_views_are_what_numpy_decodes(values: dict[str, NDArray[Any]]) -> None:
    data = npz_bytes(values)
    found, expected = npz_views(raw(data)), read_npz(data)
    assert found.keys() == expected.keys() == values.keys()
    for name, value in found.items():
        assert (value.dtype, value.shape) == (expected[name].dtype, expected[name].shape)
        assert value.tobytes() == expected[name].tobytes()


def test_nothing_is_copied() -> None:
    data = raw(npz_bytes({"features": np.arange(1000, dtype=np.float16)}))
    view = npz_views(data)["features"]
    assert np.shares_memory(view, data)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_what_others_wrote_is_decoded(save: Any) -> None:
    buffer = io.BytesIO()
    value = np.arange(12.0).reshape(3, 4)
    save(buffer, rows=value, columns=np.asfortranarray(value))
    for name, found in npz_views(raw(buffer.getvalue())).items():
        np.testing.assert_array_equal(found, value, err_msg=name)


def test_pickles_and_what_is_no_npz_are_refused() -> None:
    buffer = io.BytesIO()
    np.savez(buffer, odd=np.array([{}], dtype=object))
    with pytest.raises(ValueError, match="allow_pickle"):
        npz_views(raw(buffer.getvalue()))
    # The same in the layout that is viewed.
    stored = io.BytesIO()
    with zipfile.ZipFile(stored, "w") as archive:
        part = io.BytesIO()
        np.save(part, np.array([None], dtype=object))
        archive.writestr("odd.npy", part.getvalue())
    with pytest.raises(ValueError, match="allow_pickle"):
        npz_views(raw(stored.getvalue()))
    whole = npz_bytes({"a": np.zeros(100)})
    for damaged in (b"", b"no npz at all", whole[: len(whole) // 2]):
        with pytest.raises((ValueError, zipfile.BadZipFile, EOFError)):
            npz_views(raw(damaged))
