"""Every install uses exact versions: what is installed is what `constraints.txt` names."""

import sysconfig
import tomllib
from importlib.metadata import Distribution, distributions
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).parent.parent
PYTHONS = ("3.11.2", "3.11.14")
"""Debian 12's own, and a late one."""


def normal(name: str) -> str:
    return name.lower().replace("_", "-").replace(".", "-")


def constraints() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pairs = (line.split("==") for line in lines if line and not line.startswith("#"))
    return {normal(name): version for name, version in pairs}


def installed_here() -> dict[str, Distribution]:
    """What the environment's own folders hold.

    A test that imports setuptools has put the copies that setuptools brings for itself on
    `sys.path`.
    """
    folders = sorted({sysconfig.get_path("purelib"), sysconfig.get_path("platlib")})
    return {normal(d.metadata["Name"]): d for d in distributions(path=folders)}


def test_direct_dependencies_are_pinned_and_constrained() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"]]
    for extra in project["optional-dependencies"].values():
        wanted += extra
    pins = constraints()
    for requirement in wanted:
        name, version = requirement.split("==")
        assert pins[normal(name.split("[")[0])] == version, requirement


def test_what_the_project_needs_is_installed_as_constrained() -> None:
    """CUDA packages that a GPU build of torch brings are pinned by torch itself."""
    pins = constraints()
    installed = installed_here()
    todo, seen = ["dimitra"], set()
    while todo:
        name = todo.pop()
        if name in seen or name not in installed:
            continue
        seen.add(name)
        for text in installed[name].requires or []:
            requirement = Requirement(text)
            extras = ("dev", "default", "data", "train", "server", "")
            marker = requirement.marker
            if marker is None or any(marker.evaluate({"extra": extra}) for extra in extras):
                todo.append(normal(requirement.name))
    free = {
        name
        for name in seen - {"dimitra"}
        if not name.startswith(("nvidia-", "cuda-"))
        and name != "triton"
        and pins.get(name) != installed[name].version.split("+")[0]
    }
    assert not free


def test_every_pinned_version_is_for_each_python_that_the_project_allows() -> None:
    """pip says no more than that versions conflict, and names a package that is not the cause."""
    allowed = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    assert all(SpecifierSet(allowed).contains(version) for version in PYTHONS)
    assert not SpecifierSet(allowed).contains("3.12.0")  # pocketsphinx has no wheel for it
    asked = {
        f"{name} {one.version}": one.metadata["Requires-Python"]
        for name, one in installed_here().items()
        if "Requires-Python" in one.metadata
    }
    assert len(asked) > 100
    assert not {
        name: wanted
        for name, wanted in asked.items()
        if not all(SpecifierSet(wanted).contains(version) for version in PYTHONS)
    }
