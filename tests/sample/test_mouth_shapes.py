"""Mouth shapes a lip reader would accept, measured on the mesh and on what the camera sees."""

import numpy as np
import pytest
import torch

from dimitra.morphable import open_head
from dimitra.morphable.camera import DISTANCE, FOCAL_PX, rotation
from dimitra.render.rasterizer import rasterize
from dimitra.sample.landmark_map import random_units
from dimitra.sample.motion import frame_times
from dimitra.sample.phones import Span
from dimitra.sample.visemes import mouth_curves

MODEL = open_head.load()
NAMES = MODEL.unit_names
UNITS = MODEL.units_to_expression.numpy()
TRIANGLES = MODEL.triangles.numpy()
UPPER, LOWER = (MODEL.part(name).numpy() for name in ("upper_teeth", "lower_teeth"))
INNER = MODEL.part("upper_teeth", "lower_teeth", "tongue", "mouth_interior").numpy()
SCALE = 4


def _expression(units: dict[str, float]) -> np.ndarray:
    row = np.zeros(len(NAMES), np.float32)
    for name, value in units.items():
        for side in ("", "Left", "Right"):
            if name + side in NAMES:
                row[NAMES.index(name + side)] = value
    return row @ UNITS


def _spoken(phone: str) -> np.ndarray:
    """Expression in the middle of a phone between two others."""
    ends = np.cumsum([0.5, 0.12, 0.2, 0.12, 0.3])
    labels = ("SIL", "T", phone, "T", "SIL")
    spans = [
        Span(n, b - a, b) for n, a, b in zip(labels, np.diff(ends, prepend=0), ends, strict=True)
    ]
    times = frame_times(1.24)
    curves = mouth_curves(spans, times, np.full(len(times), 0.6))
    middle = int(np.argmin(np.abs(times - 0.72)))
    return _expression({name: float(curve[middle]) for name, curve in curves.items()})


def _people(count: int) -> list[np.ndarray]:
    generator = np.random.default_rng(4)
    drawn = np.clip(generator.standard_normal((count, 80)), -2.2, 2.2) * 0.7
    return [np.zeros(80, np.float32), *drawn.astype(np.float32)]


def _vertices(identity: np.ndarray, expression: np.ndarray) -> np.ndarray:
    return MODEL.vertices(torch.from_numpy(identity), torch.from_numpy(expression)).numpy()


