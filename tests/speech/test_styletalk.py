import json
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dimitra.speech.phonemes import PADDING_ID, PHONE_IDS, Interval, frame_phonemes
from dimitra.speech.styletalk import check_index, read_styletalk, resample_phonemes, styletalk_bytes

PIECES = [Interval(0.0, 1.0, "SIL"), Interval(1.0, 1.6, "AA"), Interval(1.6, 2.0, "M")]


def test_export_is_what_the_aligner_would_give_at_30_frames_a_second() -> None:
    data = json.loads(styletalk_bytes(frame_phonemes(PIECES, 50)))
    assert len(data) == 60
    assert data == frame_phonemes(PIECES, 60, 30.0).tolist()


def test_import_is_what_the_aligner_would_give_at_25() -> None:
    data = json.dumps(frame_phonemes(PIECES, 60, 30.0).tolist()).encode()
    np.testing.assert_array_equal(read_styletalk(data, "seq"), frame_phonemes(PIECES, 50))


@given(st.lists(st.integers(0, 40), max_size=60), st.sampled_from([24.0, 25.0, 30.0, 50.0]))
def test_a_frame_takes_the_frame_that_holds_its_centre(ids: list[int], to_fps: float) -> None:
    result = resample_phonemes(np.array(ids, dtype=np.int16), 30.0, to_fps)
    assert abs(len(result) / to_fps - len(ids) / 30.0) <= 0.5 / to_fps + 1e-9
    for frame, value in enumerate(result):
        holder = int((frame + 0.5) * 30.0 / to_fps + 1e-6)
        assert value == (ids[holder] if holder < len(ids) else PHONE_IDS["SIL"])


@given(st.lists(st.integers(0, 40), max_size=50))
def test_25_to_30_and_back_is_the_same(ids: list[int]) -> None:
    own = np.array(ids, dtype=np.int16)
    back = read_styletalk(styletalk_bytes(own), "seq")[: len(own)]
    np.testing.assert_array_equal(back, own[: len(back)])
    assert len(own) - len(back) in (0, 1)


@pytest.mark.parametrize(
    ("data", "said"),
    [(b"[1, 41]", "entry 1 is 41"), (b"[1.5]", "entry 0 is 1.5"), (b"[true]", "entry 0 is True"),
     (b"{}", "holds a dict"), (b"[1", "is not JSON")],
)  # fmt: skip
def test_a_bad_file_is_named(data: bytes, said: str) -> None:
    with pytest.raises(ValueError, match=f"a_seq.json.*{said}"):
        read_styletalk(data, "a_seq.json")


def test_padding_is_not_exported() -> None:
    with pytest.raises(ValueError, match="frame 1 has the phoneme id 41"):
        styletalk_bytes(np.array([0, PADDING_ID], dtype=np.int16))


def test_another_numbering_is_refused() -> None:
    with pytest.raises(ValueError, match="phindex.json numbers the phones otherwise: AA: 1 for 0"):
        check_index({"AA": 1}, "phindex.json")


@pytest.mark.skipif("DIMITRA_REAL_DATA" not in os.environ, reason="needs DIMITRA_REAL_DATA")
def test_the_published_files() -> None:
    folder = Path(os.environ["DIMITRA_REAL_DATA"]) / "styletalk"
    check_index(json.loads((folder / "phindex.json").read_text()), "phindex.json")
    for path in folder.glob("*_seq.json"):
        values = json.loads(path.read_text())
        own = read_styletalk(path.read_bytes(), path.name)
        assert len(own) == round(len(values) * 25 / 30)
        assert np.isin(own, values).all()
