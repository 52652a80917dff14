"""Import closures: which files of the repository a stage's code version is made of.

    python -m pipelines.closure --check     # dvc.yaml names exactly these files: exit 1 if not
    python -m pipelines.closure --write     # rewrite the code part of every stage's `deps`

The closure of a module holds every module of ``dimitra`` and ``pipelines`` that it imports, at the
top or inside a function, directly or through others, with the ``__init__.py`` of the packages on
the way. A module that reads a file beside it as if it were code (a template, a table) declares it:
``DATA_FILES = ("report.html",)``, names relative to the module.
"""

from __future__ import annotations

import argparse
import ast
import functools
import hashlib
import io
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dimitra.shards import sha256_file, write_atomic

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
    todo = list(_with_parents(module))
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


def stage_module(command: str) -> str:
    """Module of a stage's command: ``python -m pipelines.crop`` -> ``pipelines.crop``.

    Raises:
        ClosureError: the command is not of that form.
    """
    words = command.split()
    if len(words) < 3 or words[:2] != ["python", "-m"]:
        raise ClosureError(f"dvc.yaml: cmd {command!r} is not of the form `python -m <module>`")
    return words[2]


def _is_code(dependency: Any) -> bool:
    return isinstance(dependency, str) and dependency.split("/", maxsplit=1)[0] in PACKAGES


def _rewritten(dependencies: list[Any], module: str, root: Path) -> list[Any]:
    """Data dependencies as they stand, then the closure."""
    data = [dependency for dependency in dependencies if not _is_code(dependency)]
    return data + [path.as_posix() for path in closure(module, root)]


def rewrite(text: str, root: Path = ROOT) -> str:
    """``dvc.yaml`` with every stage's code dependencies set to its closure; all else as it was."""
    from ruamel.yaml import YAML

    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 4096
    yaml.indent(mapping=2, sequence=2, offset=0)
    content = yaml.load(text)
    for stage in content["stages"].values():
        body = stage.get("do", stage)
        dependencies = _rewritten(list(body.get("deps", [])), stage_module(body["cmd"]), root)
        kept = body.get("deps")
        if kept is None or list(kept) != dependencies:
            body["deps"] = dependencies
    buffer = io.StringIO()
    yaml.dump(content, buffer)
    return buffer.getvalue()


def differences(text: str, root: Path = ROOT) -> list[str]:
    """What is wrong with the code dependencies of ``dvc.yaml``, one line each."""
    import yaml

    wrong = []
    for name, stage in yaml.safe_load(text)["stages"].items():
        body = stage.get("do", stage)
        listed = {item for item in body.get("deps", []) if _is_code(item)}
        needed = {path.as_posix() for path in closure(stage_module(body["cmd"]), root)}
        wrong += [f"{name}: {path} is missing from deps" for path in sorted(needed - listed)]
        wrong += [
            f"{name}: {path} is in deps, but not imported" for path in sorted(listed - needed)
        ]
    return wrong


def main() -> int:
    """Check or rewrite ``dvc.yaml``."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.closure")
    choice = parser.add_mutually_exclusive_group(required=True)
    choice.add_argument("--check", action="store_true")
    choice.add_argument("--write", action="store_true")
    options = parser.parse_args()
    path = ROOT / "dvc.yaml"
    if options.write:
        write_atomic(path, rewrite(path.read_text()).encode())
        return 0
    wrong = differences(path.read_text())
    sys.stderr.writelines(f"{line}\n" for line in wrong)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
