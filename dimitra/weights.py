"""``weights.yaml``: the sha256 of weights whose bytes no one could record beforehand.

Licensed weights, models of a hub and a user's own files get their sha256 when they first arrive.
It is written into ``weights.yaml`` at the checkout's root, which is committed: from then on other
bytes are refused, and DVC reruns what depends on the weights when the file changes.
"""

from __future__ import annotations

import functools
import os
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from dimitra.shards import write_atomic

FILE_VARIABLE = "DIMITRA_WEIGHTS_FILE"
"""Environment variable that moves ``weights.yaml``."""

_HEADER = """\
# Weights that `dimitra assets add`, `fetch` or `pin` met here first: their sha256, size in bytes, source and revision.
# Commit this file. Other bytes under the same name are refused; a changed line reruns what depends on it.
"""  # noqa: E501
_SHA256 = re.compile(r"[0-9a-f]{64}")


class AssetError(RuntimeError):
    """An asset cannot be had; the message says which, why and what to do."""


class MissingAssetError(AssetError):
    """An asset is not here."""


@dataclass(frozen=True)
class Pin:
    """What is known of weights since they first arrived.

    Attributes:
        sha256: of the file; for a folder, of the sorted lines ``<sha256>  <relative path>``.
        size_bytes: of the file, or of all files of the folder.
        source: where they came from: ``hf:...``, ``https://...``, or the name of the file given.
        revision: commit on the hub; None for anything else.
    """

    sha256: str
    size_bytes: int
    source: str
    revision: str | None = None


def weights_file() -> Path:
    """``weights.yaml`` of the checkout that this module lies in; of the store without a checkout.

    ``DIMITRA_WEIGHTS_FILE`` overrides it.
    """
    override = os.environ.get(FILE_VARIABLE)
    if override:
        return Path(override)
    root = Path(__file__).resolve().parents[1]
    file = root / "weights.yaml"
    if file.exists() or (root / "pyproject.toml").exists():
        return file
    return store() / "weights.yaml"


def store() -> Path:
    """Folder that holds the assets, shared by all checkouts."""
    override = os.environ.get("DIMITRA_ASSETS_DIR")
    if override:
        return Path(override)
    import platformdirs

    return Path(platformdirs.user_cache_dir("dimitra")) / "assets"


def read_pins() -> dict[str, Pin]:
    """All pins, by asset reference; empty where there is no ``weights.yaml``.

    Raises:
        AssetError: the file is damaged.
    """
    file = weights_file()
    try:
        text = file.read_text()
    except FileNotFoundError:
        return {}
    return dict(_parse(text, str(file)))


@functools.lru_cache(maxsize=8)
def _parse(text: str, file: str) -> dict[str, Pin]:
    import yaml

    try:
        content: Any = yaml.safe_load(text) or {}
        pins = {str(ref): Pin(**entry) for ref, entry in (content["weights"] or {}).items()}
        for ref, pin in pins.items():
            if not _SHA256.fullmatch(str(pin.sha256)) or not isinstance(pin.size_bytes, int):
                raise ValueError(f"{ref}: need a sha256 of 64 hex digits and a whole size_bytes")
    except (yaml.YAMLError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise AssetError(
            f"{file} is damaged: {error!r}. It needs `weights:` with sha256, size_bytes, source "
            "and revision of each name; `git diff` shows what changed"
        ) from None
    return pins


def write_pin(ref: str, pin: Pin) -> None:
    """Record a pin; several processes may do so at a time.

    Raises:
        AssetError: ``weights.yaml`` is damaged, or cannot be written.
    """
    import filelock
    import yaml

    file = weights_file()
    try:
        store().mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(store() / ".weights.lock"):
            pins = read_pins()
            if pins.get(ref) == pin:
                return
            pins[ref] = pin
            entries = {name: asdict(pins[name]) for name in sorted(pins)}
            text = yaml.safe_dump({"weights": entries}, sort_keys=False, width=4096)
            write_atomic(file, (_HEADER + text).encode())
    except OSError as error:
        raise AssetError(f"{ref} cannot be pinned: {file}: {error.strerror}") from error
