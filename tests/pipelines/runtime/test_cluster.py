"""Several nodes: nodes that share no path, nodes that are taken away, one node or three."""

import json
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from ray.cluster_utils import Cluster

from dimitra.assets import AssetError, asset_path
from dimitra.fetching import add, pin
from dimitra.shards import Members, Sidecar, list_shards, list_sidecars, write_shard
from pipelines.errors import JobError
from pipelines.params import RayParams, StorageParams
from pipelines.runtime.jobs import Job, keys_of, run, units_of
from pipelines.runtime.quarantine import read_quarantine, write_quarantine
from pipelines.stores.storage import Storage
from pipelines.stores.work_cache import WorkCache, local_shards
from tests.pipelines import s3
from tests.pipelines.balances import write_balance
from tests.pipelines.runtime.test_jobs import CLIPS, WORKER, folder_bytes

ROOT = Path(__file__).parents[3]
BUCKET = "talking"


def write_source(folder: Path) -> None:
    """An earlier stage's shards and raw files of ``CLIPS``, below the working folder."""
    for number in range(3):
        samples = {
            c.clip_id: {"txt": f"text of {c.clip_id}".encode()} for c in CLIPS if c.shard == number
        }
        write_shard(folder / "data" / "source" / f"{number:05d}.tar", samples)
    write_quarantine(folder / "data" / "source", [])
    write_balance(folder / "data" / "source")
    for clip in CLIPS:
        path = folder / "datasets" / "toy" / clip.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"raw bytes of {clip.clip_id}")
    (folder / "inputs.txt").write_text("corpus-wide")


@pytest.fixture(scope="module")
def drivers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the drivers of all tests."""
    return tmp_path_factory.mktemp("drivers")


@pytest.fixture
def driver(drivers: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Working folder of the driver, with its own cache."""
    folder = Path(tempfile.mkdtemp(dir=drivers))
    write_source(folder)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("DIMITRA_CACHE_DIR", str(folder / "cache"))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    return folder


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with s3.s3_server() as server:
        yield server


def toy(**changes: object) -> Job:
    base = Job(
        stage="toy",
        worker=WORKER,
        params={"faults": {}},
        units=units_of(CLIPS, [Path("data/source")]),
        output=Path("data/out"),
        budget=1.0,
        deadline_s=60.0,
    )
    return replace(base, **changes)  # type: ignore[arg-type]


def written(samples: dict[str, Members]) -> list[Sidecar]:
    """Shards written here, by nobody's runtime, from what is known to be right."""
    return [
        write_shard(
            Path("expected") / f"{number:05d}.tar",
            {c.clip_id: samples[c.clip_id] for c in CLIPS if c.shard == number},
        )
        for number in range(3)
    ]


def reversed_texts() -> list[Sidecar]:
    """What ``toy`` makes."""
    return written(
        {
            c.clip_id: {
                "reversed.txt": f"text of {c.clip_id}"[::-1].encode(),
                "threads.txt": b"1",
            }
            for c in CLIPS
        }
    )


def witness(**changes: object) -> Job:
    return toy(
        worker="tests.pipelines.toy_worker:make_witness",
        params={"roots": {"toy": "datasets/toy"}, "inputs": "inputs.txt"},
        media={"toy": "datasets/toy"},
        corpus_inputs=(Path("inputs.txt"),),
        assets=("dlib_68",),
        packages=("numpy",),
        **changes,
    )


AUDIT = """
import os, sys
_LOG = os.path.join(os.environ["DIMITRA_CACHE_DIR"], "opened-%d.txt" % os.getpid())
_FORBIDDEN = os.environ["DIMITRA_TEST_FORBIDDEN"].split(os.pathsep)
def _hook(event, arguments):
    if event == "open" and isinstance(arguments[0], str):
        path = os.path.abspath(arguments[0])
        if any(path.startswith(folder + os.sep) for folder in _FORBIDDEN):
            descriptor = os.open(_LOG, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
            os.write(descriptor, (path + "\\n").encode())
            os.close(descriptor)
sys.addaudithook(_hook)
"""


def ray_token() -> dict[str, str]:
    """Ray's own secret, which an administrator puts on every machine of a cluster.

    A Ray of one's own makes it, and from then on this process and its children ask for it. A node
    looks for it in its home folder, and the nodes here have homes of their own.
    """
    token = Path.home() / ".ray" / "auth_token"
    return {"RAY_AUTH_TOKEN_PATH": str(token)} if token.is_file() else {}


def add_node(cluster: Cluster, **options: object) -> object:
    """Add a node; Ray gives it 30 seconds to start, which a busy machine may exceed once."""
    for _ in range(2):
        try:
            return cluster.add_node(**options)
        except Exception as error:
            if "timed out during startup" not in str(error):
                raise
    return cluster.add_node(**options)


