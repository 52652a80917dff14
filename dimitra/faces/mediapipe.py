"""MediaPipe's face landmarker: 478 points and 52 blendshape scores of a frame.

Every frame is measured by itself: MediaPipe's video mode smooths over time, which flattens blinks
and closures and makes the answer depend on the frames before. It runs on one thread of the CPU, in
a process of its own (``mediapipe_process`` says why); the same pixels give the same answer.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import subprocess
import sys
import tempfile
import weakref
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import IO

import numpy as np
from numpy.typing import NDArray

from dimitra.faces import mediapipe_process as process
from dimitra.faces.mesh import POINTS, SCORES, FaceMesh
from dimitra.faces.track import interpolate

SYSTEM_LIBRARIES = MappingProxyType(
    {
        "libGL.so.1": "libgl1",
        "libEGL.so.1": "libegl1",
        "libGLESv2.so.2": "libgles2",
        "libgthread-2.0.so.0": "libglib2.0-0",
    }
)
"""Shared libraries that MediaPipe's wheels load from the system, and their Debian packages."""

_NOWHERE = "http://127.0.0.1:9"
"""The discard port: MediaPipe's reports on its use go to this proxy and no further."""
_PATIENCE_S = 10.0
_PIPE_BYTES = 1 << 20
"""A whole picture: one write, and no waiting for the reader (where the system has such pipes)."""


class MediaPipeError(RuntimeError):
    """MediaPipe cannot be loaded, or its process has died; the message says what to do."""


def missing_packages() -> tuple[str, ...]:
    """Debian packages whose libraries MediaPipe needs and this machine lacks."""
    missing = []
    for library, package in SYSTEM_LIBRARIES.items():
        try:
            ctypes.CDLL(library)
        except OSError:
            missing.append(package)
    return tuple(missing)


class MediaPipeLandmarker:
    """Measures the face mesh of single frames.

    Args:
        model: ``face_landmarker.task``.

    Raises:
        MediaPipeError: the library, or a system library that it needs, is missing.
        FileNotFoundError: there is no model file.
    """

    def __init__(self, model: Path) -> None:
        if not model.is_file():
            raise FileNotFoundError(
                f"{model} is missing; get it with: dimitra assets fetch mediapipe_landmarker"
            )
        self._model = model
        self._session = self._start()

    def _start(self) -> _Session:
        session = _open_session(self._model)
        weakref.finalize(self, _close_session, session)
        refusal = _receive(session)
        if refusal:
            raise MediaPipeError(
                f"MediaPipe cannot be loaded ({refusal.decode()}). {how_to_install()}"
            )
        return session

    def measure(
        self, image: NDArray[np.uint8]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]] | None:
        """Points ``[478, 2]`` and scores ``[52]`` of an RGB image ``[H, W, 3]``; None: no face."""
        answer = np.frombuffer(self._ask(process.MEASURE, image), "<f4")
        if not len(answer):
            return None
        # Its coordinates run from 0 to 1 over the outer edges of the picture.
        places = answer[: 2 * POINTS].reshape(POINTS, 2).astype(np.float64)
        points = places * (image.shape[1], image.shape[0]) - 0.5
        return points.astype(np.float32), answer[2 * POINTS :].astype(np.float32)

    def score_names(self, image: NDArray[np.uint8]) -> tuple[str, ...]:
        """Names of the scores, read from the answer for an image with a face.

        Raises:
            ValueError: there is no face in the image.
        """
        answer = self._ask(process.NAMES, image)
        if not answer:
            raise ValueError("no face in the image")
        return tuple(answer.decode().split("\n"))

    def _ask(self, kind: bytes, image: NDArray[np.uint8]) -> bytes:
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
            raise ValueError(f"image is {image.dtype} {image.shape}, need uint8 [H, W, 3]")
        if self._session.child.poll() is not None:  # the clip before has killed it
            self._session = self._start()
        pixels = np.ascontiguousarray(image).reshape(-1)
        size = process.SIZE.pack(*image.shape[:2])
        with contextlib.suppress(BrokenPipeError):  # then there is no answer either
            process.send(self._session.requests, kind, size, pixels.data)
        return _receive(self._session)


@dataclass(frozen=True)
class _Session:
    """A running process: the two ends of the conversation, and what it writes to its log."""

    child: subprocess.Popen[bytes]
    requests: IO[bytes]
    answers: IO[bytes]
    log: IO[bytes]


def _open_session(model: Path) -> _Session:
    log = tempfile.TemporaryFile()  # noqa: SIM115 - the session closes it
    # -P: beside the script lies mediapipe.py, which is not the library.
    command = [sys.executable, "-P", str(Path(process.__file__).resolve()), str(model)]
    child = subprocess.Popen(  # noqa: S603 - this interpreter, a file of this package
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=log,
        env=_environment(),
        pipesize=_PIPE_BYTES,
    )
    if child.stdin is None or child.stdout is None:
        raise MediaPipeError("MediaPipe's process was started without pipes")
    return _Session(child, child.stdin, child.stdout, log)


def _close_session(session: _Session) -> None:
    """End the process: it leaves when its input ends."""
    with contextlib.suppress(BrokenPipeError):
        session.requests.close()
    session.answers.close()
    try:
        session.child.wait(_PATIENCE_S)
    except subprocess.TimeoutExpired:
        session.child.kill()
        session.child.wait()
    session.log.close()


def _receive(session: _Session) -> bytes:
    answer = process.receive(session.answers)
    if answer is None:
        code = session.child.wait(_PATIENCE_S)
        session.log.seek(0)
        log = session.log.read().decode(errors="replace").strip().splitlines()
        raise MediaPipeError(
            f"MediaPipe's process ended with code {code}: {log[-1] if log else 'no message'}. "
            f"{how_to_install()}"
        )
    return answer


def how_to_install() -> str:
    """What a person can do where MediaPipe does not run."""
    system = missing_packages()
    debian = f"apt-get install {' '.join(system)}, or " if system else ""
    return (
        f"What helps: {debian}pip install -c constraints.txt mediapipe; or do without it: "
        "crop.mesh: none and fit.landmarks: dlib"
    )


def _environment() -> dict[str, str]:
    """Environment of the process: its network is a proxy that is not there."""
    exceptions = {"no_proxy", "NO_PROXY"}
    kept = {name: value for name, value in os.environ.items() if name not in exceptions}
    return kept | dict.fromkeys(("http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy"), _NOWHERE)


def complete(
    answers: list[tuple[NDArray[np.float32], NDArray[np.float32]] | None],
) -> FaceMesh | None:
    """One mesh of single answers, gaps interpolated; None where every frame lacks a face."""
    found = np.array([answer is not None for answer in answers], np.bool_)
    if not found.any():
        return None
    points = np.zeros((len(answers), POINTS, 2), np.float32)
    scores = np.zeros((len(answers), SCORES), np.float32)
    for index, answer in enumerate(answers):
        if answer is not None:
            points[index], scores[index] = answer
    return FaceMesh(interpolate(points, found), interpolate(scores, found), found)
