"""What numbers depend on beside code and data: processor, tools, package versions."""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib
import importlib.metadata
import os
import platform
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pipelines.closure import PACKAGES, ROOT

LOCK = "constraints.txt"
"""The package versions that a run is meant to have."""
_CPUINFO = Path("/proc/cpuinfo")
_VECTOR_SETS = (("avx512f", "AVX-512"), ("avx2", "AVX2"), ("avx", "AVX"), ("asimd", "NEON"))
_ORCHESTRATION = {"dvc", "filelock", "mlflow", "platformdirs", "ray", "rich", "typer"}
"""Imported by the code, but no byte of an output depends on their version."""
_ALIGNER_MODULE = "dimitra.speech.mfa_program"


def processor() -> dict[str, str]:
    """Type of the processor: its name, and the widest vectors it has, which decide on rounding."""
    found: dict[str, str] = {}
    if _CPUINFO.is_file():
        for line in _CPUINFO.read_text(errors="replace").splitlines():
            key, _, value = line.partition(":")
            found.setdefault(key.strip().lower(), value.strip())
    flags = set((found.get("flags") or found.get("features") or "").split())
    widest = next((name for flag, name in _VECTOR_SETS if flag in flags), "unknown")
    return {
        "machine": platform.machine(),
        "cpu": found.get("model name") or platform.processor() or "unknown",
        "vectors": widest,
    }


def environment(params: Mapping[str, Any]) -> dict[str, str]:
    """Processor; the GPU too where a parameter of the stage asks for one.

    Args:
        params: of the stage, flat.
    """
    found = processor()
    if any(key.endswith("device") and value == "cuda" for key, value in params.items()):
        torch: Any = importlib.import_module("torch")
        if torch.cuda.is_available():
            found |= {"gpu": torch.cuda.get_device_name(), "cuda": str(torch.version.cuda)}
    return found


@functools.cache
def _imported(path: Path) -> frozenset[str]:
    """Top-level names that a module imports from elsewhere."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.partition(".")[0])
    return frozenset(names - sys.stdlib_module_names - {*PACKAGES})


def _top_level(distribution: importlib.metadata.Distribution) -> set[str]:
    """Names that a distribution can be imported by.

    What ``packages_distributions()`` finds, at a tenth of its time: it parses all metadata.
    """
    told = distribution.read_text("top_level.txt")
    if told:
        return set(told.split())
    lines = (distribution.read_text("RECORD") or "").splitlines()
    first = {line.split(",", maxsplit=1)[0].split("/", maxsplit=1)[0] for line in lines}
    return {name.partition(".")[0] for name in first if not name.endswith("-info")}


@functools.cache
def _distributions() -> tuple[tuple[importlib.metadata.Distribution, frozenset[str]], ...]:
    """What is installed, with the names it can be imported by."""
    return tuple((one, frozenset(_top_level(one))) for one in importlib.metadata.distributions())


def packages(files: Iterable[str], root: Path = ROOT) -> dict[str, str]:
    """Digest of the lock file, and versions of the distributions that code files import.

    Args:
        files: paths below ``root``.
        root: folder that holds the packages.
    """
    names = {name for path in files if path.endswith(".py") for name in _imported(root / path)}
    names -= _ORCHESTRATION
    owners = [one for one, importable in _distributions() if names & importable]
    versions = {one.metadata["Name"]: one.version for one in owners}
    lock = root / LOCK
    digest = hashlib.sha256(lock.read_bytes()).hexdigest() if lock.is_file() else ""
    return {"lock_sha256": digest, **dict(sorted(versions.items()))}


def tools(files: Iterable[str], params: Mapping[str, Any]) -> dict[str, str]:
    """Python, FFmpeg's libraries where the code decodes or encodes, the aligner where it is MFA.

    Args:
        files: of the stage's code.
        params: of the stage, flat.
    """
    found = {"python": platform.python_version()}
    listed = set(files)
    if "dimitra/media/container.py" in listed:
        av: Any = importlib.import_module("av")
        found |= {
            name: ".".join(map(str, version)) for name, version in av.library_versions.items()
        }
    if "dimitra/speech/mfa_program.py" in listed and params.get("speech.aligner") == "mfa":
        command = params.get("speech.mfa.command", "mfa")
        found["mfa"] = importlib.import_module(_ALIGNER_MODULE).mfa_version(command)[1]
    return dict(sorted(found.items()))


def machine() -> dict[str, Any]:
    """This machine: name, processor, cores, memory. It belongs to a run, never into a record."""
    pages, size = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    return {
        "host": platform.node(),
        "system": platform.platform(),
        **processor(),
        "cores": os.cpu_count(),
        "memory_bytes": pages * size,
    }
