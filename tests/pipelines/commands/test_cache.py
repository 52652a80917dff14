import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from dimitra.shards import Sidecar, write_shard, write_sidecar
from pipelines.commands.cache import app, parse_age, parse_size
from pipelines.stores.cache_references import checkouts, dvc_cache
from pipelines.stores.storage import Storage
from pipelines.stores.work_cache import Finished, WorkCache, publish
from tests.pipelines.s3 import make_bucket, s3_server, use

OLD = time.time() - 40 * 86_400


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with s3_server() as address:
        yield address


@dataclass(frozen=True)
class Place:
    """A checkout, the cache of its stages, and the command run there."""

    folder: Path
    cache: WorkCache

    def run(self, *words: str) -> Result:
        return CliRunner().invoke(app, [*words, "--storage", self.cache.storage.root])

    def keep(self, text: str, *, reason: str = "", age: float | None = None) -> Sidecar:
        """Make a shard and keep it as a stage would; ``reason`` gives it no record."""
        shard = self.folder / "partial" / "00000.tar"
        sidecar = write_shard(shard, {"a": {"txt": text.encode() * 1000}})
        key = hashlib.sha256(text.encode()).hexdigest()
        self.cache.keep(shard, Finished(sidecar, ()), key, "crop")
        if reason:
            self.cache.drop(key)
        if age is not None:
            for name in (self.cache.record_name(key), self.cache.object_name(sidecar.sha256)):
                if self.cache.storage.size(name) is not None:
                    os.utime(self.cache.storage.path(name), (age, age))
        return sidecar

    def shards(self) -> set[str]:
        return {Path(entry.name).stem for entry in self.cache.storage.list("objects")}

    def records(self) -> int:
        return len(list(self.cache.storage.list("work")))


