"""Records and metrics that were edited after the run are found by the run's lock."""

import hashlib
import json
import shutil
from pathlib import Path

import pytest
import yaml

from dimitra.lineage.audit import audit
from dimitra.lineage.lock import check_lock
from tests.lineage.small_run import make_run

METRIC = "metrics/chorus.json"


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with a lock in DVC's shape."""
    root = make_run(tmp_path_factory.mktemp("locked"))
    files = [*sorted(root.glob("lineage/*.json")), root / METRIC]
    outs = [
        {
            "path": file.relative_to(root).as_posix(),
            "hash": "md5",
            "md5": hashlib.md5(file.read_bytes()).hexdigest(),  # noqa: S324
            "size": file.stat().st_size,
        }
        for file in files
    ]
    outs.append({"path": "data/shards", "hash": "md5", "md5": "0" * 32 + ".dir"})
    (root / "dvc.lock").write_text(
        yaml.safe_dump({"schema": "2.0", "stages": {"a": {"outs": outs}}})
    )
    return root


def test_an_untouched_run_holds(locked: Path) -> None:
    assert list(check_lock(locked)) == []
    assert audit(METRIC, locked)[0].ok


def test_an_edited_parameter_in_a_record_is_named(locked: Path, tmp_path: Path) -> None:
    root = shutil.copytree(locked, tmp_path / "run")
    path = root / "lineage/train-lips.json"
    record = json.loads(path.read_text())
    record["params"]["train.lips.steps"] = 900
    path.write_text(json.dumps(record))
    found, _ = audit(METRIC, root)
    assert "lineage/train-lips.json" in {
        one.where for one in found.findings if one.kind == "broken"
    }


def test_a_forged_number_whose_record_was_forged_too_is_named(locked: Path, tmp_path: Path) -> None:
    root = shutil.copytree(locked, tmp_path / "run")
    before = (root / METRIC).read_bytes()
    forged = before.replace(b"0", b"1", 1)
    (root / METRIC).write_bytes(forged)
    old, new = (hashlib.sha256(data).hexdigest() for data in (before, forged))
    for path in root.glob("lineage/*.json"):
        path.write_text(path.read_text().replace(old, new))
    found, _ = audit(METRIC, root)
    assert METRIC in {one.where for one in found.findings if one.kind == "broken"}


def test_a_lock_that_is_none_is_said_to_be(locked: Path, tmp_path: Path) -> None:
    root = shutil.copytree(locked, tmp_path / "run")
    (root / "dvc.lock").write_text("stages: [1, 2")
    (finding,) = check_lock(root)
    assert finding.kind == "broken"
    assert finding.where == "dvc.lock"


def test_an_edited_digest_of_an_artefact_in_the_lock_is_named(tmp_path: Path) -> None:
    stages = {
        "shard": {"outs": [{"path": "data/shards", "md5": "a" * 32 + ".dir"}]},
        "train@lips": {"deps": [{"path": "data/shards", "md5": "b" * 32 + ".dir"}]},
    }
    (tmp_path / "dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": stages}))
    (found,) = check_lock(tmp_path, ["shard", "train@lips"])
    assert found.where == "dvc.lock"
    assert "data/shards: train@lips read bbbbbbbbbbbb..., shard made aaaaaaaaaaaa" in found.message
    assert list(check_lock(tmp_path, ["shard"])) == []
