"""The reader of the Basel Face Model, on synthetic files of the same keys and shapes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.io import savemat

from dimitra.morphable import bfm
from dimitra.morphable.alignment import five_points
from dimitra.morphable.camera import aligned_to_crop, project, to_camera
from dimitra.morphable.fit import fit_clip
from dimitra.morphable.model import vertex_normals
from tests.morphable.bfm_file import bfm_contents

_SIZE = 400


def _write(folder: Path, contents: dict[str, NDArray[Any]]) -> Path:
    path = folder / "BFM_model_front.mat"
    savemat(path, contents)
    return path


@pytest.fixture(scope="module")
def contents() -> dict[str, NDArray[Any]]:
    return bfm_contents(_SIZE)


@pytest.fixture(scope="module")
def path(contents: dict[str, NDArray[Any]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _write(tmp_path_factory.mktemp("bfm"), contents)


def test_vertices_are_dengs_matrix_products(contents: dict[str, NDArray[Any]], path: Path) -> None:
    model = bfm.read(path)
    generator = torch.Generator().manual_seed(0)
    identity = torch.randn(3, 80, generator=generator)
    expression = torch.randn(3, 64, generator=generator)
    mean = contents["meanshape"].reshape(-1, 3).astype(np.float64)
    flat = (mean - mean.mean(axis=0)).ravel()
    flat = (
        flat + identity.numpy() @ contents["idBase"].T + expression.numpy() @ contents["exBase"].T
    )
    expected = flat.reshape(3, _SIZE, 3)
    assert np.allclose(model.vertices(identity, expression).numpy(), expected, atol=1e-5)
    points = contents["keypoints"].astype(int).ravel() - 1
    assert np.allclose(model.landmarks(identity, expression), expected[:, points], atol=1e-5)
    assert five_points(model.mean[model.landmarks_68]).shape == (5, 3)


def test_colours_are_dengs(contents: dict[str, NDArray[Any]], path: Path) -> None:
    model = bfm.read(path)
    texture = torch.randn(2, 80, generator=torch.Generator().manual_seed(1))
    expected = contents["meantex"] + texture.numpy() @ contents["texBase"].T
    albedo = model.albedo(texture)
    assert np.allclose(albedo.numpy(), expected.reshape(2, -1, 3) / 255, atol=1e-5)
    normals = vertex_normals(model.mean, model.triangles).expand(2, -1, 3)
    grey = model.colours(texture, torch.zeros(2, 27), normals)
    assert torch.allclose(grey, albedo * 0.8 * np.pi / np.sqrt(4 * np.pi), atol=1e-5)


def test_mesh_faces_the_camera_either_way_round(
    contents: dict[str, NDArray[Any]], tmp_path: Path, path: Path
) -> None:
    turned = {**contents, "tri": contents["tri"][:, ::-1].copy()}
    for model in (bfm.read(path), bfm.read(_write(tmp_path, turned))):
        assert vertex_normals(model.mean, model.triangles)[:, 2].mean() > 0.3
        assert model.triangles.min() >= 0
        assert model.triangles.max() < _SIZE


def test_description(contents: dict[str, NDArray[Any]], path: Path) -> None:
    model = bfm.read(path)
    assert model.name == "bfm"
    assert model.mouth_indices == (0, 1, 2, 3, 4, 5, 7, 9, 10, 11, 12, 13, 14)
    assert np.array_equal(model.part("skin").numpy(), contents["skinmask"].ravel() == 1)
    assert float(model.mean.mean(dim=0).abs().max()) < 1e-6
    assert model.uv.shape == (_SIZE, 2)
    assert 0 <= float(model.uv.min()) < float(model.uv.max()) <= 1
    assert model.unit_names == ()
    assert model.units_to_expression is None


def test_landmarks_are_differentiable(path: Path) -> None:
    model = bfm.read(path)
    values = [torch.zeros(2, size, requires_grad=True) for size in (80, 64, 6)]
    points = project(to_camera(model.landmarks(values[0], values[1]), values[2]))
    points.square().sum().backward()
    for value in values:
        assert value.grad is not None
        assert (value.grad != 0).any()


def test_full_size(tmp_path: Path) -> None:
    model = bfm.read(_write(tmp_path, bfm_contents(bfm.FULL_VERTICES)))
    assert model.mean.shape == (35_709, 3)
    assert model.vertices(torch.zeros(2, 80), torch.zeros(2, 64)).shape == (2, 35_709, 3)


def test_vectors_may_be_columns(
    contents: dict[str, NDArray[Any]], tmp_path: Path, path: Path
) -> None:
    keys = ("meanshape", "meantex", "keypoints", "skinmask")
    columns = {**contents, **{key: contents[key].T for key in keys}}
    assert torch.equal(bfm.read(_write(tmp_path, columns)).mean, bfm.read(path).mean)


@pytest.mark.parametrize("key", ["meanshape", "exBase", "tri", "keypoints", "skinmask"])
def test_a_missing_key_is_named(
    contents: dict[str, NDArray[Any]], tmp_path: Path, key: str
) -> None:
    rest = {name: value for name, value in contents.items() if name != key}
    with pytest.raises(bfm.FaceModelFileError, match=rf"BFM_model_front.mat: keys \['{key}'\]"):
        bfm.read(_write(tmp_path, rest))


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("idBase", np.zeros((1200, 79)), r"idBase has shape \[1200, 79\], expected \[1200, 80\]"),
        ("exBase", np.zeros((1197, 64)), r"exBase has shape \[1197, 64\], expected \[1200, 64\]"),
        ("texBase", np.zeros((80, 1200)), r"texBase has shape \[80, 1200\]"),
        ("meanshape", np.zeros((1, 1201)), r"meanshape has shape \[1, 1201\], expected \[1, 3 V\]"),
        ("meantex", np.zeros((1, 1197)), r"meantex has shape \[1, 1197\], expected \[1, 1200\]"),
        ("tri", np.ones((10, 4)), r"tri has shape \[10, 4\], expected \[F, 3\]"),
        ("keypoints", np.ones((1, 51)), r"keypoints has shape \[1, 51\], expected \[1, 68\]"),
        ("keypoints", np.full((1, 68), 401.0), "keypoints has values from 401 to 401, .* 1 to 400"),
        ("tri", np.zeros((10, 3)), "tri has values from 0 to 0"),
        ("tri", np.full((10, 3), 1.5), "whole vertex numbers"),
        ("exBase", np.full((1200, 64), np.nan), "exBase has values that are not finite"),
        ("tri", np.array([["a", "b", "c"]], dtype=object), "tri holds object, expected numbers"),
    ],
)
def test_a_wrong_array_is_named(
    contents: dict[str, NDArray[Any]],
    tmp_path: Path,
    key: str,
    value: NDArray[Any],
    message: str,
) -> None:
    with pytest.raises(bfm.FaceModelFileError, match=message):
        bfm.read(_write(tmp_path, {**contents, key: value}))


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="University of Basel"):
        bfm.read(tmp_path / "BFM_model_front.mat")
    text = tmp_path / "text.mat"
    text.write_bytes(b"not a matlab file" * 40)
    with pytest.raises(bfm.FaceModelFileError, match=r"text.mat: not a MATLAB 5 file"):
        bfm.read(text)
    empty = tmp_path / "empty.mat"
    empty.write_bytes(b"")
    with pytest.raises(bfm.FaceModelFileError, match=r"empty.mat"):
        bfm.read(empty)


def test_the_landmark_fit_takes_this_model_too(path: Path) -> None:
    model = bfm.read(path)
    generator = torch.Generator().manual_seed(0)
    pose = torch.zeros(20, 6)
    pose[:, 1] = torch.linspace(-0.2, 0.2, 20)
    shape = model.landmarks(
        torch.randn(80, generator=generator), torch.randn(64, generator=generator)
    )
    crop = torch.tensor([0.9, 128.0, 128.0]).expand(20, 3)
    fitted = fit_clip(model, aligned_to_crop(project(to_camera(shape, pose)), crop))
    assert fitted.residual_px.mean() < 0.6
    assert (fitted.pose[:, 1] - pose[:, 1]).abs().max() < 0.04
