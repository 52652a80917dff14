import errno
import hashlib
import multiprocessing
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipelines.stores.object_store import ObjectStore
from pipelines.stores.storage import DamagedError, Patience, Storage, StorageError, copy_atomic
from tests.pipelines.s3 import Fault, Proxy, client, make_bucket, s3_server, use

BUCKET = "shards"
QUICK = Patience(connect_s=1.0, silence_s=1.0, delays_s=(0.05,))
ONCE = Patience(connect_s=1.0, silence_s=1.0, delays_s=())
BIG = 25_000_000
"""Three parts of a multipart upload (10 MiB, 10 MiB, the rest), handed over in two pieces."""
HUGE = 40_000_000
"""Three pieces: an interruption within the second one finds a stream that is not complete."""
BOUND_S = 45.0


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with s3_server() as address:
        yield address


@pytest.fixture
def boto(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    use(monkeypatch, endpoint)
    make_bucket(endpoint, BUCKET)
    return client(endpoint)


@pytest.fixture
def proxy(boto: Any, endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    spoiling = Proxy(endpoint)
    use(monkeypatch, spoiling.endpoint)
    yield spoiling
    spoiling.close()


@pytest.fixture
def remote() -> Storage:
    return Storage(f"s3://{BUCKET}/run", QUICK)


@pytest.fixture(params=["local", "s3"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    if request.param == "local":
        return Storage(str(tmp_path / "root"))
    request.getfixturevalue("boto")
    return Storage(f"s3://{BUCKET}/run", QUICK)


def big_file(folder: Path, seed: int = 0, size: int = BIG) -> tuple[Path, bytes]:
    block = hashlib.sha512(str(seed).encode()).digest()
    data = (block * (size // len(block) + 1))[:size]
    path = folder / f"big{seed}"
    path.write_bytes(data)
    return path, data


def keys(boto: Any) -> list[str]:
    """Objects of the bucket; without the folder markers that pyarrow leaves after a removal."""
    found = boto.list_objects_v2(Bucket=BUCKET).get("Contents", [])
    return [entry["Key"] for entry in found if not entry["Key"].endswith("/")]


def test_what_is_written_is_read(storage: Storage, tmp_path: Path) -> None:
    assert storage.size("a/b.json") is None
    storage.write("a/b.json", b"first")
    storage.write("a/b.json", b"second")
    assert storage.read("a/b.json") == b"second"
    assert storage.size("a/b.json") == 6
    source, data = big_file(tmp_path)
    storage.put(source, "objects/x.tar")
    assert source.read_bytes() == data
    storage.put(source, "objects/y.tar", move=True)
    assert not source.exists()
    digest = hashlib.sha256(data).hexdigest()
    for name in ("objects/x.tar", "objects/y.tar"):
        storage.get(name, tmp_path / "out" / "back", digest)
        assert (tmp_path / "out" / "back").read_bytes() == data
        assert storage.sha256(name) == digest
    storage.write("empty", b"")
    storage.put(tmp_path / "out" / "back", "a.b")
    (tmp_path / "nothing").touch()
    storage.put(tmp_path / "nothing", "nothing")
    storage.get("nothing", tmp_path / "out" / "nothing")
    assert (tmp_path / "out" / "nothing").read_bytes() == storage.read("empty") == b""
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["back", "nothing"]


def test_listings_are_sorted_by_name_and_know_size_and_time(storage: Storage) -> None:
    began = time.time()
    for name in ("a/c", "a-b", "a/b/c", "a.b", "b"):
        storage.write(name, name.encode())
    found = list(storage.list(""))
    assert [entry.name for entry in found] == sorted(["a/c", "a-b", "a/b/c", "a.b", "b"])
    assert all(entry.size_bytes == len(entry.name) for entry in found)
    assert all(began - 2 < entry.modified_s < time.time() + 2 for entry in found)
    assert [entry.name for entry in storage.list("a")] == ["a/b/c", "a/c"]
    assert not list(storage.list("nothing"))
    storage.remove("a/c")
    storage.remove("a/c")
    storage.touch("a/c")
    assert [entry.name for entry in storage.list("a")] == ["a/b/c"]


def test_what_is_absent_is_a_file_not_found(storage: Storage, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no/such"):
        storage.read("no/such")
    with pytest.raises(FileNotFoundError, match="no/such"):
        storage.get("no/such", tmp_path / "target")
    with pytest.raises(FileNotFoundError, match="no/such"):
        storage.sha256("no/such")
    with pytest.raises(FileNotFoundError):
        storage.put(tmp_path / "gone", "no/such", move=True)
    assert storage.size("no/such") is None
    assert not list(tmp_path.glob("*target*"))


def test_damaged_bytes_do_not_reach_the_target(storage: Storage, tmp_path: Path) -> None:
    storage.write("x", b"changed")
    target = tmp_path / "out" / "target"
    with pytest.raises(DamagedError, match=r"/x is damaged: its sha256 is .* not 0000"):
        storage.get("x", target, "0" * 64)
    assert not list(target.parent.iterdir())
    target.write_bytes(b"from before")
    with pytest.raises(DamagedError):
        storage.get("x", target, "0" * 64)
    assert target.read_bytes() == b"from before"
    assert [path.name for path in target.parent.iterdir()] == ["target"]


@pytest.mark.parametrize(
    "name", ["", "/a", "a/", "a//b", "../a", "a/../b", "./a", ".a", "a/.b", "a\\b", "a\nb", "a\0b"]
)
def test_names_that_could_leave_the_root_are_refused(tmp_path: Path, name: str) -> None:
    for storage in (Storage(str(tmp_path)), Storage("s3://bucket")):
        calls = (
            lambda s: s.read(name),
            lambda s: s.write(name, b""),
            lambda s: s.get(name, tmp_path / "x"),
            lambda s: s.put(tmp_path, name),
            lambda s: s.remove(name),
            lambda s: s.size(name),
        )
        for call in calls:
            with pytest.raises(ValueError, match="is no name in a storage"):
                call(storage)


def test_a_root_is_a_folder_or_a_uri_without_secrets(tmp_path: Path) -> None:
    assert Storage(f"{tmp_path}/").root == str(tmp_path)
    assert Storage("s3://bucket/prefix/").root == "s3://bucket/prefix"
    assert Storage(str(tmp_path)).path("a/b") == tmp_path / "a" / "b"
    with pytest.raises(ValueError, match="s3://bucket is remote"):
        Storage("s3://bucket").path("a")
    for root in ("relative/folder", "file:///tmp", "s3://", "s3:///key"):
        with pytest.raises(StorageError, match="storage root"):
            Storage(root)
    for root in ("s3://key:secret@bucket", "s3://bucket?endpoint_override=x"):
        with pytest.raises(StorageError, match="come from the environment") as raised:
            Storage(root)
        assert "secret" not in str(raised.value)


def test_a_pickled_storage_works_in_another_process(storage: Storage) -> None:
    storage.write("x", b"1")
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        assert pool.apply(storage.read, ("x",)) == b"1"


def test_a_copy_that_fails_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        copy_atomic(tmp_path / "gone", tmp_path / "out" / "copy")
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_this_machines_error_and_leaves_nothing(
    storage: Storage, tmp_path: Path
) -> None:
    """A limit on the size of files stands for the disk's end: the write fails half-way."""
    source, _ = big_file(tmp_path)
    storage.put(source, "big")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (BIG // 2, hard))
    try:
        with pytest.raises(OSError, match="File too large") as raised:
            storage.get("big", tmp_path / "out" / "big")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not isinstance(raised.value, StorageError)
    assert not list((tmp_path / "out").iterdir())


def test_a_kept_time_of_use_is_touched_locally(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    storage.write("x", b"")
    os.utime(tmp_path / "x", (1e9, 1e9))
    storage.touch("x")
    assert next(iter(storage.list(""))).modified_s > 1.5e9


@pytest.mark.parametrize("times", [1, 4])
def test_an_upload_survives_dropped_connections(
    remote: Storage, proxy: Proxy, boto: Any, tmp_path: Path, times: int
) -> None:
    """Once: the AWS library's own attempts. Four times: more than it makes, so the whole again."""
    source, data = big_file(tmp_path)
    proxy.set(Fault("partNumber=2", times, after_bytes=100_000, up=True))
    remote.put(source, "objects/big.tar", move=True)
    assert proxy.spoilt == times
    assert boto.get_object(Bucket=BUCKET, Key="run/objects/big.tar")["Body"].read() == data
    assert not source.exists()


def test_an_upload_that_cannot_succeed_is_an_error_and_no_object(
    remote: Storage, proxy: Proxy, boto: Any, tmp_path: Path
) -> None:
    source, data = big_file(tmp_path)
    proxy.set(Fault("partNumber=2", times=10**9, after_bytes=100_000, up=True))
    began = time.monotonic()
    with pytest.raises(StorageError, match=r"writing s3://shards/run/big failed \(2 attempts\)"):
        remote.put(source, "big", move=True)
    assert time.monotonic() - began < BOUND_S
    assert proxy.spoilt == 6
    assert keys(boto) == []
    assert source.read_bytes() == data
    proxy.set(None)
    other, kept = big_file(tmp_path, seed=1)
    remote.put(other, "big")
    proxy.set(Fault("partNumber=2", times=10**9, after_bytes=100_000, up=True))
    with pytest.raises(StorageError):
        remote.put(source, "big")
    assert boto.get_object(Bucket=BUCKET, Key="run/big")["Body"].read() == kept


@pytest.mark.parametrize("times", [1, 4])
def test_a_download_survives_dropped_connections(
    remote: Storage, proxy: Proxy, tmp_path: Path, times: int
) -> None:
    source, data = big_file(tmp_path)
    remote.put(source, "big")
    target = tmp_path / "out" / "big"
    seen: list[bool] = []
    fault = Fault("GET /shards/run/big", times, after_bytes=3_000_000)
    fault.then = lambda: seen.append(target.exists())
    proxy.set(fault)
    remote.get("big", target, hashlib.sha256(data).hexdigest())
    assert seen == [False] * times
    assert target.read_bytes() == data
    assert list(target.parent.iterdir()) == [target]


def test_a_download_that_cannot_succeed_leaves_no_target(
    remote: Storage, proxy: Proxy, tmp_path: Path
) -> None:
    source, _ = big_file(tmp_path)
    remote.put(source, "big")
    proxy.set(Fault("GET /shards/run/big", times=10**9, after_bytes=3_000_000))
    target = tmp_path / "out" / "big"
    began = time.monotonic()
    with pytest.raises(StorageError, match=r"fetching s3://shards/run/big failed \(2 attempts\)"):
        remote.get("big", target)
    assert time.monotonic() - began < BOUND_S
    assert not list(target.parent.iterdir())
    target.write_bytes(b"from before")
    with pytest.raises(StorageError):
        remote.get("big", target)
    assert target.read_bytes() == b"from before"


def test_a_server_that_falls_silent_is_an_error(proxy: Proxy) -> None:
    remote = Storage(f"s3://{BUCKET}/run", ONCE)
    remote.write("x", b"1" * 100_000)
    for fault in (Fault("HEAD", 10**9, kind="stall"), Fault("GET", 10**9, 1000, kind="stall")):
        proxy.set(fault)
        began = time.monotonic()
        with pytest.raises(StorageError, match="Timeout was reached"):
            remote.read("x")
        assert time.monotonic() - began < BOUND_S


def test_a_server_that_is_not_there_is_an_error(
    endpoint: str, boto: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    remote = Storage(f"s3://{BUCKET}/run", ONCE)
    closed = Proxy(endpoint)
    closed.close()
    use(monkeypatch, closed.endpoint)
    began = time.monotonic()
    with pytest.raises(StorageError, match="check the network, AWS_ENDPOINT_URL"):
        remote.get("x", tmp_path / "x")
    with pytest.raises(StorageError, match="s3://shards/run/x"):
        remote.write("x", b"1")
    assert time.monotonic() - began < BOUND_S
    assert keys(boto) == []


def test_only_what_may_pass_is_tried_again(remote: Storage, proxy: Proxy) -> None:
    busy = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    remote.write("x", b"1")
    proxy.set(Fault("GET /shards/run/x", times=4, kind="answer", answer=busy))
    assert remote.read("x") == b"1"
    assert proxy.spoilt == 4
    denied = (
        b"<?xml version='1.0'?><Error><Code>AccessDenied</Code><Message>Access Denied</Message>"
        b"</Error>"
    )
    answer = b"HTTP/1.1 403 Forbidden\r\nContent-Type: application/xml\r\nContent-Length: %d\r\n"
    answer = answer % len(denied) + b"Connection: close\r\n\r\n"
    for match, call in (
        ("HEAD /shards/run/x", lambda: remote.read("x")),
        ("HEAD /shards/run/x", lambda: remote.size("x")),
        ("PUT /shards/run/x", lambda: remote.write("x", b"2")),
        ("GET /shards", lambda: list(remote.list(""))),
    ):
        body = b"" if match.startswith("HEAD") else denied
        proxy.set(Fault(match, times=10**9, kind="answer", answer=answer + body))
        with pytest.raises(StorageError, match="ACCESS_DENIED.*check AWS_ACCESS_KEY_ID"):
            call()
        assert proxy.spoilt == 1
    proxy.set(None)
    assert remote.size("absent") is None
    assert len(proxy.requests) == 1
    with pytest.raises(StorageError, match="NO_SUCH_BUCKET.*make the bucket"):
        Storage("s3://no-such-bucket/run", QUICK).write("x", b"1")


@pytest.mark.parametrize("whole_pieces", [0, 1])
@pytest.mark.parametrize("error", [MemoryError("no memory"), OSError(errno.EIO, "broken disk")])
def test_an_error_between_two_pieces_commits_nothing(
    boto: Any, whole_pieces: int, error: Exception
) -> None:
    """By itself a pyarrow stream commits what it holds when it is closed or forgotten."""
    store = ObjectStore(f"s3://{BUCKET}/run", QUICK)
    block = bytes(BIG)

    def pieces() -> Iterator[bytes]:
        for _ in range(whole_pieces):
            yield block
        raise error

    with pytest.raises(type(error), match=str(error.args[-1])):
        store.upload("half", pieces, 2 * BIG)
    assert keys(boto) == []


def test_a_source_that_shrinks_meanwhile_is_an_error(boto: Any) -> None:
    store = ObjectStore(f"s3://{BUCKET}/run", QUICK)
    with pytest.raises(StorageError, match="truncated object; it was removed"):
        store.upload("short", lambda: (b"abc",), 4)
    assert keys(boto) == []


CHILD = """
import sys
from pathlib import Path
from pipelines.stores.storage import Patience, Storage
print("go", flush=True)
Storage(sys.argv[1], Patience(1.0, 20.0, (0.05,))).put(Path(sys.argv[2]), "big")
print("done", flush=True)
"""


def interrupted(remote: Storage, proxy: Proxy, source: Path, number: int) -> tuple[int, str]:
    """Exit code and errors of a process that a signal meets in the middle of an upload."""
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, remote.root, str(source)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert proxy.happened.wait(30)
    child.send_signal(number)
    _, errors = child.communicate(timeout=60)
    return child.returncode, errors


def test_a_process_killed_in_the_middle_of_an_upload_leaves_no_object(
    remote: Storage, proxy: Proxy, boto: Any, tmp_path: Path
) -> None:
    source, _ = big_file(tmp_path)
    proxy.set(Fault("partNumber=2", 10**9, after_bytes=100_000, up=True, kind="stall"))
    code, _ = interrupted(remote, proxy, source, signal.SIGKILL)
    assert code == -signal.SIGKILL
    assert keys(boto) == []
    open_uploads = boto.list_multipart_uploads(Bucket=BUCKET)["Uploads"]
    assert [upload["Key"] for upload in open_uploads] == ["run/big"]


def test_ctrl_c_in_the_middle_of_an_upload_leaves_it_whole(
    remote: Storage, proxy: Proxy, boto: Any, tmp_path: Path
) -> None:
    source, data = big_file(tmp_path, size=HUGE)
    fault = Fault("partNumber=2", after_bytes=100_000, up=True, kind="pause", pause_s=1.0)
    proxy.set(fault)
    code, errors = interrupted(remote, proxy, source, signal.SIGINT)
    assert (code, "KeyboardInterrupt" in errors) == (-signal.SIGINT, True)
    assert boto.get_object(Bucket=BUCKET, Key="run/big")["Body"].read() == data
