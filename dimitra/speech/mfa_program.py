"""An installed Montreal Forced Aligner: where it is, its version, its models."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

CONDA = "conda create -n aligner -c conda-forge 'montreal-forced-aligner=3'"
"""Command that installs it."""
_INSTALL = (
    f"install it with `{CONDA}`, put its "
    "`mfa` on PATH or its path into speech.mfa.command, and fetch the models with `mfa model "
    "download dictionary NAME` and `mfa model download acoustic NAME`; or set speech.aligner to "
    "gmm or pocketsphinx"
)
_VERSION = re.compile(r"\b(\d+)\.\d+[.\w]*")
_MAJOR = "3"
START_S = 120.0
"""Time that MFA may take to start."""
TAIL = 1500
"""Characters of what it said that go into a message."""


class MfaMissingError(FileNotFoundError):
    """MFA, or a model of it, is not on this machine; the message says how to get it."""


class MfaError(RuntimeError):
    """MFA failed; the message carries the end of what it said."""


@dataclass(frozen=True)
class Mfa:
    """An installed MFA with its models.

    Attributes:
        command: path of ``mfa``.
        version: ``3.3.8``.
        dictionary: pronunciation file.
        acoustic_model: zip file or folder.
    """

    command: str
    version: str
    dictionary: Path
    acoustic_model: Path

    def identity(self) -> dict[str, str]:
        """What an alignment depends on: the version and the sha256 of both models."""
        return {
            "version": self.version,
            "dictionary_sha256": _sha256(self.dictionary),
            "acoustic_sha256": _sha256(self.acoustic_model),
        }


def mfa_version(command: str) -> tuple[str, str]:
    """Path of an installed MFA, and its version, which it is asked for.

    Args:
        command: name on PATH, or path, of ``mfa``.

    Raises:
        MfaMissingError: there is no such program.
        MfaError: it does not tell its version, or is not version 3, whose command line this is.
    """
    found = shutil.which(command)
    if found is None:
        raise MfaMissingError(f"no program {command!r} (Montreal Forced Aligner): {_INSTALL}")
    try:
        done = subprocess.run(  # noqa: S603 - the user's own MFA
            [found, "version"],
            capture_output=True,
            text=True,
            timeout=START_S,
            check=False,
            stdin=subprocess.DEVNULL,
            env=environment_of(found),
        )
    except subprocess.TimeoutExpired:
        raise MfaError(f"`{found} version` gave no answer in {START_S:.0f} s") from None
    told = _VERSION.search(done.stdout)
    if done.returncode != 0 or told is None:
        said = (done.stderr or done.stdout)[-TAIL:]
        raise MfaError(f"`{found} version` ended with {done.returncode}: {said}")
    if told[1] != _MAJOR:
        raise MfaError(
            f"{found} is version {told[0]}; version {_MAJOR} is needed, as the command line of "
            f"others differs: `{CONDA}`"
        )
    return found, told[0]


def find_mfa(command: str, dictionary: str, acoustic_model: str) -> Mfa:
    """Look for MFA and its models, and ask its version.

    Args:
        command: name on PATH, or path, of ``mfa``.
        dictionary: path, or name of a dictionary that ``mfa model download`` has fetched.
        acoustic_model: likewise.

    Raises:
        MfaMissingError: something is not there.
        MfaError: it does not tell its version, or is not version 3, whose command line this is.
    """
    found, version = mfa_version(command)
    return Mfa(
        found,
        version,
        _model(dictionary, "dictionary", (".dict", ".txt")),
        _model(acoustic_model, "acoustic", (".zip", "")),
    )


def environment_of(command: str) -> dict[str, str]:
    """MFA's own environment first on PATH, and nothing of this Python's in its way."""
    folder = str(Path(command).parent)
    return {
        **{key: value for key, value in os.environ.items() if not key.startswith("PYTHON")},
        "PATH": os.pathsep.join(filter(None, (folder, os.environ.get("PATH", "")))),
    }


def _model(name: str, kind: str, suffixes: Sequence[str]) -> Path:
    """A model by path or by name.

    Names are resolved here, because MFA is run with a root folder of its own, where it would not
    find what was downloaded.
    """
    root = Path(os.environ.get("MFA_ROOT_DIR", Path.home() / "Documents" / "MFA"))
    folder = root / "pretrained_models" / kind
    places = [Path(name), *(folder / f"{name}{suffix}" for suffix in suffixes)]
    for place in places:
        if place.exists() and (place.suffix in suffixes or place.is_dir()):
            return place.resolve()
    raise MfaMissingError(
        f"no {kind} model {name!r} of MFA (a {' or '.join(filter(None, suffixes))} file) at "
        f"{places[0]} or in {folder}: fetch it with `mfa model download {kind} {name}`, or give "
        "its path"
    )


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
        if file.is_file():
            digest.update(file.read_bytes())
    return digest.hexdigest()
