"""The lineage record that every stage leaves: `lineage/<stage>.json`, written last of all.

    if __name__ == "__main__":
        sys.exit(guarded(with_lineage(main)))

Which stage runs is told by its command line in ``dvc.yaml``, and so is what it reads and writes.
The record holds what is the same in every run; when, where and on what a run was made goes to
MLflow and to OpenLineage events (``pipelines.lineage.openlineage``).
"""

from __future__ import annotations

import functools
import importlib
import json
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from dimitra.assets import AssetError, asset_sha256, get_asset
from dimitra.lineage.raw import read_datasets
from dimitra.lineage.record import (
    Artefact,
    AssetUse,
    LineageRecord,
    ShardFile,
    record_path,
    write_record,
)
from dimitra.lineage.sides import TABLE, read_sides
from dimitra.lineage.tree import read_artefact
from dimitra.shards import list_sidecars, sha256_file
from pipelines.lineage.code_version import code_version
from pipelines.lineage.stages import Stage, load_yaml, read_stages, value_at
from pipelines.lineage.surroundings import environment, packages, tools
from pipelines.params import Params, load, weights_keys, weights_of

_EVENTS = "pipelines.lineage.openlineage"
"""Found by name: what is told of a run is no part of what a stage's bytes depend on."""
_SPLIT = "data/split"
_WEIGHTS = "model.safetensors"


def flat(key: str, value: Any) -> Iterator[tuple[str, Any]]:
    """``a``, ``{"b": {"c": 1}}`` to ``a.b.c``, 1; lists stay as they are."""
    if isinstance(value, Mapping) and value:
        for name, inner in value.items():
            yield from flat(f"{key}.{name}", inner)
    else:
        yield key, value


def _params(stage: Stage, root: Path) -> dict[str, Any]:
    values = load_yaml(root / "params.yaml")
    found: dict[str, Any] = {}
    for key in stage.params:
        found |= {name: _plain(one) for name, one in flat(key, value_at(values, key))}
    return dict(sorted(found.items()))


def _plain(value: Any) -> Any:
    """As JSON has it: a date is text."""
    return json.loads(json.dumps(value, default=str))


def _expanded(path: str, stages: Sequence[Stage]) -> list[str]:
    """A folder that several stages write into, as what they write: ``models``, ``models/lips``."""
    outputs = {output for stage in stages for output in stage.outputs}
    inside = sorted(output for output in outputs if output.startswith(f"{path}/"))
    return [path] if path in outputs or not inside else inside


def _inputs(
    stage: Stage, stages: Sequence[Stage], params: Params, root: Path
) -> Iterator[Artefact]:
    for path in stage.inputs:
        if path == params.datasets.root:
            sets = params.datasets.model_dump(mode="json")["sets"]
            yield read_datasets(path, sets, root)
            continue
        for one in _expanded(path, stages):
            yield read_artefact(one, root)


def _shards(stage: Stage, root: Path) -> Iterator[ShardFile]:
    for output in stage.outputs:
        if (root / output).is_dir():
            for path, sidecar in list_sidecars(root / output).items():
                yield ShardFile(
                    f"{output}/{path.name}", sidecar.sha256, sidecar.clips, sidecar.size_bytes
                )


def _clips(stage: Stage, root: Path) -> dict[str, Any] | None:
    for output in stage.outputs:
        path = root / output / "balance.json"
        if path.is_file():
            balance = json.loads(path.read_text())
            return {
                "in": balance["clips_in"],
                "out": balance["clips_out"],
                "quarantined": balance["quarantined"],
                "reasons": balance["reasons"],
            }
    return None


def _asset(name: str, reference: str) -> AssetUse:
    asset = get_asset(reference)
    try:
        digest = asset_sha256(reference)
    except AssetError:  # not pinned, and not here: the stage has not used it
        digest = None
    source = asset.sources[0] if asset.sources else ""
    return AssetUse(name, reference, digest, asset.licence, source)


def _assets(stage: Stage, params: Params) -> list[AssetUse]:
    """What parameters of the stage name, under their keys; then what its code names."""
    covered = {
        key
        for key in weights_keys()
        if any(key == name or key.startswith(f"{name}.") for name in stage.params)
    }
    chosen = {key: name for key, name in weights_of(params).items() if key in covered}
    named = {name: name for name in stage.assets if name not in chosen.values()}
    return [_asset(*one) for one in sorted({**chosen, **named}.items())]


def _digests(stage: Stage, inputs: Sequence[Artefact], root: Path) -> dict[str, str]:
    found = {}
    if _SPLIT in stage.outputs or any(one.path == _SPLIT for one in inputs):
        path = root / _SPLIT / "split.json"
        if path.is_file():
            found["split"] = str(json.loads(path.read_text())["digest"])
    for output in stage.outputs:
        if (root / output / _WEIGHTS).is_file():
            found["model"] = sha256_file(root / output / _WEIGHTS)
    return found


def make_record(stage: Stage, root: Path = Path()) -> LineageRecord:
    """The record of a stage that has just finished.

    Args:
        stage: which.
        root: folder of the run: ``dvc.yaml``, ``params.yaml``, ``data/``.

    Raises:
        OSError: a file cannot be read.
        ParamsError: ``params.yaml`` breaks its schema.
        StageError: ``dvc.yaml`` names a parameter that there is not.
    """
    params = load(root / "params.yaml")
    values = _params(stage, root)
    inputs = sorted(_inputs(stage, read_stages(root), params, root), key=lambda one: one.path)
    code = code_version(shlex.split(stage.command)[2])
    return LineageRecord(
        stage=stage.name,
        command=stage.command,
        code=code,
        params=values,
        inputs=tuple(inputs),
        outputs=tuple(read_artefact(path, root) for path in stage.outputs),
        shards=tuple(_shards(stage, root)),
        clips=_clips(stage, root),
        assets=tuple(_assets(stage, params)),
        tools=tools(code.files, values),
        packages=packages(code.files),
        seeds={key: value for key, value in values.items() if key.split(".")[-1] == "seed"},
        environment=environment(values),
        digests=_digests(stage, inputs, root),
        sides=read_sides(root / TABLE) if _SPLIT in stage.outputs else None,
    )


def _running(root: Path) -> Stage | None:
    """The stage that this process runs; None outside of a pipeline's folder."""
    spec = vars(sys.modules["__main__"]).get("__spec__")
    if spec is None or not (root / "dvc.yaml").is_file():
        return None
    command = shlex.join(["python", "-m", spec.name.removesuffix(".__main__"), *sys.argv[1:]])
    return next((stage for stage in read_stages(root) if stage.command == command), None)


def with_lineage(main: Callable[[], None], root: Path = Path()) -> Callable[[], None]:
    """``main`` that leaves a lineage record, and tells of its run.

    A run that fails leaves none: that of an earlier one is removed first. Where the command line is
    none of ``dvc.yaml``'s stages, as in a folder without one, ``main`` runs as it is.

    Args:
        main: of a stage.
        root: folder of the run.
    """

    @functools.wraps(main)
    def run() -> None:
        stage = _running(root)
        if stage is None:
            main()
            return
        (root / record_path(stage.name)).unlink(missing_ok=True)
        events: Any = importlib.import_module(_EVENTS)
        with events.told(stage) as told:
            main()
            record = make_record(stage, root)
            write_record(record, root)
            told.finished(record)

    return run
