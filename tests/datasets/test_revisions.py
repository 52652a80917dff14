import hashlib
import json
import subprocess
from dataclasses import asdict
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from dimitra.clips import MANIFEST_SCHEMA
from dimitra.datasets.inventory import InventoryError, encode, of_manifest
from dimitra.datasets.revisions import RevisionError, earlier, load
from dimitra.git_files import GitError
from tests.datasets.inventories import CLIPS, commit_files, inventory


def git(folder: Path, *words: str) -> str:
    who = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
    done = subprocess.run(
        ["git", *who, *words], cwd=folder, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


def commit(folder: Path, message: str) -> str:
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--allow-empty", "--message", message)
    return git(folder, "rev-parse", "HEAD")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    git(tmp_path, "init", "--quiet", "--initial-branch=main")
    (tmp_path / ".gitignore").write_text("/data/\n/shards*/\n/.dvc/\n")
    commit(tmp_path, "empty")
    return tmp_path


def in_cache(checkout: Path, data: bytes, suffix: str = "") -> str:
    """Put bytes where DVC keeps them; returns their name in dvc.lock."""
    md5 = hashlib.md5(data).hexdigest() + suffix  # noqa: S324 - DVC's
    path = checkout / ".dvc/cache/files/md5" / md5[:2] / md5[2:]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return md5


def parquet(rows: list[dict[str, object]], schema: pa.Schema | None = None) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(rows, schema), sink)
    return sink.getvalue().to_pybytes()


def test_a_revision_is_read_from_git_alone(checkout: Path) -> None:
    table = inventory(checkout / "shards", CLIPS[:6])
    commit_files(checkout, table, checkout / "shards")
    first = commit(checkout, "six clips")
    all_ = inventory(checkout / "shards2")
    commit_files(checkout, all_, checkout / "shards2", "1.1.0")
    commit(checkout, "all")
    assert load(first, checkout).inventory.equals(table)
    newest = load("HEAD", checkout)
    assert newest.inventory.equals(all_)
    assert newest.summary is not None
    assert newest.summary.description.version == "1.1.0"
    assert load("inventory", checkout).inventory.equals(all_)
    assert earlier(newest.summary, checkout) == first
    older = load(first, checkout).summary
    assert older is not None
    assert earlier(older, checkout) == git(checkout, "rev-parse", "HEAD")


def test_an_older_revision_is_found_through_dvc(checkout: Path) -> None:
    rows = [asdict(clip) for clip in CLIPS]
    sides = {clip.clip_id: "train" for clip in CLIPS[:5]}
    objects = {
        "data/manifest": ("clips.parquet", parquet(rows, MANIFEST_SCHEMA)),
        "data/split": (
            "split.parquet",
            parquet([{"clip_id": clip, "split": one} for clip, one in sides.items()]),
        ),
    }
    outs = []
    for folder, (name, data) in objects.items():
        listing = json.dumps([{"md5": in_cache(checkout, data), "relpath": name}]).encode()
        outs.append({"path": folder, "md5": in_cache(checkout, listing, ".dir")})
    (checkout / "dvc.lock").write_text(yaml.safe_dump({"stages": {"x": {"outs": outs}}}))
    commit(checkout, "before there were inventories")
    found = load("HEAD", checkout)
    assert found.inventory.equals(of_manifest(CLIPS, sides))
    assert (found.summary, found.source) == (None, "the manifest of HEAD in DVC's cache")
    for file in (checkout / ".dvc/cache").rglob("*.dir"):
        file.unlink()
    with pytest.raises(RevisionError, match=r"DVC's cache lacks the manifest .*git checkout HEAD"):
        load("HEAD", checkout)


def test_rows_that_dvc_keeps_are_read_from_its_cache(checkout: Path) -> None:
    """As docs/datasets.md says of large datasets: `cache: true`, and git has the summary alone."""
    table = inventory(checkout / "shards")
    commit_files(checkout, table, checkout / "shards")
    out = {"path": "inventory/clips.parquet", "md5": in_cache(checkout, encode(table))}
    (checkout / "dvc.lock").write_text(yaml.safe_dump({"stages": {"shard": {"outs": [out]}}}))
    (checkout / "inventory/clips.parquet").unlink()
    commit(checkout, "rows in DVC")
    found = load("HEAD", checkout)
    assert found.inventory.equals(table)
    assert found.summary is not None
    assert found.source == "inventory/clips.parquet of HEAD, in DVC's cache"


def test_rows_that_were_changed_alone_are_told(checkout: Path) -> None:
    table = inventory(checkout / "shards")
    commit_files(checkout, table, checkout / "shards")
    commit(checkout, "whole")
    tampered = table.set_column(2, "identity", pa.array(["id000"] * len(table)))
    (checkout / "inventory/clips.parquet").write_bytes(encode(tampered.cast(table.schema)))
    for name in (".", commit(checkout, "tampered")):
        with pytest.raises(InventoryError, match=r"its rows have digest .*one of the two was chang"):
            load(name, checkout)
    assert load("HEAD~1", checkout).inventory.equals(table)


def test_folders_of_a_run(checkout: Path) -> None:
    manifest, split = checkout / "data/manifest", checkout / "data/split"
    for folder in (manifest, split):
        folder.mkdir(parents=True)
    (manifest / "clips.parquet").write_bytes(parquet([asdict(c) for c in CLIPS], MANIFEST_SCHEMA))
    assert load("data/manifest", checkout).inventory.equals(of_manifest(CLIPS, None))
    (split / "split.parquet").write_bytes(parquet([{"clip_id": "toy-003", "split": "test"}]))
    for name in ("data/manifest", ".", "data/manifest/clips.parquet"):
        assert load(name, checkout).inventory.equals(of_manifest(CLIPS, {"toy-003": "test"}))


def test_what_leads_nowhere_is_named(checkout: Path) -> None:
    with pytest.raises(GitError, match="nowhere is neither a file, nor a folder, nor a revision"):
        load("nowhere", checkout)
    with pytest.raises(GitError, match="neither"):
        load("--help", checkout)
    with pytest.raises(RevisionError, match="revision HEAD has no inventory"):
        load("HEAD", checkout)
    (checkout / "empty").mkdir()
    with pytest.raises(RevisionError, match=r"empty holds none of .*inventory/clips\.parquet"):
        load("empty", checkout)
