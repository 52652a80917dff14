"""Making one clip of the sample corpus: pictures, video file and truth."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from dimitra.media.mp4 import encode_mp4
from dimitra.morphable import open_head
from dimitra.sample.appearance import make_look, wall_image
from dimitra.sample.corpus import SEED, ClipPlan, SpokenClip, move_clip
from dimitra.sample.motion import FPS
from dimitra.sample.scene import ClipCamera, frames, turn_about_neck
from dimitra.sample.truth import write_truth
from dimitra.sample.voices import SAMPLE_RATE_HZ
from dimitra.seeds import clip_seed

CRF = {"chorus": 21, "lecture": 23}
"""Quality of the encoding: what keeps the whole corpus near 25 MB."""


def _generator(plan: ClipPlan, *names: str) -> np.random.Generator:
    return np.random.default_rng(clip_seed(SEED, plan.dataset, *names))


def _camera(plan: ClipPlan, generator: np.random.Generator) -> ClipCamera:
    """Deng's camera for the clip's frame, seen from a little further away and off centre."""
    focal = plan.size * 1015 / 224 * float(generator.uniform(0.62, 0.72))
    across, down = generator.uniform(0.47, 0.53), generator.uniform(0.46, 0.50)
    return ClipCamera(focal, (plan.size * float(across), plan.size * float(down)), plan.size)


def make_clip(spoken: SpokenClip, root: Path) -> int:
    """Draw, encode and write one clip and its truth.

    Args:
        spoken: the clip's sound.
        root: where ``datasets`` and ``truth`` lie.

    Returns:
        Number of frames.

    Raises:
        ValueError: the face model has no face units.
    """
    torch.set_num_threads(1)
    plan = spoken.plan
    model = open_head.load()
    if model.units_to_expression is None:
        raise ValueError("the sample corpus needs a face model with face units: the open head")
    motion = move_clip(spoken, model.unit_names)
    expression = (torch.from_numpy(motion.units) @ model.units_to_expression).numpy()
    pose = turn_about_neck(motion.pose)
    look = make_look(model, plan.voice.gender, _generator(plan, plan.identity, "look"))
    scene = _generator(plan, plan.source_video, "scene")
    wall = wall_image(look, 2 * plan.size, scene)
    camera = _camera(plan, scene)
    images = frames(model, look, plan.voice.gender, expression, pose, camera, wall)
    video = encode_mp4(
        images,
        FPS,
        spoken.speech.samples,
        SAMPLE_RATE_HZ,
        crf=CRF[plan.dataset],
        preset="medium",
    )
    target = root / "datasets" / plan.dataset / f"{plan.path}.mp4"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(video)
    write_truth(
        root / "truth" / plan.dataset / f"{plan.clip_id}.npz",
        spoken,
        motion,
        look.identity,
        look.texture,
        expression,
        pose,
        camera,
    )
    return len(expression)
