"""Whether a profile can run on this machine."""

from __future__ import annotations

import importlib.metadata
import platform
import shutil
from dataclasses import dataclass
from pathlib import Path

import yaml

from dimitra import assets
from dimitra.faces.mediapipe import missing_packages

_PACKAGES = (
    *("torch", "ray", "dvc", "mlflow", "av", "dlib-bin", "mediapipe"),
    *("faster-whisper", "kaldi-hmm-gmm"),
)
_FREE_GB = 4.0


@dataclass(frozen=True)
class Finding:
    """One line of the examination.

    Attributes:
        what: what was looked at.
        found: what was seen.
        ok: whether it will do.
        remedy: what to do if not; empty otherwise.
    """

    what: str
    found: str
    ok: bool
    remedy: str


def _python() -> Finding:
    version = platform.python_version_tuple()
    ok = (int(version[0]), int(version[1])) in {(3, 11), (3, 12)}
    remedy = "" if ok else "use Python 3.11 or 3.12"
    return Finding("Python", platform.python_version(), ok, remedy)


def _package(name: str) -> Finding:
    try:
        return Finding(f"package {name}", importlib.metadata.version(name), True, "")
    except importlib.metadata.PackageNotFoundError:
        remedy = "pip install -c constraints.txt -e ."
        return Finding(f"package {name}", "missing", False, remedy)


def _asset(asset: assets.Asset) -> Finding:
    state = assets.verify(asset.name)
    remedy = ""
    if state != "ok":
        remedy = f"dimitra assets fetch {asset.name} ({asset.licence}; {asset.home})"
    return Finding(f"asset {asset.name}", state, state == "ok", remedy)


def _disk() -> Finding:
    free = shutil.disk_usage(".").free / 1e9
    ok = free >= _FREE_GB
    return Finding("free disk", f"{free:.0f} GB", ok, "" if ok else f"free {_FREE_GB:.0f} GB here")


def _libraries() -> Finding:
    what = "system libraries"
    if not _uses_mediapipe(Path("params.yaml")):
        return Finding(what, "not needed: crop.mesh is none", True, "")
    missing = missing_packages()
    if not missing:
        return Finding(what, "all that MediaPipe loads", True, "")
    remedy = f"apt-get install {' '.join(missing)}; or crop.mesh: none and fit.landmarks: dlib"
    return Finding(what, f"missing: {', '.join(missing)}", False, remedy)


def _uses_mediapipe(params: Path) -> bool:
    """Whether the parameters here, if any, ask for MediaPipe, as the profile does."""
    if not params.is_file():
        return True
    values = yaml.safe_load(params.read_text())
    crop = values.get("crop") if isinstance(values, dict) else None
    return not isinstance(crop, dict) or crop.get("mesh") != "none"


def examine(profile: str) -> list[Finding]:
    """Look at the interpreter, the libraries, the disk and every asset of a profile.

    Args:
        profile: ``sample`` or ``paper``.
    """
    findings = [_python(), _disk(), _libraries(), *(_package(name) for name in _PACKAGES)]
    return findings + [_asset(asset) for asset in assets.list_assets(profile)]
