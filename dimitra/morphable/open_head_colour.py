"""Colours of the open head: mean and 80 linear modes, one colour per vertex.

MakeHuman's package has no photographs, so the modes are designed rather than learned:

* 0 to 2: skin lightness, redness and yellowness, the axes of skin tone (melanin and blood);
* 3 to 26: lightness, redness and yellowness of lips, brows, scalp, irises, sclera, teeth,
  eyelids and cheeks;
* 27 to 79: smooth lightness, redness and yellowness patterns over the head, the lowest
  eigenvectors of the mesh Laplacian, with amplitudes that fall with spatial frequency.
"""

from __future__ import annotations

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import eigsh

from dimitra.morphable.makehuman import Floats, Integers
from dimitra.morphable.open_head_mesh import PART_NAMES, HeadMesh

TEXTURE = 80
_AMBIENT_LIGHT = 0.709
"""Light of zero illumination coefficients; albedo is displayed colour over it."""

_DISPLAYED = {
    "skin": (0.80, 0.60, 0.50),
    "lips": (0.70, 0.38, 0.36),
    "lashes": (0.10, 0.07, 0.06),
    "eyelids": (0.72, 0.52, 0.44),
    "brows": (0.28, 0.20, 0.16),
    "ears": (0.80, 0.58, 0.49),
    "scalp": (0.30, 0.22, 0.17),
    "neck": (0.78, 0.58, 0.48),
    "mouth_interior": (0.16, 0.06, 0.06),
    "upper_teeth": (0.88, 0.86, 0.80),
    "lower_teeth": (0.84, 0.82, 0.76),
    "tongue": (0.42, 0.18, 0.18),
    "sclera": (0.90, 0.89, 0.87),
    "iris": (0.34, 0.26, 0.20),
    "pupil": (0.03, 0.03, 0.03),
}
_AXES = np.array([[1.0, 0.95, 0.9], [0.6, -0.5, -0.4], [0.4, 0.2, -0.8]])
"""Lightness, redness and yellowness as directions in sRGB."""
_SKIN_STD = (0.13, 0.025, 0.025)
_REGIONS = (
    (("lips",), (0.06, 0.04, 0.02)),
    (("brows",), (0.12, 0.03, 0.03)),
    (("scalp",), (0.15, 0.04, 0.04)),
    (("iris",), (0.10, 0.04, 0.08)),
    (("sclera",), (0.04, 0.02, 0.02)),
    (("upper_teeth", "lower_teeth"), (0.05, 0.01, 0.04)),
    (("eyelids",), (0.06, 0.03, 0.03)),
)
_CHEEK_STD = (0.02, 0.02, 0.01)


def _laplacian_modes(triangles: Integers, chosen: Floats, count: int) -> Floats:
    """Lowest non-constant eigenvectors of the graph Laplacian over some vertices.

    Returns:
        [count, V], unit root mean square over the chosen vertices, zero elsewhere.
    """
    inside = np.flatnonzero(chosen)
    number = np.full(len(chosen), -1)
    number[inside] = np.arange(len(inside))
    faces = number[triangles]
    faces = faces[(faces >= 0).all(axis=1)]
    pairs = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    pairs = np.concatenate([pairs, pairs[:, ::-1]])
    size = len(inside)
    adjacency = sparse.coo_array((np.ones(len(pairs)), pairs.T), shape=(size, size)).tocsr()
    adjacency.data[:] = 1.0
    laplacian = sparse.diags_array(np.asarray(adjacency.sum(axis=1))) - adjacency
    start = np.cos(np.arange(size, dtype=np.float64))
    _, vectors = eigsh(laplacian.tocsc(), k=count + 1, sigma=-1e-3, v0=start)
    vectors = vectors[:, 1:].T
    signs = np.sign(vectors[np.arange(count), np.abs(vectors).argmax(axis=1)])
    modes = np.zeros((count, len(chosen)))
    modes[:, inside] = vectors * signs[:, None] * np.sqrt(size)
    return modes


def build(head: HeadMesh) -> tuple[Floats, Floats]:
    """Mean colours [V, 3] and modes [80, V, 3] scaled by standard deviation, sRGB albedo."""

    def region(*names: str) -> Floats:
        return np.isin(head.parts, [PART_NAMES.index(name) for name in names]).astype(np.float64)

    mean = np.array([_DISPLAYED[name] for name in PART_NAMES])[head.parts]
    skin = region("skin", "eyelids", "ears", "neck") + 0.6 * region("lips", "scalp", "brows")
    modes = [np.outer(skin, axis * std) for axis, std in zip(_AXES, _SKIN_STD, strict=True)]
    for names, stds in _REGIONS:
        modes += [
            np.outer(region(*names), axis * std) for axis, std in zip(_AXES, stds, strict=True)
        ]
    x, y, _ = head.mean.T
    cheeks = region("skin") * np.exp(-((np.abs(x) - 0.4) ** 2 + (y + 0.02) ** 2) / 0.04)
    modes += [np.outer(cheeks, axis * std) for axis, std in zip(_AXES, _CHEEK_STD, strict=True)]

    outside = region("skin", "lips", "eyelids", "lashes", "brows", "ears", "scalp", "neck")
    left = TEXTURE - len(modes)
    patterns = _laplacian_modes(head.triangles, outside, -(-left // 3))
    for index, pattern in enumerate(patterns):
        amplitude = 0.014 / np.sqrt(1 + index)
        modes += [
            np.outer(pattern, axis * amplitude * share)
            for axis, share in zip(_AXES, (1.0, 0.4, 0.3), strict=True)
        ]
    return mean / _AMBIENT_LIGHT, np.stack(modes[:TEXTURE]) / _AMBIENT_LIGHT