@pytest.fixture(scope="module")
def three_nodes(
    drivers: Path, endpoint: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, Path]]:
    """Address of three nodes with their own home, cache and assets, and the folder of these.

    An audit hook in every process of a node notes each file it opens in the drivers' folders, in
    the checkout, or in the driver's asset store.
    """
    hook = tmp_path_factory.mktemp("hook")
    (hook / "sitecustomize.py").write_text(AUDIT)
    forbidden = [
        str(drivers),
        *(str(ROOT / name) for name in ("dimitra", "pipelines", "tests", "data", "datasets")),
        str(asset_path("dlib_68").parent),
    ]
    folder = tmp_path_factory.mktemp("nodes")
    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    with pytest.MonkeyPatch.context() as patch:
        for number in range(3):
            home = folder / str(number)
            for name in ("cache", "assets", "home", "work"):
                (home / name).mkdir(parents=True)
            patch.chdir(home / "work")
            environment = {
                **s3.CREDENTIALS,
                **ray_token(),
                "AWS_ENDPOINT_URL": endpoint,
                "HOME": str(home / "home"),
                "DIMITRA_CACHE_DIR": str(home / "cache"),
                "DIMITRA_ASSETS_DIR": str(home / "assets"),
                "DIMITRA_TEST_FORBIDDEN": os.pathsep.join(forbidden),
                "PYTHONPATH": str(hook),
            }
            add_node(nodes, num_cpus=1, env_vars=environment)
    yield nodes.address, folder
    nodes.shutdown()


