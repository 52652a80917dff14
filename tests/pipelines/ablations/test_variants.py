"""Ablations: what is kept, and the experiments themselves in a small checkout."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from pipelines.ablations import experiments
from pipelines.ablations import variants as ablations
from pipelines.ablations.variants import (
    BY_KEY,
    VARIANTS,
    fingerprint,
)
from pipelines.closure import ROOT
from pipelines.commands import ablations as ablations_command
from pipelines.errors import StageError
from pipelines.params import load, parse
from pipelines.report.ablations import METRICS, ablation_tables
from tests.pipelines.ablations.numbers import entries, scores

LOCK = {
    "stages": {
        "shard": {"outs": [{"path": path, "md5": f"{path}-1"} for path in ablations.SHARED]},
        "score": {"deps": [{"path": "truth", "md5": "t"}], "outs": []},
    }
}


def test_every_variant_is_a_valid_parameter_file() -> None:
    for variant in VARIANTS:
        values = yaml.safe_load((ROOT / "conf/sample.yaml").read_text())
        for key, value in variant.overrides.items():
            section, name = key.split(".")
            assert name in values[section]
            values[section][name] = yaml.safe_load(value)
        parse(values)
    assert {"full", "no_phonemes", "no_text", "no_speech", "no_first_pose", "joint", "softmax"} == (
        BY_KEY.keys()
    )


def test_a_fingerprint_follows_all_that_numbers_depend_on_and_nothing_else() -> None:
    params = load(ROOT / "conf/sample.yaml")
    variant = BY_KEY["no_text"]
    mark = fingerprint(variant, params, LOCK)
    other_seed = params.model_copy(update={"seed": 1})
    other_way = params.model_copy(update={"ray": params.ray.model_copy(update={"workers": 7})})
    assert fingerprint(variant, other_way, LOCK) == mark
    assert fingerprint(variant, other_seed, LOCK) != mark
    assert fingerprint(BY_KEY["full"], params, LOCK) != mark
    other_shards = json.loads(json.dumps(LOCK).replace("data/shards-1", "data/shards-2"))
    assert fingerprint(variant, params, other_shards) != mark
    with pytest.raises(StageError, match="dvc.lock does not know data/shards"):
        fingerprint(variant, params, {"stages": {}})


def test_what_differs_between_two_parameter_files() -> None:
    before = "a: {b: 1, c: [x]}\nd: 2\n"
    assert ablations.changed_params(before, before) == {}
    assert ablations.changed_params(before, "a: {b: 1, c: [x, y]}\ne: 3\n") == {
        "a.c": ["x", "y"],
        "d": None,
        "e": 3,
    }


def test_the_report_lays_out_what_has_run() -> None:
    (table,) = ablation_tables(entries())
    assert [row.label for row in table.rows] == [
        "Full",
        "No phonemes",
        "No text",
        "One joint model",
    ]
    assert all(len(row.cells) == len(METRICS) for row in table.rows)
    assert table.chart is not None
    labels = [bar.label for bar in table.chart.bars]
    assert labels == ["+104.6 %", "+104.6 %", "+0.0 %", "+0.0 %", "-50.8 %", "-50.8 %"]
    assert table.chart.left <= min(bar.x for bar in table.chart.bars)
    assert max(bar.x + bar.width for bar in table.chart.bars) < table.chart.width
    assert ablation_tables({}) == ()
    (alone,) = ablation_tables({"full": entries()["full"]})
    assert alone.chart is None
    assert alone.findings == ()


SCORE = """
import json, pathlib, yaml
params = yaml.safe_load(open("params.yaml"))
with open({log!r}, "a") as log:
    log.write(",".join(params["model"]["conditions"]) + "\\n")
error = 0.1 if "phonemes" in params["model"]["conditions"] else 0.2
template = pathlib.Path("template.json").read_text()
pathlib.Path("data/scores").mkdir(parents=True)
for name in params["datasets"]["sets"]:
    text = template.replace("1234.5", str(error))
    pathlib.Path(f"data/scores/{{name}}.json").write_text(text)
"""
DVC_YAML = """
stages:
  score:
    cmd: python score.py
    deps: [score.py, template.json]
    params: [model, train, generate]
    outs: [data/scores]
