from dataclasses import replace

import numpy as np

from dimitra.morphable import open_head
from dimitra.sample.appearance import make_look
from dimitra.sample.hair import make_hair
from dimitra.sample.surfaces import CLOTH, EYE, HAIR, SKIN, TEETH, make_surfaces


def test_arrays_fit_each_other_for_every_hair():
    model = open_head.load()
    look = make_look(model, "f", np.random.default_rng(0))
    seen = set()
    for seed in range(30):
        for gender in "fm":
            hair = make_hair(model, gender, (0.2, 0.1, 0.1), np.random.default_rng(seed))
            if hair.style in seen:
                continue
            seen.add(hair.style)
            surfaces = make_surfaces(model, replace(look, hair=hair), gender)
            count = len(model.mean) + len(surfaces.hair_source) + len(surfaces.curtain)
            assert len(surfaces.albedo) == len(surfaces.gloss) == count + len(surfaces.body)
            assert surfaces.triangles.max() < len(surfaces.albedo)
            faces = len(surfaces.triangles)
            assert surfaces.material.shape == (faces,)
            assert surfaces.corner_uv.shape == (faces, 3, 2)
            textured = surfaces.material <= CLOTH
            assert surfaces.corner_uv[textured].min() >= 0
            assert surfaces.corner_uv[textured].max() <= 1
            present = {SKIN, CLOTH, EYE, TEETH} | (
                set() if hair.style in ("bald", "scarf", "beanie") else {HAIR}
            )
            assert present <= set(surfaces.material)
    assert len(seen) >= 6
