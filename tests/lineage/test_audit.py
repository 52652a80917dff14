"""Audits of a small run: a byte changed anywhere is found, and its place is named."""

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from dimitra.lineage.audit import Audit, audit
from dimitra.lineage.clip_history import clips_of_video, names_path
from dimitra.lineage.record import LineageError, read_records
from dimitra.lineage.verify import check_raw
from tests.lineage.small_run import REFUSED, TESTED, make_run
from tests.lineage.trees import ROOT, git

METRIC = "metrics/chorus.json"


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("audit"))


@pytest.fixture
def run(kept: Path, tmp_path: Path) -> Path:
    return shutil.copytree(kept, tmp_path / "run")


def broken(found: Audit) -> dict[str, str]:
    return {one.where: one.message for one in found.findings if one.kind == "broken"}


def absent(found: Audit) -> set[str]:
    return {one.where for one in found.findings if one.kind == "absent"}


def flip(path: Path, share: float = 0.5) -> None:
    """Change one bit of one byte; size and times stay as they are."""
    status = path.stat()
    data = bytearray(path.read_bytes())
    data[int((len(data) - 1) * share)] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def test_a_whole_run_holds(kept: Path) -> None:
    found, _ = audit(METRIC, kept, verify=True)
    assert broken(found) == {}
    assert found.ok
    assert not {path for path in absent(found) if path.startswith(("data/", "models/"))}
    table = json.loads((kept / METRIC).read_text())
    cell = next(
        one for one in found.numbers if (one["method"], one["metric"]) == ("dimitra_hp", "f_lmd")
    )
    assert cell["value"] == table["dimitra_hp"]["f_lmd"]["value"]
    assert cell["n"] == 1
    order = [one["stage"] for one in found.stages]
    for earlier, later in [
        ("ingest", "crop"),
        ("crop", "fit"),
        ("shard", "train@lips"),
        ("train@lips", "generate"),
        ("generate", "render"),
        ("train_sync", "evaluate"),
    ]:
        assert order.index(earlier) < order.index(later)
    assert order[-1] == "evaluate"
    assert "report" not in order
    assert found.split["chorus"]["shared"] == {"identities": 0, "source_videos": 0}
    assert found.split["chorus"]["by"] == "data/split made again"
    assert {"dlib_68"} <= {one["reference"] for one in found.assets}
    json.dumps(found.to_json())


def test_a_clone_without_artefacts_can_be_audited(run: Path) -> None:
    for name in ("data", "models", "evaluators", "datasets", "truth", "report"):
        shutil.rmtree(run / name)
    found, _ = audit(METRIC, run)
    assert found.ok
    assert found.split["chorus"]["shared_in_lists"] == 0
    assert found.split["chorus"]["train"]["identities"] == 1
    assert found.split["chorus"]["by"] == "the record and the committed lists"
    verified, _ = audit(METRIC, run, verify=True)
    assert verified.ok
    assert {"data/crops", "data/shards", "models/lips", "evaluators/sync", "datasets"} <= absent(
        verified
    )


@pytest.mark.parametrize(
    ("path", "verify"),
    [
        ("data/crops/00000.tar", True),
        ("data/shards/00000.tar", True),
        ("data/evaluation/00000.tar", True),
        ("models/lips/model.safetensors", True),
        ("models/pose/curve.csv", True),
        ("evaluators/sync/model.safetensors", True),
        ("data/manifest/clips.parquet", True),
        ("data/scores/chorus.json", True),
        ("truth/chorus/one.npz", True),
        ("datasets/chorus/mp4/id00013/a/00001.mp4", True),
        ("splits/chorus/v1/test.txt", False),
        ("splits/chorus/v1/train.txt", False),
        ("metrics/chorus.json", False),
        ("metrics/clips/chorus.parquet", False),
        ("weights.yaml", False),
    ],
)
def test_one_changed_byte_is_named(run: Path, path: str, verify: bool) -> None:
    flip(run / path)
    found, _ = audit(METRIC, run, verify=verify)
    assert not found.ok
    assert path in broken(found)
    others = broken(found).keys() - {path}
    assert others <= {"data/split/split.parquet"}, others


