"""The doctor names what is missing, and how to get it."""

from __future__ import annotations

import ctypes
import re
from pathlib import Path

import pytest

from dimitra import doctor
from dimitra.faces.mediapipe import SYSTEM_LIBRARIES, missing_packages

ROOT = Path(__file__).parent.parent


@pytest.fixture
def without_egl(monkeypatch: pytest.MonkeyPatch) -> None:
    load = ctypes.CDLL

    def cdll(name: str) -> ctypes.CDLL:
        if "EGL" in name:
            raise OSError(f"{name}: cannot open shared object file")
        return load(name)

    monkeypatch.setattr(ctypes, "CDLL", cdll)


def finding(what: str) -> doctor.Finding:
    return next(found for found in doctor.examine("sample") if found.what == what)


@pytest.mark.usefixtures("without_egl")
def test_a_missing_library_is_named_with_its_debian_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert missing_packages() == ("libegl1",)
    found = finding("system libraries")
    assert not found.ok
    assert "apt-get install libegl1" in found.remedy
    assert "fit.landmarks: dlib" in found.remedy


@pytest.mark.usefixtures("without_egl")
def test_a_run_without_mediapipe_needs_no_library(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    params = (ROOT / "params.yaml").read_text()
    assert "mesh: none" in params
    (tmp_path / "params.yaml").write_text(params.replace("mesh: none", "mesh: mediapipe"))
    assert not finding("system libraries").ok
    (tmp_path / "params.yaml").write_text(params)
    assert finding("system libraries").ok


def test_make_installs_the_libraries_that_the_doctor_asks_for() -> None:
    line = re.search(r"^MEDIAPIPE_LIBRARIES := (.*)$", (ROOT / "Makefile").read_text(), re.M)
    assert line is not None
    pairs = dict(pair.split("=") for pair in line[1].split())
    assert pairs == dict(SYSTEM_LIBRARIES)
