"""Numbers of one motion, measured by its coefficients.

Against the coefficients fitted to the ground truth and, where there is one, the truth; with the
phonemes and the sound of the clip.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dimitra.assets import asset_path
from dimitra.cmdt.chunks import seam_report
from dimitra.metrics.beats import beat_alignment, head_beats
from dimitra.metrics.bilabials import closure_share
from dimitra.metrics.coefficients import mean_absolute_error
from dimitra.metrics.motion import correlation, diversity, head_range, head_speed, jerk, lag
from dimitra.metrics.summary import ClipValue
from dimitra.morphable.coefficients import ANGLES, EXPRESSION_SIZE, MOUTH
from dimitra.morphable.model import FaceModel
from dimitra.morphable.opening import closed_opening, opening_direction
from pipelines.params import Params

NO_MODEL = "fit.face_model_weights is null, so what opens the mouth is unknown"
ONE_SAMPLE = "generate.samples is 1"
MOTIONLESS = "it does not move"
SINGLE_FRAME = "a single frame"
FEW_FRAMES = "fewer than four frames"
NO_BILABIAL = "no p, b or m is spoken"
NO_ONSET = "its sound has no onset"
ONE_CHUNK = "generated in one chunk"

Motion = NDArray[np.float32]
"""``[T, 70]``."""


@dataclass(frozen=True)
class Space:
    """Where motion is measured.

    Attributes:
        mouth: the 13 columns of the mouth.
        opening: ``[64]``, how far each expression coefficient opens it; None where the parameters
            name no face model.
        closed: the opening up to which lips count as closed.
        fps: frames a second.
        longest: frames of a chunk of generation.
        overlap: frames that two chunks share.
    """

    mouth: tuple[int, ...]
    opening: NDArray[np.float64] | None
    closed: float
    fps: float
    longest: int
    overlap: int

    @classmethod
    def of(cls, params: Params) -> Space:
        """That of the face model of a run.

        Raises:
            AssetError: the face model's file is missing.
        """
        model: FaceModel | None = None
        if params.fit.face_model == "open_head":
            from dimitra.morphable import open_head

            model = open_head.load()
        elif params.fit.face_model_weights is not None:
            from dimitra.morphable import bfm

            model = bfm.read(asset_path(params.fit.face_model_weights))
        return cls(
            mouth=MOUTH[params.fit.face_model],
            opening=None if model is None else opening_direction(model),
            closed=0.0 if model is None else closed_opening(model),
            fps=float(params.crop.fps),
            longest=params.model.frames,
            overlap=params.generate.overlap,
        )

    def rest(self) -> list[int]:
        """Expression columns beside the mouth."""
        return [column for column in range(EXPRESSION_SIZE) if column not in self.mouth]


@dataclass(frozen=True)
class Voice:
    """What is said in a clip, and when.

    Attributes:
        phonemes: ``[T]`` ids, one a frame.
        onsets_s: ``[N]`` times at which sounds begin.
    """

    phonemes: NDArray[np.integer]
    onsets_s: NDArray[np.float64]


@dataclass(frozen=True)
class Reference:
    """What the motions of one clip are measured against.

    Attributes:
        voice: of the clip.
        fit: as fitted to the ground-truth video.
        truth: None where there is none.
        no_truth: why there is none.
    """

    voice: Voice
    fit: Motion
    truth: Motion | None
    no_truth: str = ""


def motion_values(motion: Motion, reference: Reference, space: Space) -> dict[str, ClipValue]:
    """Every number of one motion, but for diversity.

    Args:
        motion: ``[T, 70]``.
        reference: of the same T frames.
        space: of both.
    """
    values: dict[str, ClipValue] = {}
    columns = {"mouth": list(space.mouth), "expression": space.rest()}
    for name, aim in (("fit", reference.fit), ("truth", reference.truth)):
        for part, chosen in columns.items():
            values[f"{part}_mae_{name}"] = (
                ClipValue(None, reference.no_truth)
                if aim is None
                else ClipValue(mean_absolute_error(motion[:, chosen], aim[:, chosen]))
            )
        values |= _openings(motion, aim, name, reference.no_truth, space)
    values["bilabial_closure"] = _closure(motion, reference.voice, space)
    angles = motion[:, ANGLES]
    speed = head_speed(angles, space.fps)
    values["head_speed"] = _known(speed, SINGLE_FRAME)
    values["head_range"] = ClipValue(head_range(angles))
    beats = beat_alignment(reference.voice.onsets_s, head_beats(angles, space.fps))
    values["head_beats"] = _known(beats, NO_ONSET)
    parts = {"mouth": motion[:, list(space.mouth)], "head": np.rad2deg(angles)}
    for part, numbers in parts.items():
        values[f"{part}_jerk"] = _known(jerk(numbers), FEW_FRAMES)
        values[f"{part}_seam"] = _seam(numbers, space)
    return values


def _known(value: float | None, otherwise: str) -> ClipValue:
    """A value, or why there is none."""
    return ClipValue(value, None if value is not None else otherwise)


def _openings(
    motion: Motion, aim: Motion | None, name: str, no_aim: str, space: Space
) -> dict[str, ClipValue]:
    """Likeness and lag of the mouth's opening."""
    keys = (f"opening_corr_{name}", f"opening_lag_{name}")
    if aim is None or space.opening is None:
        return {key: ClipValue(None, no_aim if aim is None else NO_MODEL) for key in keys}
    one, two = (of[:, :EXPRESSION_SIZE] @ space.opening for of in (motion, aim))
    late = lag(one, two)
    found = (correlation(one, two), None if late is None else float(abs(late)))
    return {key: _known(value, MOTIONLESS) for key, value in zip(keys, found, strict=True)}


def _closure(motion: Motion, voice: Voice, space: Space) -> ClipValue:
    if space.opening is None:
        return ClipValue(None, NO_MODEL)
    opening = motion[:, :EXPRESSION_SIZE] @ space.opening
    return _known(closure_share(opening, voice.phonemes, space.closed), NO_BILABIAL)


def _seam(values: Motion, space: Space) -> ClipValue:
    """Step where chunks meet over the step inside them, at the same frames for every motion."""
    found = seam_report([values], space.longest, space.overlap)
    if found is None:
        return ClipValue(None, ONE_CHUNK)
    if not found.inside_step:
        return ClipValue(None, MOTIONLESS)
    return ClipValue(found.seam_step / found.inside_step)


def diversity_values(samples: Motion | None, space: Space) -> dict[str, ClipValue]:
    """How samples of one input differ.

    Args:
        samples: ``[S, T, 70]``; None for a single one.
        space: of the motion.
    """
    if samples is None:
        return {key: ClipValue(None, ONE_SAMPLE) for key in ("mouth_diversity", "head_diversity")}
    degrees = float(np.rad2deg(diversity(samples[:, :, ANGLES])))
    return {
        "mouth_diversity": ClipValue(diversity(samples[:, :, list(space.mouth)])),
        "head_diversity": ClipValue(degrees),
    }