"""


def call(folder: Path, *command: str) -> str:
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A DVC repository whose stage `score` writes numbers at once; after its first run."""
    for name in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{name}_NAME", "t")
        monkeypatch.setenv(f"GIT_{name}_EMAIL", "t@example.org")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("DVC_NO_ANALYTICS", "true")
    here = Path(sys.executable).parent
    monkeypatch.setenv("PATH", f"{here}{os.pathsep}{os.environ['PATH']}")
    root = tmp_path / "checkout"
    root.mkdir()
    monkeypatch.chdir(root)
    content = json.dumps(scores(1234.5)["chorus"])
    (root / "template.json").write_text(content)
    (root / "score.py").write_text(SCORE.format(log=str(tmp_path / "log")))
    (root / "params.yaml").write_text((ROOT / "conf/sample.yaml").read_text())
    (root / "dvc.yaml").write_text(DVC_YAML)
    (root / "metrics").mkdir()
    (root / "metrics/ablations.json").write_text("{}\n")
    (root / ".gitignore").write_text("/data\n")
    call(root, "git", "init", "-q")
    call(root, sys.executable, "-m", "dvc", "init", "-q")
    call(root, sys.executable, "-m", "dvc", "repro", "-q")
    lock = yaml.safe_load((root / "dvc.lock").read_text())
    lock["stages"]["shard"] = {"cmd": "none", **LOCK["stages"]["shard"]}
    (root / "dvc.lock").write_text(yaml.safe_dump(lock))
    call(root, "git", "add", "-A")
    call(root, "git", "commit", "-qm", "all")
    return root


def ran(root: Path) -> list[str]:
    return (root.parent / "log").read_text().splitlines()[1:]


def test_experiments_run_once_leave_the_tree_alone_and_are_kept(checkout: Path) -> None:
    command = ["run", "--only", "no_phonemes"]
    result = CliRunner().invoke(ablations_command.app, command)
    assert result.exit_code == 0, result.output
    assert "No phonemes: lips worse" in result.output
    assert call(checkout, "git", "status", "--porcelain").split() == ["M", "metrics/ablations.json"]
    kept = json.loads((checkout / "metrics/ablations.json").read_text())
    assert list(kept) == ["full", "no_phonemes"]
    lineage = kept["no_phonemes"]["lineage"]
    assert lineage["params"] == {
        "generate.samples": 1,
        "model.conditions": ["speech", "text", "first_pose"],
    }
    assert lineage["baseline_commit"] == call(checkout, "git", "rev-parse", "HEAD").strip()
    assert set(ablations.SHARED) < set(lineage["digests"])
    assert lineage["digests"]["data/scores"] != kept["full"]["lineage"]["digests"]["data/scores"]
    assert kept["no_phonemes"]["change"]["chorus"]["mouth_mae_truth"]["mean"] == pytest.approx(0.1)
    assert ran(checkout)[-1:] == ["speech,text,first_pose"]

    before = ran(checkout)
    again = CliRunner().invoke(ablations_command.app, command)
    assert again.exit_code == 0, again.output
    # Numbers that were lost come back from the experiments, which are not run again.
    call(checkout, "git", "checkout", "-q", "metrics/ablations.json")
    third = CliRunner().invoke(ablations_command.app, ["collect", "--only", "no_phonemes"])
    assert third.exit_code == 0, third.output
    assert (
        json.loads((checkout / "metrics/ablations.json").read_text())["no_phonemes"]["lineage"]
        == lineage
    )
    assert ran(checkout) == before


def test_uncommitted_edits_and_unknown_variants_are_refused(checkout: Path) -> None:
    (checkout / "score.py").write_text("raise SystemExit(3)\n")
    result = CliRunner().invoke(ablations_command.app, ["run"])
    assert result.exit_code == 2
    with pytest.raises(StageError, match=r"not committed: score\.py; commit first"):
        experiments.check_clean(checkout)
    assert CliRunner().invoke(ablations_command.app, ["run", "--only", "no_hair"]).exit_code == 2
    call(checkout, "git", "commit", "-qam", "breaks")
    with pytest.raises(StageError, match="exp run --temp .* exited"):
        experiments.call(checkout, experiments.command(BY_KEY["no_text"], "ablation-x"))
    assert experiments.find(checkout, "ablation-x") is None
