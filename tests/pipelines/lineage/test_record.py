"""Records that real stages leave, against what git and hashlib say of the same files."""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from dimitra.lineage.record import LineageRecord, parse_record
from pipelines.lineage.code_version import code_version
from pipelines.lineage.stages import read_stages
from pipelines.lineage.surroundings import packages
from tests.lineage.trees import ROOT, TEST, TRAIN, checkout, edit_params, git, run_stage


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def lines_digest(lines: list[str]) -> str:
    return hashlib.sha256("".join(sorted(lines)).encode()).hexdigest()


def read(folder: Path, stage: str) -> LineageRecord:
    path = folder / "lineage" / f"{stage}.json"
    return parse_record(path.read_bytes(), str(path))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout in which ingest and split have run."""
    if not (ROOT / "datasets" / "chorus").is_dir():
        pytest.skip("the sample corpus is not here: make data")
    folder = checkout(tmp_path_factory.mktemp("lineage") / "clone")
    for module in ("ingest", "split"):
        done = run_stage(folder, module)
        assert done.returncode == 0, done.stderr
    return folder


def test_a_record_tells_what_was_read_and_written(run: Path) -> None:
    ingest, split = read(run, "ingest"), read(run, "split")
    videos = sorted((run / "datasets").rglob("*.mp4"))
    assert len(videos) == 6
    raw = [f"{sha256(path)}  {path.relative_to(run / 'datasets')}\n" for path in videos]
    table = run / "datasets" / "chorus" / "vox2_meta.csv"
    datasets = ingest.input("datasets")
    assert datasets is not None
    assert datasets.sha256 == lines_digest([*raw, f"{sha256(table)}  chorus/vox2_meta.csv\n"])
    manifest = sorted((run / "data" / "manifest").iterdir())
    written = ingest.output("data/manifest")
    assert written is not None
    assert written.sha256 == lines_digest([f"{sha256(path)}  {path.name}\n" for path in manifest])
    assert written == split.input("data/manifest")
    assert ingest.clips == {"in": 6, "out": 6, "quarantined": 0, "reasons": {}}
    assert ingest.params["shards.count"] == 8
    assert ingest.params["datasets.sets.chorus.split"] == "chorus/v1"
    assert ingest.tools["python"].startswith("3.")
    assert "libavcodec" in ingest.tools
    assert ingest.packages["av"] == "18.1.0"
    assert ingest.packages["lock_sha256"] == sha256(run / "constraints.txt")
    assert "vectors" in ingest.environment


def test_a_record_names_the_code_that_ran(run: Path) -> None:
    code = read(run, "split").code
    assert code.commit == git(run, "rev-parse", "HEAD").strip()
    assert code.uncommitted is None
    assert all(sha256(run / path) == digest for path, digest in code.files.items())
    assert "pipelines/split.py" in code.files
    assert "pipelines/crop.py" not in code.files


def test_the_split_record_tells_what_both_sides_hold(run: Path) -> None:
    record = read(run, "split")
    report = json.loads((run / "data" / "split" / "split.json").read_text())
    assert record.digests == {"split": report["digest"]}
    assert record.sides is not None
    chorus = record.sides["chorus"]
    assert chorus["shared"] == {"identities": 0, "source_videos": 0}
    rows = pq.read_table(run / "data" / "split" / "split.parquet").to_pylist()
    for side, identity in (("train", TRAIN), ("test", TEST)):
        assert chorus[side]["clips"] == 3
        assert (
            chorus[side]["identities_sha256"]
            == hashlib.sha256(f"{identity}\n".encode()).hexdigest()
        )
        videos = {row["source_video"] for row in rows if row["split"] == side}
        assert chorus[side]["source_videos_sha256"] == lines_digest([f"{v}\n" for v in videos])


def test_one_worker_leaves_the_same_record(run: Path) -> None:
    path = run / "lineage" / "ingest.json"
    before = path.read_bytes()
    edit_params(run, ray={"workers": 1})
    done = run_stage(run, "ingest", DIMITRA_CACHE_DIR=str(run.parent / "second-cache"))
    assert done.returncode == 0, done.stderr
    assert "0 of" in done.stderr
    assert path.read_bytes() == before
    edit_params(run, ray={"workers": 2})


def test_a_stage_that_fails_leaves_no_record_and_says_so_in_its_last_event(run: Path) -> None:
    record = run / "lineage" / "split.json"
    kept = run.parent / "split.json"
    shutil.copyfile(record, kept)
    edit_params(run, datasets={"sets": {"chorus": {"split": "lecture/v1"}}})
    try:
        done = run_stage(run, "split")
        assert done.returncode == 1
        assert "names none of the 2 identities" in done.stderr
        assert not record.exists()
        events = (run.parent / "cache" / "openlineage" / "split.jsonl").read_text().splitlines()
        last = json.loads(events[-1])
        assert last["eventType"] == "FAIL"
        assert "names none" in last["run"]["facets"]["errorMessage"]["message"]
    finally:
        edit_params(run, datasets={"sets": {"chorus": {"split": "chorus/v1"}}})
        assert run_stage(run, "split").returncode == 0
    assert record.read_bytes() == kept.read_bytes()


def test_events_of_a_run_follow_the_specification(run: Path) -> None:
    lines = (run.parent / "cache" / "openlineage" / "split.jsonl").read_text().splitlines()
    start, complete = (json.loads(line) for line in lines[:2])
    assert [start["eventType"], complete["eventType"]] == ["START", "COMPLETE"]
    assert start["run"]["runId"] == complete["run"]["runId"]
    for event in (start, complete):
        assert event["schemaURL"].startswith("https://openlineage.io/spec/2-0-2/")
        assert event["job"]["namespace"] == "dimitra"
        assert event["job"]["name"] == "split"
        facets: list[dict[str, Any]] = [event["run"]["facets"], event["job"]["facets"]]
        for dataset in [*event["inputs"], *event["outputs"]]:
            assert {"namespace", "name"} <= dataset.keys()
            facets += [dataset["facets"], dataset.get("outputFacets", {})]
        for one in facets:
            assert all({"_producer", "_schemaURL"} <= facet.keys() for facet in one.values())
    versions = {
        one["name"]: one["facets"]["version"]["datasetVersion"] for one in complete["inputs"]
    }
    assert versions == {one.path: one.sha256 for one in read(run, "split").inputs}
    facts = complete["run"]["facets"]["dimitra_run"]
    assert facts["commit"] == git(run, "rev-parse", "HEAD").strip()
    assert facts["host"]


def test_nothing_of_a_run_alone_is_in_a_record(run: Path) -> None:
    event = json.loads(
        (run.parent / "cache" / "openlineage" / "split.jsonl").read_text().splitlines()[1]
    )
    text = (run / "lineage" / "split.json").read_text()
    facts = event["run"]["facets"]["dimitra_run"]
    assert event["run"]["runId"] not in text
    assert facts["began"][:10] not in text
    assert str(run) not in text


def test_the_commit_of_code_is_the_last_that_touched_it(tmp_path: Path) -> None:
    files = {
        "dimitra/__init__.py": "",
        "pipelines/__init__.py": "",
        "pipelines/crop.py": "import dimitra\n",
        "docs/crop.md": "crops\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert code_version("pipelines.crop", tmp_path).commit is None  # no repository
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", "-A")
    git(tmp_path, "commit", "-qm", "code")
    first = code_version("pipelines.crop", tmp_path)
    assert first.commit == git(tmp_path, "rev-parse", "HEAD").strip()
    (tmp_path / "docs" / "crop.md").write_text("crops of faces\n")
    git(tmp_path, "commit", "-qam", "docs")
    assert code_version("pipelines.crop", tmp_path) == first

    (tmp_path / "pipelines" / "crop.py").write_text("import dimitra  # edited\n")
    edited = code_version("pipelines.crop", tmp_path)
    assert edited.commit == first.commit
    expected = f"{sha256(tmp_path / 'pipelines/crop.py')}  pipelines/crop.py\n"
    assert edited.uncommitted == hashlib.sha256(expected.encode()).hexdigest()
    assert edited.digest != first.digest
    git(tmp_path, "commit", "-qam", "edit")
    committed = code_version("pipelines.crop", tmp_path)
    assert committed.uncommitted is None
    assert committed.digest == edited.digest
    assert committed.commit != first.commit


def test_stages_are_those_that_dvc_reads() -> None:
    """Templates and ``foreach`` come out as DVC's own parser has them."""
    from dvc.repo import Repo

    with Repo(str(ROOT)) as repo:
        theirs = {
            stage.addressing: (
                stage.cmd,
                {dep.def_path for dep in stage.deps},
                {out.def_path for out in stage.outs},
            )
            for stage in repo.index.stages
            if stage.cmd
        }
    ours = {stage.name: stage for stage in read_stages(ROOT)}
    assert ours.keys() == theirs.keys()
    for name, (command, deps, outs) in theirs.items():
        stage = ours[name]
        assert stage.command == command
        assert set(stage.inputs) <= deps
        code = deps - set(stage.inputs)
        assert all(
            path.startswith(("dimitra/", "pipelines/")) or path == "params.yaml" for path in code
        )
        assert outs - set(stage.outputs) == {f"lineage/{name.replace('@', '-')}.json"}


def test_packages_are_the_distributions_that_the_code_imports(tmp_path: Path) -> None:
    (tmp_path / "one.py").write_text("import yaml, json\nfrom PIL import Image\nimport ray\n")
    found = packages(["one.py"], tmp_path)
    assert found.keys() == {"lock_sha256", "PyYAML", "pillow"}