def _seen(vertices: np.ndarray, yaw: float = 0.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pixels of upper teeth, of lower teeth, and of outer skin that faces the camera."""
    turn = rotation(torch.tensor([0.0, yaw, 0.0])).numpy()
    x, y, z = (vertices @ turn.T).T
    focal = SCALE * FOCAL_PX / (DISTANCE - z)
    points = np.stack([focal * x + 320, 230 - focal * (y + 0.1), DISTANCE - z], 1)
    whole = rasterize(points, TRIANGLES, 640, 640)
    outside = rasterize(points, TRIANGLES[(~INNER)[TRIANGLES].any(1)], 640, 640, cull=-1)
    parts = [np.zeros((640, 640), bool) for _ in range(2)]
    for mask, teeth in zip(parts, (UPPER, LOWER), strict=True):
        mask[whole.covered] = teeth[TRIANGLES].all(1)[whole.face[whole.covered]]
    return parts[0], parts[1], outside.covered


def _lips(vertices: np.ndarray) -> dict[str, float]:
    points = vertices[MODEL.landmarks_68.numpy()]
    return {
        "gap": float(points[62, 1] - points[66, 1]),
        "width": float(np.linalg.norm(points[48] - points[54])),
        "forward": float(points[[51, 57], 2].mean()),
    }


@pytest.mark.parametrize("phone", ["P", "B", "M"])
def test_lips_meet(phone):
    for person in _people(6):
        assert abs(_lips(_vertices(person, _spoken(phone)))["gap"]) < 0.02  # 2 mm, lips overlap
        upper, lower, _ = _seen(_vertices(person, _spoken(phone)))
        assert upper.sum() + lower.sum() < 4 * SCALE**2  # slivers at the corners: 4 px of 224


def _lower_lip() -> np.ndarray:
    """Triangles of the lower lip's middle: of the parts of the mouth, those the jaw carries."""
    jaw = (_expression({"jawOpen": 1.0}) @ MODEL.expression_basis.numpy().reshape(64, -1)).reshape(
        -1, 3
    )
    mean = MODEL.mean.numpy()
    lip = MODEL.part("lips", "mouth_interior").numpy() & (jaw[:, 1] < -0.15)
    lip &= (mean[:, 2] > 0.1) & (np.abs(mean[:, 0]) < 0.13)
    return TRIANGLES[lip[TRIANGLES].all(1)]


@pytest.mark.parametrize("phone", ["F", "V"])
def test_the_lower_lip_touches_the_upper_teeth(phone):
    mean = MODEL.mean.numpy()
    edge = np.flatnonzero(UPPER & (np.abs(mean[:, 0]) < 0.1) & (mean[:, 1] < -0.38))
    assert len(edge) == 3
    steps = [(i, j, 6 - i - j) for i in range(7) for j in range(7 - i)]
    weights, lip = np.array(steps) / 6, _lower_lip()
    for person in _people(12):
        head = _vertices(person, _spoken(phone))
        surface = np.einsum("wk,fkc->fwc", weights, head[lip]).reshape(-1, 3)
        distance = np.linalg.norm(surface[:, None] - head[edge], axis=-1).min(0)
        assert distance.mean() < 0.03  # 3 mm
        for tooth in head[edge]:  # the lip's rim hides the edge: no dark gap between them
            rim = surface[np.abs(surface[:, 0] - tooth[0]) < 0.02, 1].max()
            assert rim > tooth[1] + 0.005
        upper, lower, _ = _seen(head)
        assert upper.sum() > 300
        assert lower.sum() < 0.06 * upper.sum()


def test_rounded_and_open_vowels():
    rest = _lips(_vertices(np.zeros(80, np.float32), np.zeros(64, np.float32)))
    for person in _people(6):
        lips = {
            p: _lips(_vertices(person, _spoken(p))) for p in ("W", "UW", "OW", "AA", "IY", "SH")
        }
        for phone in ("W", "UW", "OW", "SH"):
            assert lips[phone]["width"] < 0.86 * lips["IY"]["width"]
            assert lips[phone]["forward"] > lips["IY"]["forward"] + 0.012
        for phone in ("W", "UW"):
            assert lips[phone]["forward"] > lips["IY"]["forward"] + 0.05
            assert lips[phone]["gap"] < 0.10
        assert 0.0 < lips["UW"]["gap"] < lips["OW"]["gap"] < lips["AA"]["gap"]
        assert lips["UW"]["width"] / lips["UW"]["gap"] < 6
    assert rest["gap"] < 0.03


@pytest.mark.parametrize("phone", ["IY", "EH", "S", "AE", "AA"])
def test_upper_teeth_show_and_lower_ones_hardly(phone):
    for person in _people(4):
        upper, lower, _ = _seen(_vertices(person, _spoken(phone)))
        assert upper.sum() > 500
        if phone == "AA":
            assert lower.sum() < 0.4 * upper.sum()


def test_rows_of_teeth_nearly_meet_for_s_and_sh():
    mean = MODEL.mean.numpy()
    front = np.abs(mean[:, 0]) < 0.02
    for phone in ("S", "SH"):
        head = _vertices(np.zeros(80, np.float32), _spoken(phone))
        assert head[UPPER & front, 1].min() - head[LOWER & front, 1].max() < 0.05


def test_teeth_stay_behind_the_lips():
    generator = np.random.default_rng(0)
    faces = random_units(NAMES, 40, generator)
    for person, units in zip(_people(39), faces, strict=True):
        upper, lower, outside = _seen(
            _vertices(person, units @ UNITS), float(generator.normal(0, 0.2))
        )
        through = ((upper | lower) & outside).sum()
        assert through <= 0.01 * (upper | lower).sum()


@pytest.mark.parametrize("unit", [n for n in NAMES if n.startswith(("mouth", "jaw"))])
def test_no_unit_alone_pushes_teeth_through_skin(unit):
    upper, lower, outside = _seen(
        _vertices(np.zeros(80, np.float32), UNITS[NAMES.index(unit)]), 0.3
    )
    assert not ((upper | lower) & outside).any()