@pytest.mark.parametrize("share", [0.0, 1.0])
@pytest.mark.parametrize(
    "path",
    [
        "data/split/split.parquet",
        "data/manifest/clips.parquet",
        "data/crops/00000.json",
        "data/scores/chorus.json",
        "metrics/chorus.json",
        "metrics/clips/chorus.parquet",
    ],
)
def test_a_file_that_cannot_be_read_any_more_is_named(run: Path, path: str, share: float) -> None:
    flip(run / path, share)
    found, _ = audit(METRIC, run, verify=True)
    assert broken(found).keys() & {path, str(Path(path).parent)}


def test_a_checkpoint_of_another_size_is_found_without_reading_it(run: Path) -> None:
    path = run / "models" / "lips" / "model.safetensors"
    path.write_bytes(path.read_bytes() + b"x")
    assert "models/lips" in broken(audit(METRIC, run)[0])
    assert "models/lips" in broken(audit("models/lips", run)[0])


def _edit_record(run: Path, stage: str, edit: Callable[[dict[str, object]], None]) -> None:
    path = run / "lineage" / f"{stage}.json"
    values = json.loads(path.read_text())
    edit(values)
    path.write_text(json.dumps(values))


def test_a_sidecar_that_tells_of_other_bytes_is_found(run: Path) -> None:
    path = run / "data" / "shards" / "00000.json"
    values = json.loads(path.read_text())
    values["sha256"] = "0" * 64
    path.write_text(json.dumps(values))
    found = broken(audit(METRIC, run, verify=True)[0])
    assert "its sidecar tells" in found["data/shards/00000.tar"]


def test_a_sidecar_whose_clips_were_edited_is_named(run: Path) -> None:
    path = run / "data" / "shards" / "00000.json"
    path.write_text(path.read_text().replace("id00013-a-00001", "id00013-a-00009"))
    found = broken(audit(METRIC, run, verify=True)[0])
    assert found == {"data/shards/00000.json": "the sidecar is not what its shard makes"}


def test_files_that_nobody_tells_of_are_found(run: Path) -> None:
    (run / "models" / "lips" / "extra.bin").write_bytes(b"")
    found = broken(audit("models/lips", run, verify=True)[0])
    assert "does not tell of" in found["models/lips"]


def test_a_missing_record_is_named(run: Path) -> None:
    (run / "lineage" / "train-lips.json").unlink()
    found = broken(audit(METRIC, run)[0])
    assert "no record says what made it" in found["models/lips"]


def test_stages_of_different_runs_are_found(run: Path) -> None:
    def edit(values: dict[str, object]) -> None:
        (output,) = values["outputs"]  # type: ignore[misc]
        output["sha256"] = "0" * 64

    _edit_record(run, "fit", edit)
    found = broken(audit(METRIC, run)[0])
    assert found.keys() == {"data/motion"}
    assert "shard read" in found["data/motion"]
    assert "fit wrote 000000000000" in found["data/motion"]


def test_sides_that_are_not_those_of_the_record_are_found(run: Path) -> None:
    def edit(values: dict[str, object]) -> None:
        values["sides"]["chorus"]["shared"]["source_videos"] = 1  # type: ignore[index]

    _edit_record(run, "split", edit)
    found = broken(audit(METRIC, run)[0])
    assert "data/split/split.parquet" in found
    shutil.rmtree(run / "data")
    found = broken(audit(METRIC, run)[0])
    assert found["chorus/v1"] == "chorus: train and test share 1 source_videos"


def test_lists_that_share_an_identity_are_named(run: Path) -> None:
    with (run / "splits" / "chorus" / "v1" / "test.txt").open("a") as file:
        file.write("id00001\n")
    found = broken(audit(METRIC, run)[0])
    assert found["chorus/v1"] == "both lists name id00001"


def test_code_that_has_changed_since_is_no_more_than_a_note(run: Path) -> None:
    target = run / "pipelines" / "split.py"
    target.parent.mkdir()
    target.write_text("changed\n")
    found, _ = audit("data/split", run)
    assert found.ok
    assert any(one.kind == "note" and "has changed since" in one.message for one in found.findings)


