"""The house: which way imports go, and that none of them goes round in a circle."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ORCHESTRATION = {"ray", "dvc", "dvclive", "mlflow"}
PACKAGES = ("dimitra", "pipelines")


def modules(package: str) -> dict[str, Path]:
    """Dotted name of every module of a package to its file."""
    found = {}
    for path in sorted((ROOT / package).rglob("*.py")):
        words = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(words[:-1] if words[-1] == "__init__" else words)] = path
    return found


EVERY = {name: path for package in PACKAGES for name, path in modules(package).items()}


def _is_for_types_alone(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def statements(tree: ast.AST, *, inner: bool) -> Iterator[ast.Import | ast.ImportFrom]:
    """Imports of a module, but for those that are for types alone.

    Args:
        tree: of the module.
        inner: those in functions as well, which run when the function does.
    """
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) and not inner:
            continue
        elif not _is_for_types_alone(node):
            yield from statements(node, inner=inner)


def imported(path: Path, *, inner: bool) -> Iterator[str]:
    """Dotted names that a file imports; ``from a import b`` is ``a.b`` where that is a module."""
    for node in statements(ast.parse(path.read_text()), inner=inner):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        else:
            assert node.level == 0, f"{path} imports by a relative name"
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield whole if whole in EVERY else str(node.module)


def strangers(package: str, forbidden: set[str]) -> dict[str, list[str]]:
    """Module to what it imports of the forbidden packages, in functions too."""
    found = {}
    for name in modules(package):
        roots = {one.partition(".")[0] for one in imported(EVERY[name], inner=True)}
        if roots & forbidden:
            found[name] = sorted(roots & forbidden)
    return found


def test_the_library_knows_nothing_of_orchestration() -> None:
    """Not even in a function: `dimitra` is usable where none of it is installed."""
    assert not strangers("dimitra", ORCHESTRATION | {"pipelines", "tests", "benchmarks"})
    assert len(strangers("pipelines", {"dimitra"})) > 50  # what is looked for is found


def test_the_pipelines_know_neither_tests_nor_benchmarks() -> None:
    assert not strangers("pipelines", {"tests", "benchmarks"})


def test_a_fresh_process_loads_the_whole_library_without_orchestration() -> None:
    """What an import statement does not show: names built at run time, and what others import."""
    forbidden = ORCHESTRATION | {"pipelines"}
    code = (
        "import importlib, sys\n"
        "for name in sys.argv[1:]: importlib.import_module(name)\n"
        f"print(sorted({forbidden!r} & {{name.partition('.')[0] for name in sys.modules}}))"
    )
    names = [name for name in modules("dimitra") if not name.endswith("__main__")]
    done = subprocess.run(
        [sys.executable, "-c", code, *names], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"


def graph(*, inner: bool) -> dict[str, set[str]]:
    """Module to the modules of the house that it imports; a package stands for its own file."""
    return {
        name: {one for one in imported(path, inner=inner) if one in EVERY and one != name}
        for name, path in EVERY.items()
    }


def circle(edges: dict[str, set[str]]) -> list[str]:
    """Modules that import each other in turn, the first one again at the end; empty without any."""
    try:
        TopologicalSorter(edges).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


@pytest.mark.parametrize("inner", [False, True])
def test_no_import_goes_in_a_circle(inner: bool) -> None:
    edges = graph(inner=inner)
    assert "dimitra.shards" in edges["pipelines.shard"]
    assert not circle(edges)
    edges["dimitra.clips"].add("dimitra.shards")  # as if: what is looked for is found
    assert set(circle(edges)) == {"dimitra.clips", "dimitra.shards"}
