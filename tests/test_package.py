"""The names that ``import dimitra`` gives."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import dimitra
from dimitra.animation import animate as module
from dimitra.animation.errors import AnimationError
from pipelines.closure import closure

ROOT = Path(__file__).resolve().parents[1]
STUB = ROOT / "dimitra/__init__.pyi"


def test_animate_is_a_name_of_the_package() -> None:
    assert dimitra.animate is module.animate
    assert dimitra.Animation is module.Animation
    assert dimitra.AnimationError is AnimationError
    assert {"Animation", "AnimationError", "__version__", "animate"} <= set(dir(dimitra))
    with pytest.raises(AttributeError, match="module 'dimitra' has no attribute 'animat'"):
        _ = dimitra.animat  # type: ignore[attr-defined]


def test_the_types_are_told_of_the_same_names() -> None:
    tree = ast.parse(STUB.read_text())
    told = {
        alias.asname: getattr(importlib.import_module(node.module or ""), alias.name)
        for node in tree.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert set(told) | {"__version__"} == set(dimitra.__all__)
    assert all(getattr(dimitra, str(name)) is value for name, value in told.items())


def test_importing_the_package_loads_nothing() -> None:
    code = (
        "import sys, dimitra; assert 'animate' in dir(dimitra); "
        "print([n for n in ('torch', 'numpy', 'dimitra.animation') if n in sys.modules]); "
        "dimitra.animate; print('torch' in sys.modules)"
    )
    made = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True
    )
    assert made.stdout.split("\n")[:2] == ["[]", "True"]


def test_no_stage_depends_on_what_is_imported_when_asked_for() -> None:
    assert closure("dimitra") == (Path("dimitra/__init__.py"),)
