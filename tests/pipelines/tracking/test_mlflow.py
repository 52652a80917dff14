"""Executions, models and registry in MLflow, with a real server, a real DVC, and `animate`."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx2
import mlflow
import numpy as np
import psutil
import pytest
import yaml
from PIL import Image
from typer.testing import CliRunner

from dimitra.animation.settings import read_settings
from dimitra.shards import json_bytes, sha256_file, write_shard
from pipelines.closure import ROOT
from pipelines.commands.model import app
from pipelines.shard import OUTPUT, statistics
from pipelines.tracking.execution import PARENT_TAG, Execution, ExecutionRuns, find_execution
from pipelines.tracking.facts import git_tags, lock_tags
from pipelines.tracking.registry import content_digest
from pipelines.tracking.results import read_results
from pipelines.tracking.stage_record import StageRecord
from pipelines.tracking.store import open_experiment
from tests.animation.toy import photo, sentence
from tests.cmdt.corpus import toy_clip, toy_parts
from tests.lineage.trees import git
from tests.pipelines.mlflow_runs import artifacts, client, runs, stage_runs
from tests.pipelines.toy_shards import small_params
from tests.speech.signals import boats

PARTS = ("lips", "expression", "pose")
SPEECH, TEXT = 416, 384
"""Values of the encoders of profile `sample`."""
STAGE = textwrap.dedent(
    """
    import sys
    from pathlib import Path
    from pipelines.tracking.stage_record import StageRecord
    name = sys.argv[1]
    with StageRecord(name, {"size": 3}) as run:
        for step in range(200):
            run.point({"loss": 1 / (step + 1)}, step)
        Path(f"{name}.txt").write_text(name * 3)
        run.keep(Path(f"{name}.txt"), "texts")
        if Path(f"break-{name}").exists():
            raise SystemExit(f"{name} breaks")
    """
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a tracking server."""
    folder = tmp_path_factory.mktemp("server")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = (folder / "log").open("w")
    child = subprocess.Popen(
        [
            *(sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1"),
            *("--port", str(port), "--workers", "1"),
            *("--backend-store-uri", f"sqlite:///{folder / 'mlflow.db'}"),
            *("--artifacts-destination", str(folder / "artifacts")),
        ],
        cwd=folder,
        env=os.environ
        | {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
        stdout=log,
        stderr=log,
        start_new_session=True,
    )
    address = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 120
        while True:
            with contextlib.suppress(httpx2.HTTPError):
                if httpx2.get(f"{address}/health").status_code == 200:
                    break
            assert child.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < deadline, (folder / "log").read_text()
            time.sleep(0.3)
        yield address
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait(timeout=10)
        log.close()


@pytest.fixture
def recorded(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder in which stages are recorded by the server, as an experiment of their own."""
    for name, value in {
        "MLFLOW_TRACKING_URI": server,
        "MLFLOW_EXPERIMENT_NAME": tmp_path.name,
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_HTTP_REQUEST_TIMEOUT": "120",
        "DIMITRA_MLFLOW": "1",
        "DIMITRA_CACHE_DIR": str(tmp_path / "cache"),
        "PYTHONPATH": str(ROOT),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def command(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, capture_output=True, text=True, check=False)


def pipeline() -> None:
    """A git repository with two stages in a row."""
    Path("stage.py").write_text(STAGE)
    stages = {
        "first": {"cmd": "python stage.py first", "deps": ["stage.py"], "outs": ["first.txt"]},
        "second": {
            "cmd": "python stage.py second",
            "deps": ["first.txt"],
            "outs": ["second.txt"],
        },
    }
    Path("dvc.yaml").write_text(yaml.safe_dump({"stages": stages}))
    Path(".gitignore").write_text("cache\n")
    for words in (
        ("git", "init", "-q"),
        ("dvc", "init", "-q"),
        ("git", "add", "-A"),
        ("git", "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "first"),
    ):
        done = command(*words)
        assert done.returncode == 0, done.stderr


def test_what_a_run_writes_makes_nothing_dirty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert git_tags() == {}
    written = ("dvc.lock", "lineage/fit.json", "metrics/chorus.json", "metrics/clips/a.parquet")
    for name in (*written, "params.yaml", "metrics/tolerance.yaml"):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_text("one\n")
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "a run"]):
        git(tmp_path, *words)
    for name in written:
        Path(name).unlink()
    assert git_tags()["git_commit"] == git_head()
    assert git_tags()["git_dirty"] == "false"
    for name in ("params.yaml", "metrics/tolerance.yaml"):
        Path(name).write_text("two\n")
        assert git_tags()["git_dirty"] == "true", name
        Path(name).write_text("one\n")
        assert git_tags()["git_dirty"] == "false"


def test_a_repro_is_one_run_above_those_of_its_stages(recorded: Path) -> None:
    pipeline()
    Path("break-second").touch()
    assert command("dvc", "repro").returncode != 0
    (above,) = runs("tags.level = 'execution'")
    assert above.info.status == "FAILED"
    Path("break-second").unlink()
    with Path(".gitignore").open("a") as file:
        file.write("elsewhere\n")
    done = command("dvc", "repro")
    assert done.returncode == 0, done.stderr
    (second, above), commit = runs("tags.level = 'execution'"), git_head()
    assert second.info.run_id != above.info.run_id
    assert second.info.status == "FINISHED"
    assert second.info.run_name == f"{commit[:7]}+ dvc repro"
    (first,) = stage_runs("first")
    good, bad = stage_runs("second")
    assert [run.info.status for run in (first, bad, good)] == ["FINISHED", "FAILED", "FINISHED"]
    assert first.data.tags[PARENT_TAG] == bad.data.tags[PARENT_TAG] == above.info.run_id
    assert good.data.tags[PARENT_TAG] == second.info.run_id
    assert second.info.end_time == good.info.end_time
    assert good.data.tags["git_commit"] == commit
    assert (first.data.tags["git_dirty"], good.data.tags["git_dirty"]) == ("false", "true")
    assert good.data.tags["dvc_stage"] == "second"
    assert good.data.params == {"size": "3"}
    assert good.data.metrics["loss"] == pytest.approx(1 / 200)
    assert artifacts(good, "texts") == ["texts/second.txt"]
    hashes = {name: md5(name * 3) for name in ("first", "second")}
    until = time.monotonic() + 120  # DVC writes them behind the stage
    while "dvc_hashes" not in (tags := client().get_run(good.info.run_id).data.tags):
        assert time.monotonic() < until, tags
        time.sleep(0.2)
    assert tags["dvc_dep.first.txt"] == hashes["first"]
    assert tags["dvc_out.second.txt"] == hashes["second"]
    tags = client().get_run(first.info.run_id).data.tags
    assert tags["dvc_out.first.txt"] == hashes["first"]
    assert "dvc_dep.stage.py" not in tags


def md5(text: str) -> str:
    """As DVC names content by."""
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def git_head() -> str:
    return command("git", "rev-parse", "HEAD").stdout.strip()


def write_corpus() -> None:
    """Train shards of the widths that the encoders of profile `sample` have."""
    rng = np.random.default_rng(5)
    clips = {}
    for number in range(4):
        made = toy_clip(f"aaa-{number:03d}", 40, number)
        drive = replace(
            made.drive,
            features=rng.normal(size=(len(made.drive.features), SPEECH)).astype(np.float16),
            text_tokens=rng.normal(size=(2, 5, TEXT)).astype(np.float16),
        )
        clips[made.clip_id] = toy_parts(replace(made, drive=drive))
    shard = OUTPUT / "train-aaa-00000.tar"
    write_shard(shard, clips)
    (OUTPUT / "stats.json").write_bytes(json_bytes(statistics([shard], "open_head")))


def animated(models: Path, folder: Path) -> bytes:
    """The video that the command makes in a new folder."""
    folder.mkdir()
    out = folder / "video.mp4"  # its name is its title
    words = ("--models", str(models), "--transcript", boats().text, "--size", "64", "--seed", "3")
    done = command("dimitra", "animate", "--image", "photo.png", "--audio", "sentence.wav",
                   "--out", str(out), *words)  # fmt: skip
    assert done.returncode == 0, done.stderr
    return out.read_bytes()


def test_models_go_from_training_to_registry_to_animate(recorded: Path) -> None:
    params = small_params()
    write_corpus()
    Path("data/split").mkdir(parents=True)
    split = {"digest": "ab" * 32, "datasets": {"chorus": {"version": "chorus/v1"}}}
    Path("data/split/split.json").write_text(json.dumps(split))
    trainings = [
        subprocess.Popen([sys.executable, "-m", "pipelines.train", "--part", part])
        for part in PARTS
    ]
    assert [one.wait(timeout=240) for one in trainings] == [0, 0, 0]
    down = recorded / "down"
    for part in PARTS:
        (run,) = stage_runs(f"train@{part}")
        assert run.info.status == "FINISHED"
        weights = sha256_file(Path(f"models/{part}/model.safetensors"))
        assert run.data.tags["model_sha256"] == weights
        made_of = json.loads(Path(f"models/{part}/config.json").read_text())["made_of"]
        assert run.data.tags["work_key"] == made_of["key"]
        assert run.data.params["seed"] == str(params.seed)
        assert run.data.metrics["loss"] > 0
        assert artifacts(run, "motion") == ["motion/step-0000003.png"]
        mlflow.artifacts.download_artifacts(
            run_id=run.info.run_id, artifact_path="models", dst_path=str(down)
        )
    for path in Path("models").rglob("*.*"):
        assert (down / path).read_bytes() == path.read_bytes()

    (recorded / "sentence.wav").write_bytes(sentence())
    Image.fromarray(photo()).save("photo.png")
    Path("metrics").mkdir()
    table = {"dimitra_hp": {"f_lmd": {"value": 1.5, "n": 2}, "m_lmd": {"value": None, "n": 0}}}
    Path("metrics/chorus.json").write_text(json.dumps(table))
    Path("inventory").mkdir()
    shutil.copyfile(ROOT / "inventory/dataset.json", "inventory/dataset.json")
    name = recorded.name
    with StageRecord("evaluate") as evaluation:
        evaluation.results([Path("metrics/chorus.json")], register=True)
    (run,) = stage_runs("evaluate")
    above = client().get_run(run.data.tags[PARENT_TAG])
    for one in (run, above):
        assert one.data.metrics == {"chorus/dimitra_hp/f_lmd": 1.5}
        assert one.data.tags["model_version"] == f"{name} 1"
    assert artifacts(run, "metrics") == ["metrics/chorus.json"]
    said = CliRunner().invoke(app, ["register", "--metrics", "metrics/chorus.json"])
    assert said.stdout == f"already there: models:/{name}/1\n"
    (version,) = client().search_model_versions(f"name = '{name}'")
    (lips,) = stage_runs("train@lips")
    assert version.tags["training_run.lips"] == lips.info.run_id
    assert version.tags["sha256.lips/model.safetensors"] == lips.data.tags["model_sha256"]
    assert (version.tags["split.chorus"], version.tags["renderer"]) == ("chorus/v1", "mesh")
    assert version.tags["split_digest"] == split["digest"]
    dataset = json.loads((ROOT / "inventory/dataset.json").read_text())
    assert version.tags["dataset_version"] == dataset["version"]
    assert version.tags["dataset_digest"] == dataset["digest"]
    listed = CliRunner().invoke(app, ["list"]).output
    assert f"newest: models:/{name}/1\n" in listed
    assert "1.5" in listed
    table["dimitra_hp"]["f_lmd"]["value"] = 1.25
    Path("metrics/chorus.json").write_text(json.dumps(table))
    CliRunner().invoke(app, ["register", "--metrics", "metrics/chorus.json"])
    assert "1.25" in CliRunner().invoke(app, ["list"]).output
    mlflow.set_tracking_uri(os.environ["MLFLOW_TRACKING_URI"])
    place = mlflow.artifacts.download_artifacts(f"models:/{name}/1", dst_path=str(recorded / "v1"))
    signature = mlflow.models.get_model_info(place).signature
    assert [column.name for column in signature.inputs] == ["image", "audio"]

    settings = yaml.safe_load(Path("params.yaml").read_text())
    settings["generate"]["steps"] = 4
    Path("params.yaml").write_text(yaml.safe_dump(settings))
    said = CliRunner().invoke(app, ["register"])
    assert said.stdout == f"registered as models:/{name}/2\n"
    settings["generate"]["steps"] = 5
    Path("params.yaml").write_text(yaml.safe_dump(settings))

    shutil.rmtree("models")
    Path("params.yaml").unlink()
    assert animated(down / "models", recorded / "a") == animated(Path(place), recorded / "b")


def test_what_makes_models_others(tmp_path: Path) -> None:
    """How a run is spread over workers makes no other version; how motion is sampled does."""
    values = yaml.safe_load((ROOT / "conf/sample.yaml").read_text())

    def digest(**sections: dict[str, object]) -> str:
        changed = {name: values[name] | section for name, section in sections.items()}
        file = tmp_path / "params.yaml"
        file.write_text(yaml.safe_dump(values | changed))
        return content_digest({"lips/model.safetensors": "0" * 64}, read_settings(file))

    assert digest() == digest(ray={"workers": 7})
    assert digest() != digest(generate={"steps": 7})
    settings = read_settings(tmp_path / "params.yaml")
    assert content_digest({}, settings) != content_digest({"a": "b"}, settings)


def test_hashes_are_those_of_the_lock_without_code() -> None:
    lock = yaml.safe_load((ROOT / "dvc.lock").read_text())
    tags = lock_tags(lock, "train@lips")
    entry = lock["stages"]["train@lips"]
    outs = {one["path"]: one["md5"] for one in entry["outs"]}
    assert outs.keys() == {"models/lips", "lineage/train-lips.json"}
    assert all(tags[f"dvc_out.{path}"] == md5 for path, md5 in outs.items())
    shards = next(one for one in entry["deps"] if one["path"] == "data/shards")
    assert tags["dvc_dep.data/shards"] == shards["md5"]
    assert not any(name.endswith(".py") for name in tags)
    assert lock_tags(lock, "no such stage") == {}


def test_results_are_values_by_dataset_method_and_metric(tmp_path: Path) -> None:
    committed = ROOT / "metrics/chorus.json"
    values = read_results([committed])
    table = json.loads(committed.read_text())
    assert values["chorus/dimitra_hp/f_lmd"] == table["dimitra_hp"]["f_lmd"]["value"]
    kept = [cell for row in table.values() for cell in row.values() if cell["value"] is not None]
    assert len(values) == len(kept)


def test_runs_whose_recorder_is_gone_are_closed_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    opened, experiment = open_experiment()
    own = opened.MlflowClient()
    old = ExecutionRuns(own, experiment, Execution("old", "dvc repro"))
    above = old.above({})
    lost, alive = (old.stage(name, above, {}, 1) for name in ("crop", "fit"))
    label = own.get_run(lost).data.tags["process"]
    own.set_tag(lost, "process", label + "0")  # the process of that number began at another time
    old.sweep()
    assert [own.get_run(one).info.status for one in (lost, alive, above)] == [
        "KILLED",
        "RUNNING",
        "RUNNING",
    ]
    own.set_terminated(alive, "FINISHED")
    old.settle(above)
    assert own.get_run(above).info.status == "KILLED"
    childless = ExecutionRuns(own, experiment, Execution("other", "dvc repro")).above({})
    own.set_tag(childless, "process", label + "0")
    old.sweep()
    assert own.get_run(childless).info.status == "KILLED"


def test_a_stage_by_hand_is_an_execution_by_itself() -> None:
    me = psutil.Process()
    by_hand = find_execution(me.pid, None)
    assert by_hand == find_execution(me.pid, None)
    assert "pytest" in by_hand.command
    assert find_execution(me.ppid(), None).key != by_hand.key
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    assert find_execution(gone.pid, "crop").command == f"process {gone.pid}"


def test_a_server_that_is_away_costs_one_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # and does not listen
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{nobody.getsockname()[1]}")
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
        monkeypatch.setenv("DIMITRA_MLFLOW", "1")
        monkeypatch.setenv("DIMITRA_CACHE_DIR", str(tmp_path))
        monkeypatch.setattr("pipelines.tracking.stage_record.FLUSH_S", 120.0)
        with caplog.at_level(logging.WARNING), StageRecord("crop") as run:
            run.point({"loss": 1.0}, 0)
        (said,) = caplog.records
        assert "crop: no MLflow record" in said.getMessage()
        assert "Connection refused" in said.getMessage()
        assert not run.on
        assert not list((tmp_path / "mlflow").iterdir())
        refused = CliRunner().invoke(app, ["list"])
        assert refused.exit_code == 1
        assert "see MLFLOW_TRACKING_URI" in " ".join(refused.output.split())
