"""Writing a film frame by frame: H.264 and AAC in mp4, whole or not there at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from dimitra.media.mp4 import BLOCK, Mp4Writer

SOUND_BIT_RATE = 96_000


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """A file that takes its name only when all of it is written.

    It is written beside ``path`` and renamed at the end; an error or Ctrl-C removes it and leaves
    what was at ``path`` as it was.

    Raises:
        OSError: the folder cannot be written, or the disk is full.
    """
    descriptor, name = tempfile.mkstemp(".part", f".{path.name}.", path.parent)
    try:
        with os.fdopen(descriptor, "w+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        mask = os.umask(0)
        os.umask(mask)
        Path(name).chmod(0o666 & ~mask)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def write_film(
    file: BinaryIO,
    frames: Iterable[NDArray[np.uint8]],
    size: int,
    fps: int,
    sound: NDArray[np.int16],
    sample_rate_hz: int,
    crf: int,
    preset: str,
    metadata: Mapping[str, str],
) -> None:
    """Encode frames as they come, with their sound beside them, the same bytes for the same input.

    Args:
        file: open for writing, seekable.
        frames: [S, S, 3] RGB each.
        size: S, even.
        fps: frames per second.
        sound: [N] mono; what lasts longer than the frames is cut off.
        sample_rate_hz: of ``sound``.
        crf: x264's quality, 0 (lossless) to 51.
        preset: x264's speed preset.
        metadata: mp4 tags.

    Raises:
        ValueError: a frame has another size.
        OSError: the file cannot be written.
    """
    with Mp4Writer(
        file, size, size, fps, sample_rate_hz, crf, preset, metadata, SOUND_BIT_RATE
    ) as film:
        at = heard = 0
        for count, picture in enumerate(frames, start=1):
            film.picture(picture)
            # Whole blocks, so that the sound lies beside its picture.
            heard = min(round(count * sample_rate_hz / fps), len(sound))
            stop = heard - (heard - at) % BLOCK
            film.sound(_float(sound[at:stop]))
            at = stop
        film.finish_picture()
        film.sound(_float(sound[at:heard]))


def _float(samples: NDArray[np.int16]) -> NDArray[np.float32]:
    return samples.astype(np.float32) / np.float32(32767.0)
