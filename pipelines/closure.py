"""Import closures: which files of the repository a stage's code version is made of.

    python -m pipelines.closure --check     # dvc.yaml names exactly these files: exit 1 if not
    python -m pipelines.closure --write     # rewrite the code part of every stage's `deps`

``pipelines.params.dvc_yaml`` does both, and keeps the other lines that follow from code and
parameters.

The closure of a module holds every module of ``dimitra`` and ``pipelines`` that it imports, at the
top or inside a function, directly or through others, with the ``__init__.py`` of the packages on
the way; of a package that a stage runs, that of its ``__main__`` too. A module that reads a file
beside it as if it were code (a template, a table) declares it: ``DATA_FILES = ("report.html",)``,
names relative to the module.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

from dimitra.shards import sha256_file

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("dimitra", "pipelines")
_DATA_FILES = "DATA_FILES"


class ClosureError(RuntimeError):
    """A closure cannot be computed: an import cannot be resolved, or a declared file is missing."""


def _locate(module: str, root: Path) -> Path | None:
    """File of a module of the repository, None for a module from elsewhere."""
    base = root.joinpath(*module.split("."))
    for path in (base / "__init__.py", base.with_suffix(".py")):
        if path.is_file():
            return path
    return None


def _ours(module: str) -> bool:
    return module.split(".", maxsplit=1)[0] in PACKAGES


def _imports(tree: ast.Module, path: Path) -> Iterator[str]:
    """Names that may be modules: every imported module, and ``a.b`` of ``from a import b``."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                raise ClosureError(f"{path}:{node.lineno}: relative import; write the full name")
            module = node.module or ""
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names)


def _data_files(tree: ast.Module, path: Path) -> Iterator[Path]:
    for node in tree.body:
        if isinstance(node, ast.Assign):
            targets, value = node.targets, node.value
        elif isinstance(node, ast.AnnAssign) and node.value is not None:
            targets, value = [node.target], node.value
        else:
            continue
        if any(isinstance(target, ast.Name) and target.id == _DATA_FILES for target in targets):
            for name in ast.literal_eval(value):
                file = path.parent / name
                if not file.is_file():
                    raise ClosureError(f"{path} declares {name!r} in {_DATA_FILES}; no such file")
                yield file


@functools.cache
def _edges(path: Path, text: str) -> tuple[frozenset[str], frozenset[Path]]:
    """Modules of the repository that a file imports, and the data files that it declares."""
    tree = ast.parse(text, str(path))
    modules = {name for name in _imports(tree, path) if _ours(name)}
    return frozenset(modules), frozenset(_data_files(tree, path))


def _with_parents(module: str) -> Iterator[str]:
    parts = module.split(".")
    for length in range(1, len(parts) + 1):
        yield ".".join(parts[:length])


def closure(module: str, root: Path = ROOT) -> tuple[Path, ...]:
    """Files of the import closure of ``module``, relative to ``root``, sorted.

    Args:
        module: dotted name, for example ``pipelines.crop``.
        root: folder that holds the packages.

    Raises:
        ClosureError: the module does not exist below ``root``, or a file in it is ill formed.
    """
    if _locate(module, root) is None:
        raise ClosureError(f"module {module} is not below {root}")
    found: set[Path] = set()
    todo = [*_with_parents(module), f"{module}.__main__"]
    seen: set[str] = set()
    while todo:
        name = todo.pop()
        if name in seen:
            continue
        seen.add(name)
        path = _locate(name, root)
        if path is None:  # an attribute of a module, not a module
            continue
        modules, data = _edges(path, path.read_text())
        found.add(path)
        found.update(data)
        todo.extend(parent for other in modules for parent in _with_parents(other))
    return tuple(sorted(path.relative_to(root) for path in found))


def code_digest(module: str, root: Path = ROOT) -> str:
    """Code version of a module: sha256 over the names and bytes of its closure."""
    lines = [f"{sha256_file(root / path)}  {path.as_posix()}\n" for path in closure(module, root)]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


if __name__ == "__main__":
    # By name: the code that keeps dvc.yaml is no part of what every stage's bytes depend on.
    sys.exit(importlib.import_module("pipelines.params.dvc_yaml").main())
