import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from dimitra.shards import Sidecar, read_sidecar, write_shard
from pipelines.params import RayParams, StorageParams
from pipelines.runtime.jobs import Job, run
from pipelines.runtime.quarantine import QuarantineRow
from pipelines.runtime.units import Unit
from pipelines.stores.checkout import cache_folder, main_checkout
from pipelines.stores.storage import DamagedError, Storage, StorageError
from pipelines.stores.work_cache import (
    Finished,
    WorkCache,
    digest_of,
    digest_path,
    local_shard,
    local_shards,
    partial,
    publish,
    read_record,
    record_bytes,
)
from tests.pipelines.runtime.test_jobs import CLIPS
from tests.pipelines.s3 import client, make_bucket, s3_server, use

KEY = "ab" + "0" * 62


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with s3_server() as address:
        yield address


@pytest.fixture(params=["local", "s3"])
def cache(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> WorkCache:
    monkeypatch.setenv("DIMITRA_CACHE_DIR", str(tmp_path / "node"))
    if request.param == "local":
        return WorkCache(Storage(str(tmp_path / "cache")))
    endpoint = request.getfixturevalue("endpoint")
    use(monkeypatch, endpoint)
    return WorkCache(Storage(f"s3://{make_bucket(endpoint, 'cache')}/run"))


@pytest.fixture
def local(tmp_path: Path) -> WorkCache:
    return WorkCache(Storage(str(tmp_path / "cache")))


def made(folder: Path, text: bytes = b"x", reason: str = "no_face") -> tuple[Path, Finished]:
    """A shard fresh from a worker, and what the worker says of it."""
    shard = folder / "00000.tar"
    sidecar = write_shard(shard, {"a": {"txt": text}})
    return shard, Finished(sidecar, (QuarantineRow("b", "toy", "crop", reason, "none", None, 1),))


def spoil(cache: WorkCache, sidecar: Sidecar, data: bytes) -> None:
    cache.storage.write(cache.object_name(sidecar.sha256), data)


def names(cache: WorkCache) -> list[str]:
    return [entry.name for entry in cache.storage.list("")]


def test_what_is_kept_comes_back_as_a_copy(cache: WorkCache, tmp_path: Path) -> None:
    assert cache.find(KEY) is None
    shard, finished = made(tmp_path / "partial")
    data = shard.read_bytes()
    cache.keep(shard, finished, KEY, "crop")
    assert not shard.exists()
    sha256 = finished.sidecar.sha256
    assert names(cache) == [f"objects/{sha256[:2]}/{sha256}.tar", f"work/ab/{KEY}.json"]
    assert cache.find(KEY) == finished
    publish(cache, finished, "00000", tmp_path / "out")
    out = tmp_path / "out" / "00000.tar"
    assert out.read_bytes() == data
    assert read_sidecar(out) == finished.sidecar
    out.write_bytes(b"edited in place")
    publish(cache, finished, "00000", tmp_path / "again")
    assert (tmp_path / "again" / "00000.tar").read_bytes() == data
    cache.drop(KEY)
    cache.drop(KEY)
    assert cache.find(KEY) is None


def test_two_units_with_the_same_bytes_share_one_object(cache: WorkCache, tmp_path: Path) -> None:
    other = "cd" + KEY[2:]
    for key in (KEY, other):
        shard, finished = made(tmp_path / key)
        cache.keep(shard, finished, key, "crop")
        assert not shard.exists()
    assert [name.split("/")[0] for name in names(cache)] == ["objects", "work", "work"]
    cache.drop(KEY)
    assert cache.find(other) is not None


def test_an_object_that_is_there_is_not_sent_again(
    endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, endpoint)
    cache = WorkCache(Storage(f"s3://{make_bucket(endpoint, 'cache')}/run"))

    def written() -> object:
        key = f"run/{cache.object_name(sha256)}"
        client(endpoint).put_object_tagging(
            Bucket="cache", Key=key, Tagging={"TagSet": [{"Key": "first", "Value": "1"}]}
        )
        return client(endpoint).get_object_tagging(Bucket="cache", Key=key)["TagSet"]

    shard, finished = made(tmp_path / "one")
    sha256 = finished.sidecar.sha256
    cache.keep(shard, finished, KEY, "crop")
    tags = written()
    shard, finished = made(tmp_path / "two")
    cache.keep(shard, finished, KEY, "crop")
    key = f"run/{cache.object_name(sha256)}"
    assert client(endpoint).get_object_tagging(Bucket="cache", Key=key)["TagSet"] == tags != []
    spoil(cache, finished.sidecar, b"short")
    shard, finished = made(tmp_path / "three")
    cache.keep(shard, finished, KEY, "crop")
    assert cache.storage.sha256(cache.object_name(sha256)) == sha256


def test_an_unfinished_entry_is_no_entry(cache: WorkCache, tmp_path: Path) -> None:
    shard, finished = made(tmp_path / "partial")
    cache.keep(shard, finished, KEY, "crop")
    spoil(cache, finished.sidecar, b"short")
    assert cache.find(KEY) is None
    cache.storage.remove(cache.object_name(finished.sidecar.sha256))
    assert cache.find(KEY) is None
    assert names(cache) == [cache.record_name(KEY)]


@pytest.mark.parametrize(
    "record",
    [
        b"",
        b"[]",
        b"null",
        b"{}",
        b"\xff\xfe",
        b'{"stage": "crop", "rows": [], "sidecar": {"shard": "00000.tar"}}',
        b'{"stage": "crop", "rows": [{"clip": 1}], "sidecar": {"shard": "a", "sha256": "0", '
        b'"size_bytes": 1, "clips": 0, "clip_ids": []}}',
    ],
)
def test_a_malformed_record_is_dropped(local: WorkCache, record: bytes) -> None:
    local.storage.write(local.record_name(KEY), record)
    assert local.find(KEY) is None
    assert names(local) == []


def test_damaged_bytes_are_found_when_they_are_fetched(cache: WorkCache, tmp_path: Path) -> None:
    shard, finished = made(tmp_path / "partial")
    data = shard.read_bytes()
    cache.keep(shard, finished, KEY, "crop")
    spoil(cache, finished.sidecar, data[:-1] + b"!")
    assert cache.find(KEY) == finished
    with pytest.raises(DamagedError):
        publish(cache, finished, "00000", tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())
    assert cache.find(KEY) is None
    shard, finished = made(tmp_path / "partial")
    cache.keep(shard, finished, KEY, "crop")
    publish(cache, finished, "00000", tmp_path / "out")
    assert (tmp_path / "out" / "00000.tar").read_bytes() == data


def test_rows_that_blame_the_machine_are_not_lasting(cache: WorkCache, tmp_path: Path) -> None:
    """Their shard is kept, because an output may name it; the unit is tried again."""
    shard, finished = made(tmp_path / "partial", reason="deadline")
    assert not finished.lasting
    cache.keep(shard, finished, KEY, "crop")
    assert cache.find(KEY) is None
    publish(cache, finished, "00000", tmp_path / "out")
    assert read_sidecar(tmp_path / "out" / "00000.tar") == finished.sidecar


def test_records_do_not_depend_on_the_order_of_rows(tmp_path: Path) -> None:
    _, finished = made(tmp_path)
    rows = (*finished.rows, QuarantineRow("a", "toy", "crop", "no_face", "none", "12", 2))
    one = record_bytes(Finished(finished.sidecar, rows), "crop")
    two = record_bytes(Finished(finished.sidecar, rows[::-1]), "crop")
    assert one == two
    stage, back = read_record(one)
    assert (stage, back.sidecar, set(back.rows)) == ("crop", finished.sidecar, set(rows))


def test_use_is_marked(local: WorkCache, tmp_path: Path) -> None:
    shard, finished = made(tmp_path / "partial")
    local.keep(shard, finished, KEY, "crop")
    record = local.storage.path(local.record_name(KEY))
    os.utime(record, (1e9, 1e9))
    local.find(KEY)
    assert record.stat().st_mtime > 1.5e9


def test_shards_elsewhere_are_fetched_once(cache: WorkCache, tmp_path: Path) -> None:
    out = tmp_path / "data" / "crops"
    out.mkdir(parents=True)
    (out / "balance.json").write_text(json.dumps({"clips_in": 1}))
    sidecars = []
    for number, text in enumerate((b"one", b"two", b"three")):
        shard = tmp_path / "partial" / f"{number:05d}.tar"
        sidecars.append(write_shard(shard, {f"clip{number}": {"txt": text}}))
        finished = Finished(sidecars[-1], ())
        (out / f"{number:05d}.json").write_bytes(shard.with_suffix(".json").read_bytes())
        cache.keep(shard, finished, f"{number:064d}", "crop")
    publish(cache, Finished(sidecars[1], ()), "00001", out)
    found = local_shards(out, cache)
    fetched = tmp_path / "node" / "fetched"
    assert found == [
        fetched / sidecars[0].sha256 / "00000.tar",
        out / "00001.tar",
        fetched / sidecars[2].sha256 / "00002.tar",
    ]
    assert [read_sidecar(path) for path in found] == sidecars
    for sidecar in sidecars:
        cache.storage.remove(cache.object_name(sidecar.sha256))
    os.utime(found[0], (1e9, 1e9))
    assert local_shards(out, cache) == found
    assert found[0].stat().st_mtime > 1.5e9
    assert local_shards(out, cache, ["clip2"]) == [found[2]]
    assert local_shard(out / "00000.tar", cache) == found[0]
    found[2].write_bytes(b"cut")
    with pytest.raises(FileNotFoundError, match=r"shard of .*00002.json: run the stage"):
        local_shards(out, cache)
    assert local_shards(out, cache, ["clip0", "clip1"]) == found[:2]


def test_partial_folders_of_dead_processes_are_removed(tmp_path: Path) -> None:
    process = subprocess.Popen(["true"])
    process.wait()
    dead = tmp_path / "partial" / f"{os.uname().nodename}-{process.pid}"
    elsewhere = tmp_path / "partial" / f"elsewhere-{process.pid}"
    dead.mkdir(parents=True)
    elsewhere.mkdir()
    own = partial(tmp_path)
    assert {path.name for path in own.parent.iterdir()} == {own.name, elsewhere.name}


def test_digests(tmp_path: Path) -> None:
    assert digest_of({"b": 1, "a": [2]}) == digest_of({"a": [2], "b": 1})
    (tmp_path / "a").write_text("1")
    before = digest_path(tmp_path)
    (tmp_path / "a").rename(tmp_path / "b")
    assert digest_path(tmp_path) != before
    with pytest.raises(FileNotFoundError, match="gone does not exist"):
        digest_path(tmp_path / "gone")


def test_the_cache_lies_in_the_main_checkout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DIMITRA_CACHE_DIR", raising=False)
    main = tmp_path / "main"
    main.mkdir()

    def git(*words: str) -> None:
        name = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
        subprocess.run(["git", *name, *words], cwd=main, check=True, capture_output=True)

    git("init", "-q")
    git("commit", "-q", "--allow-empty", "-m", "start")
    git("worktree", "add", "-q", str(tmp_path / "tree"))
    experiment = main / ".dvc" / "tmp" / "exps" / "standalone" / "tmpx"
    experiment.mkdir(parents=True)
    subprocess.run(["git", "init", "-q"], cwd=experiment, check=True)
    for place in (main, tmp_path / "tree", experiment):
        assert main_checkout(place) == main
    monkeypatch.chdir(experiment)
    assert cache_folder() == main / ".cache" / "dimitra"
    monkeypatch.setenv("DIMITRA_CACHE_DIR", str(tmp_path / "else"))
    assert cache_folder() == tmp_path / "else"


def test_a_bucket_that_is_not_there_is_said_before_any_work(
    endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before Ray starts, let alone a shard is made; a bucket that is there keeps no trace."""
    use(monkeypatch, endpoint)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DIMITRA_CACHE_DIR", str(tmp_path / "cache"))

    def connect(*arguments: object, **options: object) -> None:
        pytest.fail("Ray starts though the bucket is not there")

    monkeypatch.setattr("pipelines.runtime.jobs.connect", connect)
    toy = Job(
        stage="toy",
        worker="tests.pipelines.toy_worker:make_worker",
        params={},
        units=(Unit("00000", (CLIPS[0],), ()),),
        output=Path("out"),
        budget=1.0,
        deadline_s=60.0,
    )
    with pytest.raises(StorageError, match="NO_SUCH_BUCKET") as info:
        run(toy, RayParams(workers=1, mlflow=False), StorageParams(root="s3://not-there/run"))
    assert "make the bucket, or correct storage.root" in str(info.value)

    cache = WorkCache.of(f"s3://{make_bucket(endpoint, 'cache')}/run")
    cache.probe()
    assert list(cache.storage.list("")) == []
