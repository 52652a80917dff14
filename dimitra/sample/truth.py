"""The truth of a clip: what made it, stored beside the corpus for tests and evaluation."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dimitra.shards import npz_bytes, write_atomic

if TYPE_CHECKING:
    from dimitra.sample.corpus import SpokenClip
    from dimitra.sample.motion import HeadMotion
    from dimitra.sample.scene import ClipCamera


def write_truth(
    path: Path,
    spoken: SpokenClip,
    motion: HeadMotion,
    identity: NDArray[np.float32],
    texture: NDArray[np.float32],
    expression: NDArray[np.float32],
    pose: NDArray[np.float32],
    camera: ClipCamera,
) -> None:
    """Write one clip's truth file; its arrays are described in ``docs/sample.md``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    speech, senses = spoken.speech, spoken.senses
    seconds: list[float] = [span.end_s - span.start_s for span in senses]
    arrays: dict[str, NDArray[Any]] = {
        "path": np.array(f"{spoken.plan.path}.mp4"),
        "text": np.array(spoken.plan.text),
        "sense": np.array(senses[int(np.argmax(seconds))].label),
        "senses": np.array([span.label for span in senses]),
        "sense_times": _times(senses),
        "phones": np.array([span.label for span in speech.phones]),
        "phone_times": _times(speech.phones),
        "words": np.array([span.label for span in speech.words]),
        "word_times": _times(speech.words),
        "identity": identity,
        "texture": texture,
        "expression": expression.astype(np.float32),
        "pose": pose.astype(np.float32),
        "blink": motion.blink,
        "camera": np.array([camera.focal_px, *camera.centre_px, 10.0], np.float32),
        "image_size": np.array([camera.size, camera.size], np.int32),
        "fps": np.array(25.0, np.float32),
    }
    write_atomic(path, npz_bytes(arrays))


def _times(spans: Any) -> NDArray[np.float32]:
    return np.array([(span.start_s, span.end_s) for span in spans], np.float32).reshape(-1, 2)