def test_parameters_and_packages_that_have_changed_since_are_notes(run: Path) -> None:
    path = run / "params.yaml"
    path.write_text(path.read_text().replace("seed: 20250217", "seed: 7"))
    flip(run / "constraints.txt")
    found, _ = audit(METRIC, run)
    assert found.ok
    notes = [f"{one.where}: {one.message}" for one in found.findings if one.kind == "note"]
    (seed,) = [one for one in notes if one.startswith("params.yaml")]
    assert seed.startswith("params.yaml: seed is 7; it was 20250217 when ")
    assert [one for one in notes if one.startswith("constraints.txt: it has changed since")]


def test_rules_that_no_record_holds_are_compared_with_the_commit(run: Path) -> None:
    rules = ("dvc.yaml", "metrics/tolerance.yaml")
    for path in rules:
        shutil.copy(ROOT / path, run / path)
    git(run, "init", "-q")
    git(run, "add", "-f", *rules)
    git(run, "commit", "-qm", "a run")

    def notes(found: Audit) -> dict[str, str]:
        return {one.where: one.message for one in found.findings if one.kind == "note"}

    found, _ = audit(METRIC, run)
    assert found.ok
    assert not notes(found).keys() & {*rules, "git"}
    flip(run / "metrics" / "tolerance.yaml")
    found, _ = audit(METRIC, run)
    assert found.ok
    said = notes(found)["metrics/tolerance.yaml"]
    assert said.endswith("git diff metrics/tolerance.yaml")
    (run / "dvc.yaml").unlink()
    missing = broken(audit(METRIC, run)[0])
    assert "which stages there are" in missing["dvc.yaml"]


def test_a_clip_tells_where_it_lies_and_what_it_entered(run: Path) -> None:
    found, _ = audit(TESTED, run)
    (history,) = found.history
    assert found.ok
    assert history["side"] == "test"
    places = {row["stage"]: row["shard"] for row in history["shards"]}
    assert places["crop"] == "data/crops/00000.tar"
    assert places["score"] == "data/scores/chorus.json"
    assert places["evaluate"] == "data/evaluation/00000.tar"
    digests = {shard.path: shard.sha256 for shard in read_records(run)["crop"].shards}
    assert {row["shard"]: row["sha256"] for row in history["shards"]}.items() >= digests.items()
    methods = {row["method"] for row in history["metrics"]}
    assert {"ground_truth", "dimitra_hp"} <= methods
    assert history["quarantined"] == []
    shutil.rmtree(run / "data")
    (history,) = audit(TESTED, run)[0].history
    assert history["metrics"]
    assert history["shards"] == []


def test_a_quarantined_clip_tells_where_and_why(kept: Path) -> None:
    found, _ = audit(REFUSED, kept)
    (history,) = found.history
    assert history["quarantined"] == [
        {"stage": "crop", "reason": "no_face", "message": "no face in 100 frames"}
    ]
    assert history["shards"] == []
    assert history["metrics"] == []


def test_a_raw_video_leads_to_its_clips(kept: Path) -> None:
    found, _ = audit("datasets/chorus/mp4/id00013/a/00001.mp4", kept)
    assert [one["clip_id"] for one in found.history] == [TESTED]


def test_a_raw_video_is_read_even_without_verify(run: Path) -> None:
    path = "datasets/chorus/mp4/id00013/a/00001.mp4"
    flip(run / path)
    assert broken(audit(path, run)[0]).keys() == {path}
    assert audit("datasets/chorus/mp4/id00001/a/00001.mp4", run)[0].ok


def test_a_video_whose_name_is_a_part_of_another_s_is_not_that_one(run: Path) -> None:
    file = run / "data" / "manifest" / "quarantine.parquet"
    refused = {
        "clip_id": "chorus-bad",
        "dataset": "chorus",
        "stage": "ingest",
        "reason": "not_media",
        "message": "mp4/id00013/a/00001.mp4.mp4 cannot be opened",
        "input_sha256": None,
        "attempts": 1,
    }
    pq.write_table(pa.Table.from_pylist([refused], pq.read_schema(file)), file)
    ingest = read_records(run)["ingest"]
    path = "datasets/chorus/mp4/id00013/a/00001.mp4"
    assert clips_of_video(path, ingest, run) == [TESTED]
    assert clips_of_video(f"{path}.mp4", ingest, run) == ["chorus-bad"]


