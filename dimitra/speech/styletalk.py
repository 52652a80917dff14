"""StyleTalk's phoneme files: a JSON list of ids, one a video frame at 30 frames a second.

Their ids are the first 41 of `phonemes` (``phindex.json`` of Ma et al. 2023), so only the frame
rate differs. A sequence is resampled by the time of the frame's centre: frame ``i`` at one rate
takes the frame at the other that holds ``(i + 0.5) / fps`` seconds.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dimitra.speech.phonemes import PHONES, SILENCE_ID

FPS = 30.0
"""Frame rate of StyleTalk's sequences."""


def resample_phonemes(
    ids: NDArray[np.int16], fps: float, to_fps: float, frames: int | None = None
) -> NDArray[np.int16]:
    """A sequence of ids at another frame rate.

    Args:
        ids: ``[T]`` at ``fps``.
        fps: frames per second of ``ids``.
        to_fps: frames per second of the result.
        frames: length of the result; by default as many as fit into the same time. What lies after
            the end is silence.
    """
    count = round(len(ids) * to_fps / fps) if frames is None else frames
    # Rounded first, so that a centre that falls on a border always goes to the later frame.
    source = np.floor(np.round((np.arange(count) + 0.5) * fps / to_fps, 6)).astype(np.int64)
    inside = source < len(ids)
    result = np.full(count, SILENCE_ID, dtype=np.int16)
    result[inside] = ids[source[inside]]
    return result


def read_styletalk(data: bytes, name: str, fps: float = 25.0) -> NDArray[np.int16]:
    """Read a sequence (``*_seq.json``) and bring it to ``fps``.

    Raises:
        ValueError: not a list of ids 0..40; the message names the file, the place and the value.
    """
    try:
        values: Any = json.loads(data)
    except ValueError as error:
        raise ValueError(f"{name} is not JSON: {error}") from None
    if not isinstance(values, list):
        raise ValueError(f"{name} holds a {type(values).__name__}; a list of phoneme ids is needed")
    for place, value in enumerate(values):
        if type(value) is not int or not 0 <= value < len(PHONES):
            raise ValueError(f"{name}: entry {place} is {value!r}; ids are 0 to {len(PHONES) - 1}")
    return resample_phonemes(np.array(values, dtype=np.int16), FPS, fps)


def styletalk_bytes(ids: NDArray[np.int16], fps: float = 25.0) -> bytes:
    """A sequence at ``fps`` as StyleTalk's JSON at 30 frames a second.

    Raises:
        ValueError: it holds padding, which StyleTalk has no id for.
    """
    beyond = np.flatnonzero((ids < 0) | (ids >= len(PHONES)))
    if len(beyond):
        raise ValueError(
            f"frame {beyond[0]} has the phoneme id {ids[beyond[0]]}; StyleTalk's are 0 to "
            f"{len(PHONES) - 1}: cut the padding off"
        )
    return json.dumps(resample_phonemes(ids, fps, FPS).tolist()).encode()


def check_index(table: Mapping[str, int], name: str) -> None:
    """Check a ``phindex.json`` against the inventory.

    Raises:
        ValueError: a phone has another id, is missing, or is unknown.
    """
    own = {phone: index for index, phone in enumerate(PHONES)}
    wrong = sorted(key for key in own.keys() | table.keys() if own.get(key) != table.get(key))
    if wrong:
        lines = ", ".join(f"{key}: {table.get(key)} for {own.get(key)}" for key in wrong[:5])
        raise ValueError(f"{name} numbers the phones otherwise: {lines}")
