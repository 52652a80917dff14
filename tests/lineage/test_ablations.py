"""Ablations are followed: to the file's digest, to git, to the lock, and into DVC's cache."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dimitra.lineage.ablation_difference import compare_ablations, entries_at
from dimitra.lineage.ablations import FILE, read_entries
from dimitra.lineage.audit import Audit, audit
from dimitra.lineage.experiment_cache import METHOD, cache_folder
from dimitra.lineage.record import LineageError
from dimitra.shards import json_bytes
from pipelines.ablations import variants
from pipelines.ablations.replay import replay_ablations
from tests.lineage.ablation_run import make_ablated_run, write_report
from tests.lineage.trees import git

Edit = Callable[[dict[str, Any]], None]


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_ablated_run(tmp_path_factory.mktemp("ablated"))


@pytest.fixture
def run(kept: Path, tmp_path: Path) -> Path:
    return shutil.copytree(kept, tmp_path / "run")


def broken(found: Audit) -> dict[str, str]:
    return {one.where: one.message for one in found.findings if one.kind == "broken"}


def edit(root: Path, change: Edit, forged: bool = False) -> None:
    """Edit the file; ``forged`` the digests that hold it too."""
    entries = json.loads((root / FILE).read_bytes())
    change(entries)
    (root / FILE).write_bytes(json_bytes(entries))
    if forged:
        write_report(root)


def test_every_variant_is_shown_with_what_bears_it_out(kept: Path) -> None:
    found, _ = audit(FILE, kept)
    assert found.ok, broken(found)
    assert [one["variant"] for one in found.variants] == ["full", "joint", "no_text"]
    joint = found.variants[1]
    assert joint["against_full"] == {"generate.models": "joint", "train.parts": ["all"]}
    assert joint["witnesses"]["train.parts"].startswith("params.yaml: ['lips'")
    assert joint["witnesses"]["data/shards"] == "dvc.lock"
    assert joint["witnesses"]["code of train"] == "lineage"
    assert joint["evaluator"] == joint["code"]["score"]
    assert list(joint["models"]) == ["models/aligner", "models/lips"]
    assert {one["stage"] for one in found.stages} >= {"ingest", "shard", "fit", "split"}
    assert found.split["chorus"]["shared"] == {"identities": 0, "source_videos": 0}
    assert json.dumps(found.to_json())


def test_a_single_number_of_a_variant(kept: Path) -> None:
    found, _ = audit(f"{FILE}#joint.mouth_mae_truth", kept)
    (number,) = found.numbers
    assert (number["method"], number["dataset"]) == ("joint", "chorus")
    assert number["change"]["n"] == number["n"] == 4
    assert [one["variant"] for one in found.variants] == ["joint"]
    named, _ = audit(f"{FILE}#joint.chorus.mouth_mae_truth", kept)
    assert named.numbers == found.numbers
    for wrong, message in (("jo", "no variant 'jo'"), ("joint.lip", "write VARIANT.METRIC")):
        with pytest.raises(LineageError, match=message):
            audit(f"{FILE}#{wrong}", kept)


def test_a_tampered_byte_is_found_by_record_and_lock(run: Path) -> None:
    data = (run / FILE).read_bytes()
    place = data.index(b'"label"') + 12
    (run / FILE).write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
    found, _ = audit(FILE, run)
    assert "lineage/report.json" in broken(found)[FILE]
    (run / "lineage/report.json").unlink()
    found, _ = audit(FILE, run)
    assert "dvc.lock has" in broken(found)[FILE]
    (run / FILE).write_bytes(b"\xff{")
    assert "cannot be read" in broken(audit(FILE, run)[0])[FILE]
    (run / FILE).unlink()
    assert "not there" in broken(audit(FILE, run)[0])[FILE]


def _lineage(key: str, **values: Any) -> Edit:
    return lambda entries: entries[key]["lineage"].update(values)


def _number(entries: dict[str, Any]) -> None:
    entries["joint"]["metrics"]["chorus"]["mouth_mae_truth"]["value"] += 0.01


def _shards(entries: dict[str, Any]) -> None:
    entries["joint"]["lineage"]["digests"]["data/shards"] = "0" * 32 + ".dir"


@pytest.mark.parametrize(
    ("change", "where", "message"),
    [
        (_number, f"{FILE}#joint.chorus.mouth_mae_truth", "its change says"),
        (_shards, f"{FILE}#joint", "dvc.lock at .* has .* of shard"),
        (_lineage("joint", seed=1), f"{FILE}#joint", "seed 1; params.yaml"),
        (_lineage("joint", params={"a.b": 1}), f"{FILE}#joint", "no parameter a.b"),
        (
            _lineage("joint", params={"model.attention": "efficient"}),
            f"{FILE}#joint",
            "efficient in params.yaml at .* too",
        ),
        (_lineage("joint", fingerprint="f" * 64), f"{FILE}#joint", "is not of its fingerprint"),
        (_lineage("joint", baseline_commit="1" * 40), FILE, "git has no commit 111111111111"),
        (_lineage("joint", baseline_commit="HEAD"), FILE, "'HEAD' is no commit"),
        (lambda entries: entries["joint"].pop("lineage"), f"{FILE}#joint", "lineage lacks"),
    ],
)
def test_what_a_forged_lineage_contradicts(
    run: Path, change: Edit, where: str, message: str
) -> None:
    edit(run, change, forged=True)
    found = broken(audit(FILE, run)[0])
    assert list(found) == [where]
    assert re.search(message, found[where])


def test_verify_reads_what_the_cache_keeps(run: Path) -> None:
    found, _ = audit(FILE, run, verify=True)
    away = {one.where for one in found.findings if one.kind == "absent"}
    assert f"{FILE}#full" in away  # the shared outputs, which this cache does not have
    assert not [where for where in broken(found) if where.startswith(FILE)]

    def both(entries: dict[str, Any]) -> None:
        for part in ("metrics", "change"):
            cell = entries["joint"][part]["chorus"]["mouth_mae_truth"]
            cell["value" if part == "metrics" else "mean"] += 0.01

    edit(run, both, forged=True)
    assert audit(FILE, run)[0].ok
    found, _ = audit(FILE, run, verify=True)
    assert "its scores have" in broken(found)[f"{FILE}#joint.chorus.mouth_mae_truth"]


def test_a_flipped_byte_in_the_cache_is_named(run: Path) -> None:
    digest = read_entries(run)[0]["joint"]["lineage"]["digests"]["models/lips"]
    listing = json.loads((cache_folder(run) / digest[:2] / digest[2:]).read_bytes())
    md5 = listing[0]["md5"]
    (cache_folder(run) / md5[:2] / md5[2:]).write_bytes(b"other")
    found, _ = audit(f"{FILE}#joint", run, verify=True)
    assert "models/lips: object" in broken(found)[f"{FILE}#joint"]


def test_a_clone_without_artefacts_and_a_shallow_one(kept: Path, tmp_path: Path) -> None:
    git(tmp_path, "clone", "-q", str(kept), "whole")
    found, _ = audit(FILE, tmp_path / "whole", verify=True)
    assert found.ok, broken(found)
    git(tmp_path, "clone", "-q", "--depth", "1", kept.as_uri(), "shallow")
    found, _ = audit(FILE, tmp_path / "shallow")
    assert found.ok, broken(found)
    assert "shallow clone" in "".join(one.message for one in found.findings)
    shutil.rmtree(tmp_path / "shallow/.git")
    found, _ = audit(FILE, tmp_path / "shallow")
    assert found.ok, broken(found)
    assert "no git repository" in "".join(one.message for one in found.findings)


def test_why_a_number_of_a_variant_changed(run: Path) -> None:
    target = audit(f"{FILE}#joint", run)[0].target

    def change(entries: dict[str, Any]) -> None:
        _number(entries)
        entries["joint"]["lineage"]["code"]["train"] = "c" * 64
        entries["joint"]["lineage"]["digests"]["data/shards"] = "d" * 32 + ".dir"
        entries["full"]["lineage"]["seed"] = 3

    edit(run, change)
    causes = compare_ablations(entries_at("HEAD", run), read_entries(run)[0], target, run)
    assert [(one.kind, one.what, one.stages) for one in causes] == [
        ("code", "code of train", ("joint",)),
        ("data", "data/shards", ("joint",)),
    ]
    assert compare_ablations(entries_at("HEAD", run), entries_at("HEAD", run), target, run) == []
    with pytest.raises(LineageError):
        entries_at("HEAD~1", run)


def test_numbers_are_made_again_from_the_scores(run: Path) -> None:
    target = audit(FILE, run)[0].target
    before, after = replay_ablations(target, run)
    assert before == after
    assert "joint.chorus.head_speed_gap against full" in after
    edit(run, _number)
    before, after = replay_ablations(target, run)
    assert [key for key in before if before[key] != after[key]] == ["joint.chorus.mouth_mae_truth"]
    shutil.rmtree(run / ".dvc/cache")
    with pytest.raises(LineageError, match="no scores of full"):
        replay_ablations(target, run)


def test_the_same_row_of_the_scores_is_read_as_was_written() -> None:
    assert METHOD == variants.METHOD
    assert variants.FILE.as_posix() == FILE
