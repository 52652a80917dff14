"""What dvc.yaml promises, against what the stages' own code reads."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipelines.closure import ROOT
from pipelines.params import Params, load
from pipelines.params.dvc_yaml import differences, rewrite, stage_module

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
    """Keys of params.yaml that a stage module, or each of its package, reads by attribute."""
    place = ROOT.joinpath(*module.split("."))
    paths = sorted(place.glob("*.py")) if place.is_dir() else [place.with_suffix(".py")]
    for node in (node for path in paths for node in ast.walk(ast.parse(path.read_text()))):
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
            constants = re.findall(r"^[A-Z_0-9]+ = \"(\w+)\"$", text, re.MULTILINE)
            schema = dependency.startswith("pipelines/params/")
            loaded.update(set() if schema else known & set(constants))
    assert loaded <= declared


def test_no_stage_depends_on_how_it_is_run_and_only_score_and_report_read_the_truth() -> None:
    for name, body in STAGES.items():
        keys = [key for key in body.get("params", []) if isinstance(key, str)]
        assert not [key for key in keys if re.match(r"ray\b", key)]
        assert ("${evaluate.truth}" in body["deps"]) == (name in {"score", "report"})


def test_metrics_code_belongs_to_score_evaluate_and_report_alone() -> None:
    users = {
        name
        for name, body in STAGES.items()
        if any(str(dep).startswith("dimitra/metrics/") for dep in body["deps"])
    }
    assert users <= {"score", "evaluate", "report"}


def test_rewrite_mends_what_the_check_finds_and_touches_nothing_else(tmp_path: Path) -> None:
    files = {
        "dimitra/__init__.py": "",
        "dimitra/clips.py": "import dimitra.seeds as seeds\n",
        "dimitra/seeds.py": "",
        "dimitra/unused.py": "",
        "pipelines/__init__.py": "",
        "pipelines/crop.py": "from dimitra import clips\n",
    }
    for name, code in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(code)
    text = (
        "# a comment\nstages:\n  crop:\n    cmd: python -m pipelines.crop\n    deps:\n"
        "    - data/manifest\n    - dimitra/unused.py\n    params:\n    - split\n    outs:\n"
        "    - data/crops\n"
    )
    wrong = differences(text, tmp_path)
    assert "crop: dimitra/unused.py is in deps, but not imported" in wrong
    assert "crop: dimitra/seeds.py is missing from deps" in wrong
    assert "crop: lineage/crop.json is missing from outs" in wrong
    mended = rewrite(text, tmp_path)
    assert differences(mended, tmp_path) == []
    assert rewrite(mended, tmp_path) == mended
    ours = "    - lineage/crop.json:\n        cache: false\n"
    assert mended.endswith(ours)
    mended = mended.removesuffix(ours)
    kept = "".join(line for line in mended.splitlines(keepends=True) if "imitra" not in line)
    assert kept.replace("    - pipelines/__init__.py\n    - pipelines/crop.py\n", "") == (
        text.replace("    - dimitra/unused.py\n", "")
    )


def test_dvc_yaml_follows_the_code_and_the_parameters() -> None:
    text = (ROOT / "dvc.yaml").read_text()
    wrong = differences(text, params=load(ROOT / "params.yaml"))
    assert wrong == [], "run `python -m pipelines.closure --write`"


def test_what_does_not_follow_the_parameters_is_found_and_mended() -> None:
    text = (ROOT / "dvc.yaml").read_text()
    sample, paper = (load(ROOT / "conf" / f"{name}.yaml") for name in ("sample", "paper"))
    text = rewrite(text, params=sample)
    wrong = differences(text, params=paper)
    for line in (
        "evaluate: metrics/hdtf.json is missing from metrics",
        "evaluate: metrics/lecture.json is in metrics, but not used",
        "report: metrics/hdtf.json is missing from deps",
        "transcribe: dimitra/assets.yaml: assets.whisper_small_en is missing from params",
        "transcribe: dimitra/assets.yaml: assets.whisper_tiny_en is in params, but not used",
    ):
        assert line in wrong
    mended = rewrite(text, params=paper)
    assert differences(mended, params=paper) == []
    assert rewrite(mended, params=sample) == text
    assert differences(text.replace("    - weights.yaml\n", "", 1), params=sample) == [
        "crop: weights.yaml is missing from deps"
    ]


def test_every_stage_leaves_a_record_and_the_report_reads_those_of_all_others() -> None:
    found = {}
    for name, body in STAGES.items():
        records = [
            path
            for one in body["outs"]
            if isinstance(one, dict)
            for path, settings in one.items()
            if path.startswith("lineage/")
            and settings == {"cache": False}  # in git, not in DVC's cache
        ]
        assert len(records) == 1, name
        found[name] = records[0]
    assert found["train"] == "lineage/train-${item}.json"
    read = {path for path in STAGES["report"]["deps"] if str(path).startswith("lineage/")}
    parts = {f"lineage/train-{part}.json" for part in load(ROOT / "params.yaml").train.parts}
    once = {found[name] for name in STAGES if name not in ("train", "train_renderer", "report")}
    assert read == once | parts
