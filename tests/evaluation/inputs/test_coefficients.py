"""Files are what the other methods' code reads: by SciPy, as they do, and by this library."""

import io
from pathlib import Path

import numpy as np
import pytest
from scipy.io import loadmat

from dimitra.evaluation.inputs.coefficients import HELD_FRAMES, deng_bytes, sadtalker_bytes
from dimitra.evaluation.inputs.mat import mat_bytes
from dimitra.morphable.precomputed import read
from tests.evaluation.inputs.motions import FRAMES, at, motion


def load(data: bytes):
    return loadmat(io.BytesIO(data))


def test_a_whole_clip_at_styletalks_rate() -> None:
    rows = 60 + HELD_FRAMES
    own = motion()
    file = load(deng_bytes(own, 30.0, rows, "clip"))
    coefficients, transform = file["coeff"], file["transform_params"]
    assert (coefficients.shape, transform.shape) == ((rows, 257), (rows, 5))
    assert coefficients.dtype == transform.dtype == np.float32
    # Columns as in core/utils.py of StyleTalk and DreamTalk; times inside the clip's frame centres.
    inside = slice(1, 59)
    middle_s = (np.arange(rows) + 0.5) / 30
    close = {"rtol": 0, "atol": 2e-6}
    np.testing.assert_allclose(coefficients[inside, 80:144], at(middle_s, 64)[inside], **close)
    np.testing.assert_allclose(coefficients[inside, 226], 0.3 * middle_s[inside], **close)
    np.testing.assert_allclose(coefficients[:, 224:226], 0.0, **close)
    np.testing.assert_allclose(coefficients[inside, 254:257], at(middle_s, 3)[inside], **close)
    crop = np.array([0.9, 128.0, 130.0]) + at(middle_s, 3)
    np.testing.assert_allclose(transform[inside, -3:], crop[inside], rtol=1e-6)
    assert (transform[:, :2] == 256).all()
    for name, columns in (("identity", slice(80)), ("texture", slice(144, 224))):
        assert (coefficients[:, columns] == own[name]).all()
    assert (coefficients[:, 227:254] == own["illumination"]).all()
    assert (coefficients[60:, 80:144] == own["expression"][-1]).all()


def test_the_first_frame_alone_is_the_papers_comparison() -> None:
    own = motion()
    file = load(deng_bytes(own, 25.0, FRAMES, "first_frame"))
    assert (file["coeff"] == file["coeff"][0]).all()
    assert (file["coeff"][0, 80:144] == own["expression"][0]).all()
    assert (file["transform_params"][:, 2:] == own["crop"][0]).all()


def test_the_same_rate_gives_the_same_values_back(tmp_path: Path) -> None:
    own = motion()
    (tmp_path / "clip.mat").write_bytes(deng_bytes(own, 25.0, FRAMES, "clip"))
    found = read(tmp_path / "clip.mat")
    assert (len(found), found.size) == (FRAMES, (256, 256))
    for name in ("expression", "crop"):
        np.testing.assert_allclose(getattr(found, name), own[name], rtol=1e-6, atol=1e-12)
    np.testing.assert_allclose(found.pose, own["pose"], atol=1e-7)
    for name in ("identity", "texture", "illumination"):
        np.testing.assert_array_equal(found.constant[name].astype(np.float32), own[name])


@pytest.mark.parametrize(("given", "rows"), [("clip", FRAMES), ("first_frame", 1)])
def test_sadtalkers_file(tmp_path: Path, given, rows: int) -> None:
    own = motion()
    (tmp_path / "clip.mat").write_bytes(sadtalker_bytes(own, given))
    file = loadmat(tmp_path / "clip.mat")
    whole = np.concatenate([own["expression"], own["pose"], own["crop"]], axis=1)
    np.testing.assert_array_equal(file["coeff_3dmm"], whole[:rows])
    assert file["full_3dmm"].shape == (1, 257)
    np.testing.assert_array_equal(file["full_3dmm"][0, 80:144], own["expression"][0])
    found = read(tmp_path / "clip.mat")
    np.testing.assert_array_equal(found.constant["texture"].astype(np.float32), own["texture"])


def test_what_was_not_estimated_is_no_zero() -> None:
    own = motion()
    del own["texture"]
    with pytest.raises(ValueError, match="texture were not estimated"):
        deng_bytes(own, 25.0, 3, "clip")
    with pytest.raises(ValueError, match="texture were not estimated"):
        sadtalker_bytes(own, "clip")


def test_a_mat_file_holds_no_time_of_day() -> None:
    data = mat_bytes({"b": np.ones((2, 3), np.float32), "a": np.zeros((1, 1))})
    assert data[:116].rstrip() == b"MATLAB 5.0 MAT-file"
    assert data == mat_bytes({"a": np.zeros((1, 1)), "b": np.ones((2, 3), np.float32)})
    assert load(data)["b"].tolist() == [[1, 1, 1], [1, 1, 1]]
