"""What dvc.yaml promises, against what the stages' own code reads."""

import ast
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from pipelines.closure import ROOT
from pipelines.dvc_yaml import stage_module
from pipelines.params import Params

STAGES: dict[str, dict[str, Any]] = {
    name: stage.get("do", stage)
    for name, stage in yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"].items()
}


def chain(node: ast.expr) -> list[str]:
    """``params.crop.size`` -> ``["params", "crop", "size"]``; empty for anything else."""
    if isinstance(node, ast.Name):
        return [node.id]
    if isinstance(node, ast.Attribute) and (above := chain(node.value)):
        return [*above, node.attr]
    return []


def read_keys(module: str) -> Iterator[str]:
    """Keys of params.yaml that a stage module reads by attribute."""
    path = ROOT.joinpath(*module.split(".")).with_suffix(".py")
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Attribute):
            words = chain(node)
            if words and words[0] == "params" and words[1] in Params.model_fields:
                known = [word for word in words[1:3] if word not in dir(Params)]
                yield ".".join(known)


HOW_TO_RUN = ("ray", "storage")
"""Sections on which no byte depends: the same shards come out, and the same sidecars."""


@pytest.mark.parametrize("name", STAGES)
def test_every_parameter_that_a_stage_reads_is_declared(name: str) -> None:
    body = STAGES[name]
    declared = [key for key in body.get("params", []) if isinstance(key, str)]
    for key in read_keys(stage_module(body["cmd"])):
        section = key.split(".", maxsplit=1)[0]
        covered = any(
            key == item or key.startswith(f"{item}.") or item.startswith(f"{key}.")
            for item in declared
        )
        assert covered or section in HOW_TO_RUN, f"{name} reads {key}, which its params do not name"


@pytest.mark.parametrize("name", STAGES)
def test_every_asset_that_a_stage_loads_is_declared(name: str) -> None:
    body = STAGES[name]
    declared = {
        key.removeprefix("assets.")
        for item in body.get("params", [])
        if isinstance(item, dict)
        for key in item["dimitra/assets.yaml"]
    }
    known = set(yaml.safe_load((ROOT / "dimitra/assets.yaml").read_text())["assets"])
    assert declared <= known
    loaded = set()
    for dependency in body["deps"]:
        if str(dependency).endswith(".py"):
            text = (ROOT / dependency).read_text()
            loaded.update(re.findall(r"asset_path\(\"(\w+)\"", text))
    assert loaded <= declared


def test_no_stage_depends_on_how_it_is_run_and_only_evaluate_reads_the_truth() -> None:
    for name, body in STAGES.items():
        keys = [key for key in body.get("params", []) if isinstance(key, str)]
        assert not [key for key in keys if re.match(r"ray\b", key)]
        assert ("${evaluate.truth}" in body["deps"]) == (name == "evaluate")


def test_metrics_code_belongs_to_evaluate_and_report_alone() -> None:
    users = {
        name
        for name, body in STAGES.items()
        if any(str(dep).startswith("dimitra/metrics/") for dep in body["deps"])
    }
    assert users <= {"evaluate", "report"}
