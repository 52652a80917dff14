"""The stages of ``dvc.yaml`` as they are run: templates filled in from ``params.yaml``.

DVC's own parser takes a second to import; what is used of its syntax here is ``foreach`` over a
list of the parameters, and ``${key}``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from dimitra.lineage.record import FOLDER
from pipelines.closure import PACKAGES
from pipelines.errors import StageError

_TEMPLATE = re.compile(r"\$\{([\w.]+)\}")
_LOADER: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True)
class Stage:
    """A stage.

    Attributes:
        name: ``train@lips``.
        command: ``python -m pipelines.train --part lips``.
        inputs: files and folders that it reads, without its code.
        outputs: files and folders that it writes, without its lineage record.
        params: keys of ``params.yaml`` that it depends on.
        assets: assets of ``assets.yaml`` that it depends on.
    """

    name: str
    command: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    params: tuple[str, ...]
    assets: tuple[str, ...]


def load_yaml(path: Path) -> Any:
    """Content of a YAML file; by the C parser, where there is one, ten times as fast.

    Raises:
        OSError: it cannot be read.
        StageError: it is not YAML.
    """
    try:
        return yaml.load(path.read_text(), Loader=_LOADER)  # noqa: S506 - a safe one, of libyaml
    except yaml.YAMLError as error:
        raise StageError(f"{path} is not YAML: {error}") from None


def value_at(params: Mapping[str, Any], key: str) -> Any:
    """``crop.fps`` of the parameters.

    Raises:
        StageError: there is no such key.
    """
    value: Any = params
    for part in key.split("."):
        if not isinstance(value, Mapping) or part not in value:
            raise StageError(f"dvc.yaml names the parameter {key}, params.yaml has none such")
        value = value[part]
    return value


def _filled(text: str, params: Mapping[str, Any], item: str | None) -> str:
    def value(match: re.Match[str]) -> str:
        key = match[1]
        return item if key == "item" and item is not None else str(value_at(params, key))

    return _TEMPLATE.sub(value, text)


def _paths(items: list[Any], params: Mapping[str, Any], item: str | None) -> Iterator[str]:
    for one in items:
        for name in [one] if isinstance(one, str) else list(one):
            yield _filled(name, params, item)


def _is_code(path: str) -> bool:
    return path.split("/", maxsplit=1)[0] in PACKAGES


def _is_record(path: str) -> bool:
    return Path(path).parent == FOLDER


def _stage(
    name: str, body: Mapping[str, Any], params: Mapping[str, Any], item: str | None
) -> Stage:
    declared = body.get("params", [])
    outputs = [*body.get("outs", []), *body.get("metrics", [])]
    inputs = (path for path in _paths(body.get("deps", []), params, item) if not _is_code(path))
    return Stage(
        name=name if item is None else f"{name}@{item}",
        command=_filled(body["cmd"], params, item),
        inputs=tuple(sorted(inputs)),
        outputs=tuple(sorted(p for p in _paths(outputs, params, item) if not _is_record(p))),
        params=tuple(_filled(key, params, item) for key in declared if isinstance(key, str)),
        assets=tuple(
            key.removeprefix("assets.")
            for one in declared
            if isinstance(one, Mapping)
            for keys in one.values()
            for key in keys
        ),
    )


def read_stages(root: Path = Path()) -> list[Stage]:
    """Stages of a checkout, in the order of ``dvc.yaml``.

    Raises:
        OSError: a file is missing.
        StageError: ``dvc.yaml`` names a parameter that there is not.
    """
    params = load_yaml(root / "params.yaml")
    found = []
    for name, body in load_yaml(root / "dvc.yaml")["stages"].items():
        if "foreach" not in body:
            found.append(_stage(name, body, params, None))
            continue
        each = body["foreach"]
        items = each if isinstance(each, list) else value_at(params, _TEMPLATE.sub(r"\1", each))
        found += [_stage(name, body["do"], params, str(item)) for item in items]
    return found
