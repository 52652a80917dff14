"""Weights that a profile does without, and the numbers that they would add or change."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from dimitra import assets
from dimitra.doctor import Examined, needed_assets

NOT_NAMED = "not named"
"""State of a network that is in no catalogue: whoever wants it brings the file."""


@dataclass(frozen=True)
class OptionalWeights:
    """One network that the parameters do not ask for.

    Attributes:
        what: the network, and in brackets what it is for.
        found: state of the asset, or ``NOT_NAMED``.
        remedy: the command that gets it; empty for what is there, or is in no catalogue.
        switch: the parameter that turns to it.
    """

    what: str
    found: str
    remedy: str
    switch: str


_IN_CATALOGUE = (
    ("ArcFace (identity_sim, face_fd)", "insightface_buffalo_l", "evaluate.face_network: arcface"),
    ("published SyncNet (sync_dist, sync_conf)", "syncnet_v2", "sync.network: published"),
    ("VGG19 (perceptual loss of a renderer)", "vgg19", "train_renderer.loss: perceptual"),
)
"""What it is, its asset, and the parameter that switches to it."""
_BROUGHT = {
    "Inception v3 (fid)": "evaluate.frame_weights",
    "I3D (fvd)": "evaluate.clip_weights",
}
"""What it is, and the parameter that names its file."""


def optional_weights(examined: Examined) -> Iterator[OptionalWeights]:
    """Networks that these parameters leave out; those that they name are the doctor's findings.

    Args:
        examined: the parameters.
    """
    used = needed_assets(examined)
    for what, reference, switch in _IN_CATALOGUE:
        if reference not in used:
            state = assets.verify(reference)
            remedy = "" if state == "ok" else f"dimitra assets fetch {reference}"
            yield OptionalWeights(what, state, remedy, switch)
    wanted = {what: key for what, key in _BROUGHT.items() if examined.get(key) is None}
    if wanted:
        switch = f"ONNX in {', '.join(wanted.values())}"
        yield OptionalWeights(", ".join(wanted), NOT_NAMED, "", switch)
