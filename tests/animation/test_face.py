from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from skimage import data

from dimitra.animation.errors import AnimationError
from dimitra.animation.face import FaceFinder
from dimitra.animation.likeness import check_view, read_likeness
from dimitra.animation.settings import Settings, read_settings
from dimitra.assets import MissingAssetError
from dimitra.faces.mediapipe import missing_packages
from dimitra.morphable import open_head
from dimitra.morphable.residual import distance_px, inner_landmarks
from tests.animation.toy import SAMPLE, photo

HEAD = (slice(16, 194), slice(138, 316))
"""Of the photo."""


@pytest.fixture(scope="module")
def settings() -> Settings:
    return read_settings(SAMPLE)


@pytest.fixture(scope="module")
def finder(settings: Settings) -> FaceFinder:
    return FaceFinder(settings.crop)


def resized(size: tuple[int, int]) -> NDArray[np.uint8]:
    return np.asarray(Image.fromarray(photo()).resize(size), np.uint8)


def silent(_: str) -> None:
    raise AssertionError("nothing is to be said")


@pytest.mark.parametrize("side", [256, 512, 2000])
def test_the_face_is_found_at_any_size(finder: FaceFinder, side: int) -> None:
    told: list[str] = []
    face = finder.find(resized((side, side)), 256, "photo", told.append)
    assert face.picture.shape == (256, 256, 3)
    middle = (np.array([face.box.x, face.box.y]) + face.box.side / 2) / side
    assert np.abs(middle - np.array([227, 105]) / 512).max() < 0.02
    assert bool(told) == (side == 256)  # its head is 90 pixels wide


def test_the_largest_of_several_faces(finder: FaceFinder) -> None:
    pair = np.full((512, 900, 3), 190, np.uint8)
    pair[:, :512] = photo()
    pair[100 : 100 + 256, 600 : 600 + 256] = resized((256, 256))
    told: list[str] = []
    face = finder.find(pair, 256, "two.png", told.append)
    assert face.box.x < 300
    assert len(told) == 1
    assert told[0].startswith("two.png shows 2 faces; the largest is animated, around column 22")


@pytest.mark.parametrize(("large", "small"), [(20, 700), (560, 60)])
def test_a_badge_is_no_face(finder: FaceFinder, large: int, small: int) -> None:
    """dlib takes the smaller suit's badge for a face at the size at which it finds both heads."""
    pair = np.full((560, 1100, 3), (120, 130, 140), np.uint8)
    pair[30:542, large : large + 512] = photo()
    pair[150 : 150 + 307, small : small + 307] = resized((307, 307))
    told: list[str] = []
    face = finder.find(pair, 128, "two.png", told.append)
    assert abs(face.box.x - large - HEAD[1].start) <= 2
    assert [notice[: len("two.png shows 2 faces")] for notice in told] == ["two.png shows 2 faces"]


def test_a_small_face_beside_a_large_one_is_told(finder: FaceFinder) -> None:
    """In the copy in which the large one is found, the other has no 80 pixels."""
    pair = np.full((400, 700, 3), 190, np.uint8)
    pair[:360, :360] = np.asarray(Image.fromarray(photo()[HEAD]).resize((360, 360)))
    pair[100:316, 420:636] = np.asarray(Image.fromarray(photo()[HEAD]).resize((216, 216)))
    told: list[str] = []
    face = finder.find(pair, 128, "two.png", told.append)
    assert face.box.x < 180
    assert [notice[: len("two.png shows 2 faces")] for notice in told] == ["two.png shows 2 faces"]


def test_no_face(finder: FaceFinder) -> None:
    with pytest.raises(AnimationError, match=r"no face is found in wall.png; .* looks at the cam"):
        finder.find(np.full((300, 300, 3), 127, np.uint8), 256, "wall.png", silent)


def test_a_face_that_the_border_cuts(finder: FaceFinder) -> None:
    with pytest.raises(AnimationError, match=r"the border of half.png cuts the face"):
        finder.find(photo()[:150], 256, "half.png", silent)


def test_a_tiny_face(finder: FaceFinder) -> None:
    with pytest.raises(AnimationError, match=r"small.png is \d\d pixels wide, need at least 48"):
        finder.find(resized((120, 120)), 256, "small.png", silent)


def test_a_profile_is_refused_and_a_turned_head_told() -> None:
    check_view(-20.0, "a.png", silent)
    told: list[str] = []
    check_view(-30.0, "a.png", told.append)
    assert told[0].startswith("the head in a.png is turned by 30 degrees")
    with pytest.raises(
        AnimationError, match=r"a.png shows the face in profile \(turned by 60 degrees, the limit i"
    ):
        check_view(60.0, "a.png", silent)


@pytest.mark.skipif(bool(missing_packages()), reason="MediaPipe's system libraries are missing")
def test_a_photo_from_the_side(finder: FaceFinder, settings: Settings) -> None:
    side = np.repeat(data.camera()[..., None], 3, axis=2)  # CC0; in scikit-image's wheel
    face = finder.find(side, 128, "side.png", silent)
    with pytest.raises(AnimationError, match=r"side.png shows the face in profile \(turned by \d"):
        read_likeness(face, side, settings, "side.png", silent)


@pytest.mark.parametrize("mesh", [True, False])
def test_the_face_model_lies_on_the_photo(
    finder: FaceFinder, settings: Settings, mesh: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if mesh and missing_packages():
        pytest.skip("MediaPipe's system libraries are missing")
    if not mesh:

        def missing(name: str) -> Path:
            raise MissingAssetError(f"asset {name} is not here")

        monkeypatch.setattr("dimitra.animation.likeness.asset_path", missing)
    told: list[str] = []
    face = finder.find(photo(), 256, "photo", silent)
    found = read_likeness(face, photo(), settings, "photo", told.append)
    assert bool(told) != mesh
    if told:
        assert "68 landmarks in place of MediaPipe's 478" in told[0]
    import torch

    values = [torch.from_numpy(v) for v in (found.identity, found.motion, found.crop)]
    points = inner_landmarks(
        open_head.load(), values[0], values[1][None, :64], values[1][None, 64:], values[2][None]
    )
    assert float(distance_px(points, torch.from_numpy(face.landmarks[None]))) < 3.0
    assert np.abs(np.degrees(found.motion[64:67])).max() < 10.0
    assert np.allclose(found.at(2.0), found.crop * [0.5, 2.0, 2.0])


def test_a_face_that_the_model_does_not_explain(finder: FaceFinder, settings: Settings) -> None:
    strict = replace(settings, fit=replace(settings.fit, max_residual_px=0.01))
    face = finder.find(photo(), 256, "photo", silent)
    with pytest.raises(AnimationError, match=r"the face in a.png cannot be read: its landmarks"):
        read_likeness(face, photo(), strict, "a.png", lambda _: None)