@pytest.mark.parametrize(
    ("message", "named"),
    [
        ("a/1.mp4 cannot be opened", True),
        ("the file a/1.mp4: no sound", True),
        ("a/1.mp4.mp4 cannot be opened", False),
        ("a/11.mp4 cannot be opened", False),
        ("b/a/1.mp4 cannot be opened", False),
        ("a/1.mp4", True),
    ],
)
def test_a_message_names_a_whole_path(message: str, named: bool) -> None:
    assert names_path(message, "a/1.mp4") == named


def test_words_that_came_with_a_clip_are_read_again(run: Path) -> None:
    record = read_records(run)["ingest"]
    record = replace(record, params={**record.params, "datasets.sets.chorus.layout": "folder"})
    file = run / "data" / "manifest" / "clips.parquet"
    rows = pq.read_table(file).to_pylist()
    for row in rows:
        row["transcript"] = "one two" if row["clip_id"] == TESTED else None
    pq.write_table(pa.Table.from_pylist(rows, pq.read_schema(file)), file)
    text = run / "datasets" / "chorus" / "mp4" / "id00013" / "a" / "00001.txt"
    text.write_text("one\ntwo\n")
    assert list(check_raw(record, run)) == []
    text.write_text("one three")
    (found,) = check_raw(record, run)
    assert (found.kind, found.where) == ("broken", text.relative_to(run).as_posix())
    text.unlink()
    (found,) = check_raw(record, run)
    assert found.where == text.with_suffix(".mp4").relative_to(run).as_posix()
    assert "transcript" in found.message


def test_files_that_were_put_beside_what_was_read_are_notes(run: Path) -> None:
    video = run / "datasets" / "chorus" / "mp4" / "id00013" / "a" / "00077.mp4"
    video.write_bytes(b"new")
    (run / "splits" / "chorus" / "v9").mkdir()
    (run / "splits" / "chorus" / "v9" / "test.txt").write_text("id00013\n")
    found, _ = audit(METRIC, run, verify=True)
    assert found.ok
    notes = {one.where for one in found.findings if one.kind == "note"}
    assert {video.relative_to(run).as_posix(), "splits/chorus/v9/test.txt"} <= notes


def test_a_shard_that_is_gone_is_broken_unless_shards_are_kept_elsewhere(run: Path) -> None:
    (run / "data" / "crops" / "00000.tar").unlink()
    assert "data/crops/00000.tar" in broken(audit(METRIC, run, verify=True)[0])
    params = yaml.safe_load((run / "params.yaml").read_text())
    params["storage"]["root"] = "s3://bucket/prefix"
    (run / "params.yaml").write_text(yaml.safe_dump(params))
    found, _ = audit(METRIC, run, verify=True)
    assert "data/crops/00000.tar" not in broken(found)
    assert "data/crops/00000.tar" in absent(found)


def test_paired_tests_are_numbers_too(kept: Path) -> None:
    found, _ = audit("metrics/paired.json#chorus.f_lmd", kept)
    rows = json.loads((kept / "metrics" / "paired.json").read_text())["chorus"]["f_lmd"]
    assert [one["value"] for one in found.numbers] == [row["difference"] for row in rows]
    assert rows


def test_a_shard_is_read_even_without_verify(run: Path) -> None:
    assert audit("data/crops/00000.tar", run)[0].ok
    flip(run / "data" / "crops" / "00000.tar")
    found, _ = audit("data/crops/00000.tar", run)
    assert broken(found).keys() == {"data/crops/00000.tar"}
    assert [one["stage"] for one in found.stages][-1] == "crop"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("metrics/nothing.json", "no record tells of metrics/nothing.json; metric files: metrics/"),
        ("metrics/chorus.json#dimitra_hp.nothing", "holds no number.*Metrics: .*f_lmd"),
        ("models/nothing", "no metric file, output, shard, clip or raw video"),
        ("models/lips/nothing.bin", "is not there, and train@lips has not written it"),
        ("models/lips#x.y", "only a metric file takes a #"),
        ("datasets/chorus/mp4/nothing.mp4", "neither the manifest nor the quarantine"),
        ("no-such-clip", "nothing here names the clip no-such-clip"),
    ],
)
def test_what_there_is_not_is_named(kept: Path, name: str, message: str) -> None:
    with pytest.raises(LineageError, match=message):
        audit(name, kept)
