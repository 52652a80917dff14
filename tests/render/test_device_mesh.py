"""The mesh renderer in torch draws the frames of the compiled one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from skimage.data import astronaut

from dimitra.morphable import open_head
from dimitra.morphable.camera import DISTANCE, FOCAL_PX
from dimitra.morphable.model import FaceModel
from dimitra.render.device_mesh import DeviceError, DeviceMeshRenderer, mesh_renderer
from dimitra.render.mesh import MeshRenderer, freeze_pose
from dimitra.render.reference import resize_reference
from dimitra.sample.heads import draw_heads
from tests.render.test_mesh import units

SIZE = 256
CROP = np.array([0.95, 128.0, 136.0], np.float32)
"""Deng's alignment of the astronaut's face in its 256 px crop."""


@dataclass(frozen=True)
class Person:
    """A photo, who it shows, and how."""

    photo: NDArray[np.uint8]
    identity: NDArray[np.float32]
    crop: NDArray[np.float32]
    reference: NDArray[np.float32]

    def at(self, size: int) -> Person:
        photo, crop = resize_reference(self.photo, self.crop, size)
        return Person(photo, self.identity, crop, self.reference)

    def frames(
        self, renderer: MeshRenderer | DeviceMeshRenderer, motion: NDArray[np.float32]
    ) -> NDArray[np.uint8]:
        drawn = renderer.render(self.photo, self.identity, self.crop, self.reference, motion)
        return np.stack(list(drawn))


@pytest.fixture(scope="module")
def model() -> FaceModel:
    return open_head.load()


@pytest.fixture(scope="module")
def compiled(model: FaceModel) -> MeshRenderer:
    return MeshRenderer(model)


@pytest.fixture(scope="module")
def people(model: FaceModel, compiled: MeshRenderer) -> dict[str, Person]:
    """A smile; the same face with its mouth open, and with its eyes shut; and a drawn head."""
    photo = np.ascontiguousarray(astronaut()[0:SIZE, 96 : 96 + SIZE])
    smile = Person(photo, np.zeros(80, np.float32), CROP, np.zeros(70, np.float32))
    found = {"smile": smile}
    for name, change in (
        ("gaping", units(model, jawOpen=0.5)),
        ("asleep", units(model, eyeBlinkLeft=0.9, eyeBlinkRight=0.9)),
    ):
        reference = smile.reference.copy()
        reference[:64] += change
        (picture,) = smile.frames(compiled, reference[None])
        found[name] = Person(picture, smile.identity, CROP, reference)
    heads = draw_heads(model, 1, 2, 1, SIZE)
    crop = np.array([FOCAL_PX / DISTANCE / heads.scale[0], *heads.origin[0]], np.float32)
    crop[2] = SIZE - crop[2]
    reference = np.concatenate([heads.expression[0], heads.angles[0], np.zeros(3, np.float32)])
    found["drawn"] = Person(heads.images[0], heads.identity[0], crop, reference)
    return found


def moves(model: FaceModel, person: Person) -> NDArray[np.float32]:
    """Motion [6, 70]: mouth open and pursed, eyes shut and wide, head turned, all at once."""
    motion = np.tile(person.reference, (6, 1))
    for row, activations in enumerate(
        (
            {"jawOpen": 0.6},
            {"mouthPucker": 0.8, "jawOpen": 0.1},
            {"eyeBlinkLeft": 0.8, "eyeBlinkRight": 0.7},
            {"eyeWideLeft": 0.9, "eyeWideRight": 0.9, "browInnerUp": 0.5},
            {"mouthClose": 0.2},
            {"jawOpen": 0.3, "eyeBlinkLeft": 0.4, "mouthSmileRight": 0.7},
        )
    ):
        motion[row, :64] += units(model, **activations)
    motion[3:, 64:67] += [[0.1, -0.15, 0.05], [-0.1, 0.4, 0.0], [0.15, -0.3, -0.2]]
    motion[5, 67:] += [0.1, -0.05, 0.2]
    return motion


def apart(found: NDArray[np.uint8], wanted: NDArray[np.uint8]) -> tuple[float, float, float]:
    """Share of pixels that differ, share that differ by more than 2 levels, worst PSNR in dB."""
    levels = np.abs(found.astype(int) - wanted).max(axis=-1)
    error = ((found.astype(float) - wanted) ** 2).mean(axis=(1, 2, 3)).max()
    return (
        float((levels > 0).mean()),
        float((levels > 2).mean()),
        float(10.0 * np.log10(255.0**2 / max(error, 1e-9))),
    )


@pytest.mark.parametrize(
    ("name", "size", "rows"),
    [
        ("smile", 128, slice(None)),
        ("gaping", 128, slice(None)),
        ("asleep", 128, slice(None)),
        ("drawn", 128, slice(None)),
        ("smile", 256, slice(0, 6, 2)),
        ("drawn", 256, slice(1, 6, 2)),
        ("gaping", 512, slice(4, 6)),
    ],
)
def test_frames_are_the_compiled_renderers(
    model: FaceModel,
    compiled: MeshRenderer,
    people: dict[str, Person],
    name: str,
    size: int,
    rows: slice,
) -> None:
    person = people[name].at(size)
    motion = moves(model, person)[rows]
    motion = np.concatenate([motion, freeze_pose(motion, person.reference)[-1:]])
    wanted = person.frames(compiled, motion)
    found = person.frames(DeviceMeshRenderer(model, "cpu"), motion)
    assert found.shape == (len(motion), size, size, 3)
    assert found.dtype == np.uint8
    differ, much, psnr_db = apart(found, wanted)
    assert differ < 1e-3  # where a rounded vertex falls on the other side of a sample
    assert much < 1e-4
    assert psnr_db > 65.0
    assert np.abs(found[0].astype(float) - found[1]).mean() > 0.2  # it does move


def test_a_frame_depends_neither_on_the_batch_nor_on_the_others(
    model: FaceModel, people: dict[str, Person]
) -> None:
    person = people["smile"].at(64)
    motion = np.concatenate([moves(model, person)] * 6)[:34]  # more than a block
    one, sixteen = (
        person.frames(DeviceMeshRenderer(model, "cpu", batch), motion) for batch in (1, 16)
    )
    np.testing.assert_array_equal(one, sixteen)
    alone = person.frames(DeviceMeshRenderer(model, "cpu"), motion[33:])
    np.testing.assert_array_equal(alone[0], sixteen[33])


def test_no_motion_is_no_frames_and_bad_motion_is_refused(
    model: FaceModel, people: dict[str, Person]
) -> None:
    person, renderer = people["smile"].at(64), DeviceMeshRenderer(model, "cpu")
    drawn = renderer.render(
        person.photo, person.identity, person.crop, person.reference, np.zeros((0, 70), np.float32)
    )
    assert list(drawn) == []
    with pytest.raises(ValueError, match=r"\[T, 70\]"):
        person.frames(renderer, np.zeros((1, 64), np.float32))
    lost = np.full((1, 70), np.nan, np.float32)
    with pytest.raises(ValueError, match="finite coordinates"):
        person.frames(renderer, lost)
    with pytest.raises(ValueError, match="a batch of 0 frames"):
        DeviceMeshRenderer(model, "cpu", 0)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_told(model: FaceModel) -> None:
    assert isinstance(mesh_renderer(model, "cpu"), MeshRenderer)
    with pytest.raises(DeviceError, match=r"sees no GPU; use cpu \(render\.device\)"):
        mesh_renderer(model, "cuda")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("size", [128, 256, 512])
@pytest.mark.parametrize("name", ["smile", "gaping", "asleep", "drawn"])
def test_a_gpu_draws_the_compiled_renderers_frames(
    model: FaceModel, compiled: MeshRenderer, people: dict[str, Person], name: str, size: int
) -> None:
    person = people[name].at(size)
    motion = moves(model, person)
    on_gpu = mesh_renderer(model, "cuda")
    found = person.frames(on_gpu, motion)
    _, much, psnr_db = apart(found, person.frames(compiled, motion))
    assert much < 0.01
    assert psnr_db > 45.0
    np.testing.assert_array_equal(person.frames(on_gpu, motion), found)
    for batch in (1, 16):
        np.testing.assert_array_equal(
            person.frames(DeviceMeshRenderer(model, "cuda", batch), motion), found
        )
