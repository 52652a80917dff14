"""The lines of ``dvc.yaml`` that follow from the code and from the parameters.

    python -m pipelines.closure --check     # dvc.yaml says what it must: exit 1 if not
    python -m pipelines.closure --write     # rewrite those lines; all else stays as it is

* A stage's code dependencies are the import closure of its module (``pipelines.closure``).
* A stage that loads weights depends on ``weights.yaml`` and on the entries of its assets in
  ``assets.yaml``: those that its code names and those that its parameters name.
* ``render`` depends on the renderer of one's own where ``render.weights`` is ``trained``.
* ``evaluate`` writes, and ``report`` reads, one ``metrics/<dataset>.json`` a dataset of
  ``params.yaml``.
* Every stage writes its lineage record, and ``report`` reads those of all others.
"""

from __future__ import annotations

import argparse
import io
import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from dimitra.assets import list_assets
from dimitra.lineage.record import FOLDER, record_path
from dimitra.shards import write_atomic
from pipelines.closure import PACKAGES, ROOT, ClosureError, closure
from pipelines.params import TRAINED, Params, load, weights_keys, weights_of

WEIGHTS = "weights.yaml"
CATALOGUE = "dimitra/assets.yaml"
OWN_RENDERER = "renderers/trained"
"""What ``train_renderer`` makes."""
_METRICS = re.compile(r"metrics/(?!(?:ablations|paired)\.json)[^/]+\.json")
"""Of a data set; the ablations' file, which no stage writes, and that of the tests are for all."""
_REPORT = "report"
_NAMED = re.compile(r"(?:asset_(?:path|sha256)\(|^[A-Z_0-9]+ = )\"(\w+)\"", re.MULTILINE)
"""An asset that code names: where it is looked up, or as a constant of its module."""
_SCHEMA = "pipelines/params/"
"""Part of every stage's code; what it names is for the parameters to choose."""


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


def _named_keys(body: Mapping[str, Any]) -> list[str]:
    return [key for key in body.get("params", []) if isinstance(key, str)]


def _may_load(body: Mapping[str, Any]) -> list[str]:
    """Keys of weights that a stage's parameters cover."""
    declared = _named_keys(body)
    return [
        key
        for key in weights_keys()
        if any(key == name or key.startswith(f"{name}.") for name in declared)
    ]


class _Needs:
    """What one stage's lines must be.

    Attributes:
        code: its import closure.
        assets: entries of ``assets.yaml`` that it depends on, sorted.
        weights: it loads weights.
        renderer: it draws with the renderer that the run has trained.
    """

    def __init__(self, body: Mapping[str, Any], root: Path, params: Params | None) -> None:
        files = closure(stage_module(body["cmd"]), root)
        self.code = [path.as_posix() for path in files]
        listed = {asset.name for asset in list_assets()}
        modules = [path for path in self.code if path.endswith(".py")]
        texts = [(root / path).read_text() for path in modules if not path.startswith(_SCHEMA)]
        named = {name for text in texts for name in _NAMED.findall(text)}
        keys = _may_load(body)
        if params is not None:
            chosen = weights_of(params)
            named |= {chosen[key] for key in keys if key in chosen}
        self.assets = sorted(named & listed)
        self.weights = bool(keys or self.assets)
        own = params is not None and params.render.weights == TRAINED
        self.renderer = own and "render.weights" in keys


def _bodies(content: Mapping[str, Any]) -> dict[str, Any]:
    return {name: stage.get("do", stage) for name, stage in content["stages"].items()}


def _dependencies(
    body: Mapping[str, Any], needs: _Needs, metrics: Iterable[str], records: Iterable[str]
) -> list[Any]:
    """Data dependencies as they stand, but for what is kept here; then the code."""
    kept = (WEIGHTS, OWN_RENDERER)
    data = [
        one
        for one in body.get("deps", [])
        if not _is_code(one) and one not in kept and not _is_record(one)
    ]
    if any(_is_metrics(one) for one in data):
        first = next(number for number, one in enumerate(data) if _is_metrics(one))
        others = [one for one in data if not _is_metrics(one)]
        data = [*others[:first], *metrics, *others[first:]]
    own = [OWN_RENDERER] if needs.renderer else []
    return [*data, *records, *own, *([WEIGHTS] if needs.weights else []), *needs.code]


def _is_record(value: Any) -> bool:
    """Whether a path, or an output with its settings, is a lineage record."""
    names = [value] if isinstance(value, str) else list(value)
    return all(Path(name).parent == FOLDER for name in names)


def _own_record(name: str, stage: Mapping[str, Any]) -> str:
    """Where a stage of ``dvc.yaml`` leaves its record."""
    return record_path(f"{name}@${{item}}" if "foreach" in stage else name).as_posix()


