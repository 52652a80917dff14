"""MediaPipe in a process of its own: pixels on standard input, landmarks on standard output.

``dimitra.faces.mediapipe`` starts it. The process keeps to itself what the library does to the one
that loads it: it writes notes to standard error that no option silences, it fails when the
interpreter is taken down, and it reports its use to a server of its makers, also without being
closed, with no switch against it.

A message is its length (four bytes, little endian) and its bytes. A request is one byte,
``MEASURE`` or ``NAMES``, height and width, and the RGB pixels. The answer to ``MEASURE`` is the 478
points ``x, y`` as shares of width and height and the 52 scores, float32; to ``NAMES``, the names of
the scores, a line each; to both, nothing where there is no face. The first message comes before any
request; it is empty, or says why the library cannot be loaded. The file needs nothing of this
package.
"""

from __future__ import annotations

import os
import struct
import sys
from typing import IO, Any

MEASURE, NAMES = b"m", b"n"
LENGTH = struct.Struct("<I")
SIZE = struct.Struct("<II")


def receive(stream: IO[bytes]) -> bytes | None:
    """Next message; None at the end of the stream."""
    head = stream.read(LENGTH.size)
    if len(head) < LENGTH.size:
        return None
    (length,) = LENGTH.unpack(head)
    body = stream.read(length)
    return body if len(body) == length else None


def send(stream: IO[bytes], *parts: bytes | memoryview) -> None:
    """Write one message made of ``parts``."""
    stream.write(LENGTH.pack(sum(len(part) for part in parts)))
    for part in parts:
        stream.write(part)
    stream.flush()


def _open(model: str) -> Any:
    from mediapipe.tasks.python import BaseOptions, vision

    return vision.FaceLandmarker.create_from_options(
        vision.FaceLandmarkerOptions(
            base_options=BaseOptions(model_asset_path=model),
            running_mode=vision.RunningMode.IMAGE,
            num_faces=1,
            output_face_blendshapes=True,
        )
    )


def _answer(landmarker: Any, request: bytes) -> bytes:
    import mediapipe
    import numpy as np

    height, width = SIZE.unpack_from(request, 1)
    pixels = np.frombuffer(request, np.uint8, offset=1 + SIZE.size).reshape(height, width, 3)
    found = landmarker.detect(mediapipe.Image(mediapipe.ImageFormat.SRGB, pixels))
    if not found.face_landmarks:
        return b""
    scores = found.face_blendshapes[0]
    if request[:1] == NAMES:
        return "\n".join(score.category_name for score in scores).encode()
    places = [value for point in found.face_landmarks[0] for value in (point.x, point.y)]
    return np.array([*places, *(score.score for score in scores)], "<f4").tobytes()


def main(model: str) -> None:
    """Answer requests until standard input ends.

    Args:
        model: path of ``face_landmarker.task``.
    """
    # What the library prints must not get among the messages.
    output = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    try:
        landmarker = _open(model)
    except (ImportError, OSError, RuntimeError, ValueError) as error:
        send(output, f"{type(error).__name__}: {error}".encode())
        os._exit(1)
    send(output)
    while (request := receive(sys.stdin.buffer)) is not None:
        send(output, _answer(landmarker, request))
    # Its destructors fail while the interpreter is taken down, and send a report before that.
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1])