@pytest.fixture
def apart(
    three_nodes: tuple[str, Path], driver: Path, endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """The driver beside those nodes, with an empty bucket; yields the nodes' folder."""
    s3.use(monkeypatch, endpoint)
    s3.make_bucket(endpoint, BUCKET)
    monkeypatch.setenv("RAY_ADDRESS", three_nodes[0])
    return three_nodes[1]


def test_nodes_that_share_no_path_give_the_same_bytes(
    apart: Path, driver: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = StorageParams(root=f"s3://{BUCKET}/dimitra")
    job = witness()
    balance = run(job, RayParams(workers=3), storage)
    assert (balance.clips_in, balance.clips_out) == (12, 12)
    # The output folder is a manifest: sidecars alone, the bytes are in the storage.
    assert not list_shards(job.output)
    assert len(list_sidecars(job.output)) == 3

    places = [
        place
        for path in apart.glob("*/cache/places.txt")
        for place in path.read_text().splitlines()
    ]
    assert len(places) == 4 * 12
    for place in places:
        assert place.startswith(str(apart)) or "/runtime_resources/" in place, place
    assert [path.read_text() for path in apart.glob("*/cache/opened-*.txt")] == []
    # Nothing is left on the nodes but what is worth keeping: the weights.
    assert not [path for path in apart.glob("*/cache/partial/*/work/**/*") if path.is_file()]

    expected = written(
        {
            c.clip_id: {
                "raw.txt": f"raw bytes of {c.clip_id}".encode(),
                "text.txt": f"text of {c.clip_id}".encode(),
                "inputs.txt": b"corpus-wide",
            }
            for c in CLIPS
        }
    )
    assert list_sidecars(job.output) == {job.output / s.shard: s for s in expected}
    for path in local_shards(job.output, WorkCache(Storage(f"s3://{BUCKET}/dimitra"))):
        assert path.read_bytes() == (driver / "expected" / path.name).read_bytes()

    # Again, from the storage alone: no work is done, no shard is needed here.
    for shard in list_shards(Path("data/source")):
        shard.unlink()
    before = folder_bytes(job.output)
    monkeypatch.setenv("RAY_ADDRESS", "nothing listens here:1")
    run(job, RayParams(workers=3), storage)
    assert folder_bytes(job.output) == before


def test_weights_by_path_and_of_the_hub_reach_nodes_that_share_no_path(
    apart: Path, driver: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DIMITRA_ASSETS_DIR", str(driver / "store"))
    monkeypatch.setenv("DIMITRA_WEIGHTS_FILE", str(driver / "weights.yaml"))
    (driver / "mine.mat").write_bytes(b"a file")
    (driver / "folder").mkdir()
    (driver / "folder" / "a.bin").write_bytes(b"of a folder")
    hub = "hf:owner/toy@v1"
    model = driver / "model"
    model.mkdir()
    (model / "config.json").write_bytes(b"{}")
    (model / "model.safetensors").write_bytes(b"\x02\0\0\0\0\0\0\0{}")
    add(hub, model)
    weights = ["mine.mat", str(driver / "folder"), hub]
    job = toy(
        worker="tests.pipelines.toy_worker:make_reader",
        params={"weights": weights},
        assets=tuple(weights),
    )
    storage = StorageParams(root=f"s3://{BUCKET}/dimitra")
    with pytest.raises(AssetError, match=r"weights mine\.mat are not pinned"):
        run(job, RayParams(workers=3), storage)
    assert not job.output.exists()  # said before any work
    pin("mine.mat")
    pin(str(driver / "folder"))
    before = keys_of(job)
    for path in apart.glob("*/cache/places.txt"):
        path.unlink()
    run(job, RayParams(workers=3), storage)
    parts = {"0.bin": b"a file", "1.bin": b"of a folder"}
    parts |= {"2.bin": b"{}", "3.bin": b"\x02\0\0\0\0\0\0\0{}"}
    expected = written({c.clip_id: parts for c in CLIPS})
    assert list_sidecars(job.output) == {job.output / s.shard: s for s in expected}
    places = [
        place
        for path in apart.glob("*/cache/places.txt")
        for place in path.read_text().splitlines()
    ]
    assert len(places) == 3 * 12
    assert all(place.startswith(str(apart)) for place in places)
    assert [path.read_text() for path in apart.glob("*/cache/opened-*.txt")] == []

    # Other bytes are refused until they are pinned; then the work is other work.
    (driver / "mine.mat").write_bytes(b"other bytes")
    with pytest.raises(AssetError, match="holds other bytes"):
        run(job, RayParams(workers=3), storage)
    pin("mine.mat", other=True)
    assert not set(before.values()) & set(keys_of(job).values())


def test_a_manifest_is_enough_for_the_next_stage(apart: Path, driver: Path) -> None:
    storage = StorageParams(root=f"s3://{BUCKET}/dimitra")
    first = toy()
    run(first, RayParams(workers=2), storage)
    second = toy(
        stage="second",
        units=units_of(CLIPS, [Path("data/source"), first.output]),
        output=Path("data/second"),
    )
    shutil.rmtree(driver / "data" / "source")
    (driver / "data" / "source").mkdir()
    with pytest.raises(FileNotFoundError):
        run(second, RayParams(workers=2), storage)
    write_source(driver)
    balance = run(second, RayParams(workers=2), storage)
    assert balance.clips_out == 12


def test_a_folder_outside_the_working_folder_is_refused(apart: Path, tmp_path: Path) -> None:
    shutil.copytree("data/source", tmp_path / "elsewhere")
    job = toy(units=units_of(CLIPS, [tmp_path / "elsewhere"]))
    with pytest.raises(JobError, match="must lie below the working folder"):
        run(job, RayParams(workers=1), StorageParams(root=f"s3://{BUCKET}/dimitra"))


def sidecars(folder: Path) -> list[Sidecar]:
    return list(list_sidecars(folder).values())


def test_a_node_that_is_taken_away_blames_no_clip(
    driver: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two of three nodes are lost, each with its worker at a clip."""
    quickly = {"health_check_period_ms": 500, "health_check_failure_threshold": 3}
    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "_system_config": quickly})
    added = [add_node(nodes, num_cpus=1) for _ in range(3)]
    monkeypatch.setenv("RAY_ADDRESS", nodes.address)
    live = Path(os.environ["DIMITRA_CACHE_DIR"]) / "live" / "toy.jsonl"

    def at_work() -> int:
        lines = live.read_text().splitlines() if live.exists() else []
        return max((json.loads(line)["workers"] for line in lines), default=0)

    def take_away() -> None:
        until = time.monotonic() + 60
        while at_work() < 3 and time.monotonic() < until:
            time.sleep(0.1)
        for node in added[:2]:
            nodes.remove_node(node, allow_graceful=False)
            lost.append(node)

    lost: list[object] = []
    thread = threading.Thread(target=take_away)
    slow = toy(params={"faults": dict.fromkeys(("toy-003", "toy-004", "toy-005"), "slow")})
    thread.start()
    try:
        balance = run(slow, RayParams(workers=3))
    finally:
        thread.join()
        nodes.shutdown()
    assert len(lost) == 2
    assert json.loads(live.read_text().splitlines()[-1])["deaths"] >= 2
    assert balance.quarantined == 0
    assert read_quarantine(slow.output) == []
    assert sidecars(slow.output) == reversed_texts()


def test_one_two_or_four_workers_on_one_node_or_three(
    driver: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    for _ in range(3):
        add_node(cluster, num_cpus=2)
    monkeypatch.setenv("RAY_ADDRESS", cluster.address)
    try:
        for workers in (1, 2, 4):
            monkeypatch.setenv("DIMITRA_CACHE_DIR", str(driver / f"cache-{workers}"))
            many = toy(output=Path(f"data/{workers}"))
            run(many, RayParams(workers=workers))
            assert sidecars(many.output) == reversed_texts()
            for path in list_shards(many.output):
                assert path.read_bytes() == (Path("expected") / path.name).read_bytes()
    finally:
        cluster.shutdown()