def _records_of_others(
    content: Mapping[str, Any], body: Mapping[str, Any], params: Params | None
) -> list[str]:
    """Records that ``report`` reads; as they stand where there are no parameters."""
    if params is None:
        return [one for one in body.get("deps", []) if isinstance(one, str) and _is_record(one)]
    found = []
    for name, stage in content["stages"].items():
        if name == _REPORT:
            continue
        items: list[str | None] = [None]
        if "foreach" in stage:
            section, key = stage["foreach"].strip("${}").split(".")
            items = list(getattr(getattr(params, section), key))
        found += [record_path(name if item is None else f"{name}@{item}") for item in items]
    return [path.as_posix() for path in found]


def _is_metrics(value: Any) -> bool:
    return isinstance(value, str) and _METRICS.fullmatch(value) is not None


def _metrics(params: Params | None, content: Mapping[str, Any]) -> list[str]:
    """Metrics files of the datasets; as they stand where there are no parameters."""
    if params is not None:
        return [f"metrics/{name}.json" for name in params.datasets.sets]
    lists = [body.get("metrics", []) for body in _bodies(content).values()]
    return [name for one in lists for item in one for name in item if _is_metrics(name)]


def rewrite(text: str, root: Path = ROOT, params: Params | None = None) -> str:
    """``dvc.yaml`` with the lines that follow from code and parameters set; all else as it was.

    Args:
        text: of ``dvc.yaml``.
        root: folder that holds the packages.
        params: of the pipeline; None leaves alone what follows from them.
    """
    from ruamel.yaml import YAML

    ruamel = YAML()
    ruamel.preserve_quotes = True
    ruamel.width = 4096
    ruamel.indent(mapping=2, sequence=2, offset=0)
    content = ruamel.load(text)
    metrics = _metrics(params, content)
    for name, body in _bodies(content).items():
        needs = _Needs(body, root, params)
        records = _records_of_others(content, body, params) if name == _REPORT else []
        _set(body, "deps", _dependencies(body, needs, metrics, records))
        parameters = [*_named_keys(body)]
        if needs.assets:
            parameters.append({CATALOGUE: [f"assets.{name}" for name in needs.assets]})  # type: ignore[arg-type]
        if parameters or "params" in body:
            _set(body, "params", parameters)
        outs = [one for one in body.get("outs", []) if not _is_record(one)]
        own = _own_record(name, content["stages"][name])
        _set(body, "outs", [*outs, {own: {"cache": False}}])
        if any(_is_metrics(one) for item in body.get("metrics", []) for one in item):
            _set(body, "metrics", [{one: {"cache": False}} for one in metrics])
    buffer = io.StringIO()
    ruamel.dump(content, buffer)
    return buffer.getvalue()


def _set(body: dict[str, Any], key: str, value: list[Any]) -> None:
    """Replace a list where it differs, so that its comments and its layout stay where not."""
    if body.get(key) is None or list(body[key]) != value:
        body[key] = value


def differences(text: str, root: Path = ROOT, params: Params | None = None) -> list[str]:
    """What is wrong with the kept lines of ``dvc.yaml``, one line each."""
    content = yaml.safe_load(text)
    right = yaml.safe_load(rewrite(text, root, params))
    wrong = []
    for name, body in _bodies(content).items():
        needed = _bodies(right)[name]
        for key in ("deps", "params", "outs", "metrics"):
            here, there = _flat(body.get(key, [])), _flat(needed.get(key, []))
            wrong += [f"{name}: {item} is missing from {key}" for item in sorted(there - here)]
            why = "not imported" if key == "deps" else "not used"
            wrong += [f"{name}: {item} is in {key}, but {why}" for item in sorted(here - there)]
    return wrong


def _flat(items: Iterable[Any]) -> set[str]:
    found = set()
    for item in items:
        if isinstance(item, str):
            found.add(item)
        else:
            for name, inner in item.items():
                keys = inner if isinstance(inner, list) else []
                found |= {f"{name}: {key}" for key in keys} or {name}
    return found


def main() -> int:
    """Check or rewrite ``dvc.yaml``."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.closure")
    choice = parser.add_mutually_exclusive_group(required=True)
    choice.add_argument("--check", action="store_true")
    choice.add_argument("--write", action="store_true")
    options = parser.parse_args()
    path = ROOT / "dvc.yaml"
    params = load(ROOT / "params.yaml")
    if options.write:
        write_atomic(path, rewrite(path.read_text(), params=params).encode())
        return 0
    wrong = differences(path.read_text(), params=params)
    sys.stderr.writelines(f"{line}\n" for line in wrong)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