def checkout(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A git repository with DVC, as the working folder."""
    (folder / ".dvc").mkdir(parents=True)
    (folder / ".dvc" / "config").touch()
    subprocess.run(["git", "init", "-q"], cwd=folder, check=True)
    monkeypatch.chdir(folder)
    monkeypatch.delenv("DIMITRA_CACHE_DIR", raising=False)
    return folder


@pytest.fixture
def local(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    folder = checkout(tmp_path / "checkout", monkeypatch)
    return Place(folder, WorkCache.of(None))


@pytest.fixture
def remote(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, endpoint: str) -> Place:
    use(monkeypatch, endpoint)
    folder = checkout(tmp_path / "checkout", monkeypatch)
    return Place(folder, WorkCache(Storage(f"s3://{make_bucket(endpoint, 'cache')}/run")))


def test_sizes_and_ages() -> None:
    sizes = ("1000", "20GB", "1.5T", "500 mb", "8GiB", "2k")
    assert [parse_size(text) for text in sizes] == [
        *(1000, 20 * 10**9, 15 * 10**11),
        *(500 * 10**6, 8 * 2**30, 2000),
    ]
    ages = ("30d", "12h", "45m", "2w", "0.5h")
    assert [parse_age(text) for text in ages] == [2_592_000, 43_200, 2700, 1_209_600, 1800]
    for text in ("", "GB", "-1", "20XB", "1iB", "1e9"):
        with pytest.raises(typer.BadParameter, match="is no size"):
            parse_size(text)
    for text in ("", "30", "d", "-1d", "3y"):
        with pytest.raises(typer.BadParameter, match="is no age"):
            parse_age(text)


def test_the_command_is_registered_and_teaches() -> None:
    program = Path(sys.executable).with_name("dimitra")
    run = subprocess.run(
        [program, "cache", "gc", "--help"], capture_output=True, text=True, check=True
    )
    for word in ("--older-than", "--max-size", "--dry-run", "--keep", "Never:", "Example:"):
        assert word in run.stdout


def test_du_counts_what_is_there(local: Place) -> None:
    for text in ("one", "two"):
        local.keep(text)
    orphan = local.keep("orphan", reason="deadline")
    (local.folder / ".cache/dimitra/tracebacks/crop").mkdir(parents=True)
    (local.folder / ".cache/dimitra/tracebacks/crop/clip.txt").write_text("x" * 500)
    run = local.run("du")
    assert run.exit_code == 0, run.output
    rows = {line.split("│")[1].strip(): line for line in run.output.splitlines() if "│" in line}
    cells = [cell.strip() for cell in rows["crop"].split("│")]
    today = time.strftime("%Y-%m-%d")
    size = 2 * orphan.size_bytes
    assert cells[2:7] == ["2", "2", f"{size / 1000:.1f} kB", today, today]
    assert rows["without a record"].split("│")[3].strip() == "1"
    assert [c.strip() for c in rows["tracebacks"].split("│")][3:5] == ["1", "500 bytes"]


def test_gc_leaves_what_is_named_or_young(local: Place) -> None:
    kept = local.keep("kept", age=OLD)
    young = local.keep("young", reason="deadline")
    orphan = local.keep("orphan", reason="deadline", age=OLD)
    named = local.keep("named", reason="deadline", age=OLD)
    publish(local.cache, Finished(named, ()), "00000", local.folder / "data" / "crops")
    dry = local.run("gc", "--dry-run")
    assert dry.exit_code == 0, dry.output
    assert "would remove 0 records, 1 shards" in dry.output
    assert len(local.shards()) == 4
    assert "removed 0 records, 1 shards" in local.run("gc").output
    assert local.shards() == {kept.sha256, young.sha256, named.sha256}
    assert orphan.sha256 not in local.shards()


def test_gc_by_age_and_by_size(local: Place) -> None:
    old = local.keep("old", age=OLD)
    middle = local.keep("middle", age=time.time() - 10 * 86_400)
    fresh = local.keep("fresh")
    named = local.keep("named", age=OLD)
    publish(local.cache, Finished(named, ()), "00000", local.folder / "data" / "crops")
    assert local.run("gc", "--older-than", "30d").exit_code == 0
    assert local.shards() == {middle.sha256, fresh.sha256, named.sha256}
    assert local.records() == 3
    limit = 2 * fresh.size_bytes + 5000
    assert local.run("gc", "--max-size", str(limit)).exit_code == 0
    assert local.shards() == {fresh.sha256, named.sha256}
    run = local.run("gc", "--max-size", "1")
    assert local.shards() == {named.sha256}
    assert "above --max-size 1 byte:" in run.output
    assert old.sha256 not in local.shards()


def test_gc_of_a_shard_with_two_records_waits_for_both(local: Place) -> None:
    sidecar = local.keep("same", age=OLD)
    local.cache.storage.write(
        "work/ff/" + "f" * 64 + ".json",
        json.dumps(
            {
                "stage": "fit",
                "rows": [],
                "sidecar": {
                    "shard": "1.tar",
                    "sha256": sidecar.sha256,
                    "size_bytes": sidecar.size_bytes,
                    "clips": 1,
                    "clip_ids": ["a"],
                },
            }
        ).encode(),
    )
    local.run("gc", "--older-than", "30d")
    assert (local.records(), local.shards()) == (1, {sidecar.sha256})


def test_gc_removes_what_killed_processes_left(local: Place) -> None:
    process = subprocess.Popen(["true"])
    process.wait()
    base = local.folder / ".cache" / "dimitra"
    dead = base / "partial" / f"{os.uname().nodename}-{process.pid}" / "00000.tar"
    alive = base / "partial" / f"{os.uname().nodename}-{os.getpid()}" / "00000.tar"
    stale, new = base / "objects/ab/.x.tar.a1b2", base / "objects/ab/.y.tar.a1b2"
    unused, in_use = base / "fetched/aa/00000.tar", base / "fetched/bb/00000.tar"
    broken = base / "work" / "ab" / ("ab" + "0" * 62 + ".json")
    earlier = base / "work" / "cd" / ("cd" + "0" * 62) / "00000.tar"
    foreign = base / "work" / "thesis.tex"
    every = (dead, alive, stale, new, unused, in_use, broken, earlier, foreign)
    for path in every:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"{}")
        if path not in (alive, new, in_use):
            os.utime(path, (OLD, OLD))
    run = local.run("gc")
    assert run.exit_code == 0, run.output
    assert [path for path in every if path.exists()] == [alive, new, in_use, foreign]
    assert not dead.parent.exists()


def test_gc_refuses_bad_words(local: Place) -> None:
    assert local.run("gc", "--older-than", "soon").exit_code == 2
    assert local.run("gc", "--max-size", "much").exit_code == 2
    run = CliRunner().invoke(app, ["gc", "--storage", "s3://user:secret@bucket"])
    assert run.exit_code == 2
    assert "secret" not in run.output


def test_verify_finds_and_repairs(local: Place) -> None:
    for text in ("one", "two", "three"):
        sidecar = local.keep(text)
    path = local.cache.storage.path(local.cache.object_name(sidecar.sha256))
    data = bytearray(path.read_bytes())
    assert "3 shards and inputs read, 0 damaged" in local.run("verify").output
    data[700] ^= 1
    path.write_bytes(data)
    run = local.run("verify")
    assert run.exit_code == 1
    assert f"damaged {path}" in run.output.replace("\n", "")
    assert (local.records(), len(local.shards())) == (3, 3)
    assert local.run("verify", "--repair").exit_code == 1
    assert (local.records(), len(local.shards())) == (2, 2)
    assert local.run("verify").exit_code == 0
    other = next(iter(local.shards()))
    local.cache.storage.remove(local.cache.object_name(other))
    run = local.run("verify", "--repair")
    assert (run.exit_code, local.records()) == (0, 1)
    assert "1 records without a shard" in run.output


def dvc_output(place: Place, name: str, sidecar: Sidecar, *, cached: bool = True) -> Path:
    """An output of sidecars alone, committed to DVC's cache, named by dvc.lock, checked out."""
    shard = place.folder / "data" / name / "00000.tar"
    write_sidecar(shard, sidecar)
    path = shard.with_suffix(".json")
    files = place.folder / ".dvc/cache/files/md5"
    blob, listing = files / "aa" / name, files / "bb" / f"{name}.dir"
    if cached:
        for target in (blob, listing):
            target.parent.mkdir(parents=True, exist_ok=True)
        blob.write_bytes(path.read_bytes())
        listing.write_text(json.dumps([{"md5": f"aa{name}", "relpath": "00000.json"}]))
    lock = place.folder / "dvc.lock"
    stages = json.loads(lock.read_text())["stages"] if lock.exists() else {}
    stages[name] = {"outs": [{"path": f"data/{name}", "md5": f"bb{name}.dir"}]}
    lock.write_text(json.dumps({"stages": stages}))
    return path


def later(monkeypatch: pytest.MonkeyPatch, days: float) -> None:
    """A remote store dates its objects itself, so the clock of the command goes ahead."""
    real = time.time()
    monkeypatch.setattr("pipelines.commands.cache.time.time", lambda: real + days * 86_400)


def test_a_remote_gc_keeps_what_dvc_could_check_out(
    remote: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    current, earlier = remote.keep("current"), remote.keep("earlier", reason="deadline")
    orphan, unnamed = remote.keep("orphan", reason="deadline"), remote.keep("unnamed")
    elsewhere = remote.keep("elsewhere", reason="deadline")
    dvc_output(remote, "crops", current)
    dvc_output(remote, "motion", earlier).unlink()  # checked out no more; DVC's cache has it
    write_sidecar(tmp_path / "friend" / "00000.tar", elsewhere)
    later(monkeypatch, 2)
    everything = remote.shards()
    assert remote.run("gc", "--dry-run").exit_code == 0
    assert remote.shards() == everything
    assert remote.run("gc", "--keep", str(tmp_path / "friend")).exit_code == 0
    assert remote.shards() == everything - {orphan.sha256}
    run = remote.run("gc", "--older-than", "1d", "--max-size", "0")
    assert run.exit_code == 0, run.output
    assert remote.shards() == {current.sha256, earlier.sha256}
    assert unnamed.sha256 not in remote.shards()
    assert remote.records() == 1


def test_a_remote_gc_wants_to_know_what_dvc_needs(
    remote: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sidecar = remote.keep("pulled by nobody", reason="deadline")
    dvc_output(remote, "crops", sidecar, cached=False).unlink()
    later(monkeypatch, 2)
    run = remote.run("gc")
    assert run.exit_code == 2
    assert "lacks data/crops, which dvc.lock names" in run.output
    empty = tmp_path / "empty"
    empty.mkdir()
    monkeypatch.chdir(empty)
    run = remote.run("gc")
    assert run.exit_code == 2
    assert "in no checkout with DVC" in run.output
    assert remote.shards() == {sidecar.sha256}
    assert remote.run("gc", "--keep", str(empty)).exit_code == 0
    assert remote.shards() == set()


def test_a_remote_verify_tells_lost_outputs(remote: Place) -> None:
    here, gone = remote.keep("here"), remote.keep("gone")
    dvc_output(remote, "crops", here)
    lost = dvc_output(remote, "motion", gone)
    assert remote.run("verify").exit_code == 0
    remote.cache.storage.remove(remote.cache.object_name(gone.sha256))
    run = remote.run("verify")
    assert run.exit_code == 1
    assert f"lost the shard of {lost}" in run.output.replace("\n", "")
    data = remote.cache.storage.read(remote.cache.object_name(here.sha256))
    remote.cache.storage.write(remote.cache.object_name(here.sha256), data[:-1] + b"!")
    assert "1 damaged" in remote.run("verify", "--repair").output
    assert remote.shards() == set()


def test_staged_inputs_are_checked_and_age(remote: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = remote.cache.storage
    storage.write("files/ab/" + "ab" * 32, b"not what its name says")
    storage.write("media/" + "cd" * 32, b"a video")
    storage.write("report/index.html", b"somebody's")
    assert "1 damaged" in remote.run("verify", "--repair").output
    later(monkeypatch, 40)
    remote.run("gc")
    assert storage.size("media/" + "cd" * 32) == 7
    remote.run("gc", "--older-than", "30d")
    assert [entry.name for entry in storage.list("")] == ["report/index.html"]


def test_states_of_abandoned_trainings_are_told_and_age(
    remote: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = "training/ab/" + "ab" * 32 + "/000000500.safetensors"
    remote.cache.storage.write(state, b"weights")
    remote.cache.storage.write("training/notes.txt", b"somebody's")
    assert "training states" in remote.run("du").output
    later(monkeypatch, 40)
    remote.run("gc")
    assert remote.cache.storage.size(state) == 7
    assert "7 bytes" in remote.run("gc", "--older-than", "30d").output
    assert [entry.name for entry in remote.cache.storage.list("")] == ["training/notes.txt"]


def test_a_storage_that_cannot_be_reached_is_one_line(
    remote: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setattr("pipelines.stores.object_store.time.sleep", lambda _: None)
    run = remote.run("du")
    assert run.exit_code == 2
    assert "error: listing s3://cache/run/objects failed" in run.output.replace("\n", "")
    assert "Traceback" not in run.output


def test_every_checkout_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    main = checkout(tmp_path / "main", monkeypatch)
    name = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
    commands = (
        ["git", *name, "commit", "-q", "--allow-empty", "-m", "start"],
        ["git", "worktree", "add", "-q", str(tmp_path / "tree")],
    )
    for command in commands:
        subprocess.run(command, cwd=main, check=True, capture_output=True)
    experiment = main / ".dvc/tmp/exps/standalone/tmp1"
    experiment.mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "tree")
    assert {main, tmp_path / "tree", experiment} <= set(checkouts())


def test_a_dvc_cache_that_is_kept_elsewhere_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = checkout(tmp_path / "main", monkeypatch)
    assert dvc_cache(folder) == folder / ".dvc" / "cache"
    (folder / ".dvc" / "config.local").write_text("[cache]\n    dir = ../../shared\n")
    found = dvc_cache(folder)
    assert found is not None
    assert found.resolve() == tmp_path / "shared"
    assert dvc_cache(tmp_path) is None
