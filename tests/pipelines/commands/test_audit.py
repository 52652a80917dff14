"""The command: its exit codes, what it prints, and what it loads."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from dimitra.lineage.graph import Graph
from dimitra.lineage.record import LineageError, read_records
from dimitra.lineage.target import find_target
from pipelines.commands.audit import app
from pipelines.lineage.replay import replay
from tests.lineage.small_run import TESTED, inside, make_run
from tests.lineage.trees import ROOT, git

METRIC = "metrics/chorus.json"
runner = CliRunner()


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make_run(tmp_path_factory.mktemp("command"))
    git(folder, "init", "-q")
    git(folder, "add", "lineage", "metrics")
    git(folder, "commit", "-qm", "run")
    return folder


@pytest.fixture
def run(kept: Path, tmp_path: Path) -> Path:
    return shutil.copytree(kept, tmp_path / "run")


def change_value(folder: Path) -> None:
    path = folder / METRIC
    table = json.loads(path.read_text())
    table["dimitra_hp"]["f_lmd"]["value"] += 0.25
    path.write_text(json.dumps(table))


def test_a_number_is_explained(kept: Path) -> None:
    with inside(kept):
        result = runner.invoke(app, [f"{METRIC}#dimitra_hp.f_lmd", "--verify"], terminal_width=200)
    assert result.exit_code == 0, result.output
    for text in ("f_lmd", "train@lips", "train.lips.steps", "chorus/v1", "CC0-1.0", "dlib_68"):
        assert text in result.output
    assert "0 identities, 0 source videos" in result.output
    assert "every link holds" in result.output


def test_a_broken_link_is_exit_code_1_and_no_such_thing_is_2(run: Path) -> None:
    with inside(run):
        change_value(run)
        broken = runner.invoke(app, [METRIC, "--json"])
        nothing = runner.invoke(app, ["metrics/nothing.json"])
    assert broken.exit_code == 1
    content = json.loads(broken.stdout)
    assert not content["ok"]
    (finding,) = [one for one in content["findings"] if one["kind"] == "broken"]
    assert finding["where"] == METRIC
    assert nothing.exit_code == 2
    assert "no record tells of metrics/nothing.json" in nothing.stderr


def test_the_committed_ablations_are_followed() -> None:
    """In this checkout, without artefacts; what an audit of a forged one says, other tests do."""
    with inside(ROOT):
        table = runner.invoke(app, ["metrics/ablations.json", "--json"])
        number = runner.invoke(
            app, ["metrics/ablations.json#joint.mouth_mae_truth", "--diff", "HEAD"]
        )
    variants = {one["variant"] for one in json.loads(table.stdout)["variants"]}
    assert {"full", "joint", "no_first_pose"} <= variants
    for text in ("made by experiments of their own", "experiment ablation-joint-"):
        assert text in number.output


def test_why_a_number_changed(run: Path) -> None:
    path = run / "lineage" / "train-lips.json"
    values = json.loads(path.read_text())
    values["params"]["train.lips.steps"] += 1
    path.write_text(json.dumps(values))
    for name, paths in (
        ("train-lips", ("models/lips",)),
        ("generate", ("models/lips", "data/generated")),
        ("render", ("data/generated", "data/videos")),
        ("score", ("data/generated", "data/scores")),
        ("evaluate", ("data/videos", "data/scores", METRIC)),
    ):
        file = run / "lineage" / f"{name}.json"
        record = json.loads(file.read_text())
        for one in [*record["inputs"], *record["outputs"]]:
            if one["path"] in paths:
                one["sha256"] = f"{one['path']:0<64}"
        file.write_text(json.dumps(record))
    with inside(run):
        result = runner.invoke(app, [METRIC, "--diff", "HEAD", "--json"])
        same = runner.invoke(app, ["data/crops", "--diff", "HEAD..HEAD"])
        clip = runner.invoke(app, [TESTED, "--diff", "HEAD"])
    (cause,) = json.loads(result.stdout)["causes"]
    assert (cause["kind"], cause["what"]) == ("parameter", "train.lips.steps")
    assert int(cause["after"]) == int(cause["before"]) + 1
    assert "nothing; it is the same in both" in same.output
    assert clip.exit_code == 2


def test_numbers_are_made_again(run: Path) -> None:
    with inside(run):
        good = runner.invoke(app, [METRIC, "--replay"])
        change_value(run)
        bad = runner.invoke(app, [f"{METRIC}#dimitra_hp.f_lmd", "--replay", "--json"])
    assert good.exit_code == 0, good.output
    assert "numbers made again, all the same" in " ".join(good.output.split())
    assert bad.exit_code == 1
    replayed = json.loads(bad.stdout)["replay"]
    assert (replayed["numbers"], replayed["differing"]) == (1, 1)


def test_another_processor_is_held_against_the_tolerance(run: Path) -> None:
    records = read_records(run)
    graph = Graph(records)
    target = find_target(METRIC, graph, run)
    elsewhere = records["evaluate"]
    other = type(elsewhere)(**{**vars(elsewhere), "environment": {"cpu": "another"}})
    with inside(run):
        path = run / METRIC
        table = json.loads(path.read_text())
        table["dimitra_hp"]["f_lmd"]["value"] += 0.001
        path.write_text(json.dumps(table))
        near = replay(target, other)
        change_value(run)
        far = replay(target, other)
        with pytest.raises(LineageError, match="--replay makes numbers again"):
            replay(find_target("models/lips", graph, run), other)
    assert (near.differing, near.problems, near.same_processor) == (1, (), False)
    assert [one.partition(":")[0] for one in far.problems] == ["dimitra_hp.f_lmd"]


def test_an_audit_loads_nothing_heavy(kept: Path) -> None:
    code = (
        "import sys\n"
        "from pipelines.commands.audit import app\n"
        f"app(['{METRIC}'], standalone_mode=False)\n"
        "heavy = ('torch', 'mlflow', 'ray', 'dvc', 'pandas', 'scipy')\n"
        "print('LOADED', [name for name in heavy if name in sys.modules])\n"
    )
    made = subprocess.run(
        [sys.executable, "-c", code],
        cwd=kept,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
        check=True,
        capture_output=True,
        text=True,
    )
    assert made.stdout.splitlines()[-1] == "LOADED []"
