"""Several nodes: nodes that share no path, nodes that are taken away, one node or three."""

import json
import os
import shutil
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from ray.cluster_utils import Cluster

from dimitra.assets import asset_path
from dimitra.shards import Sidecar, list_shards, list_sidecars, write_shard
from pipelines.errors import JobError
from pipelines.jobs import Job, run, units_of
from pipelines.params import RayParams, StorageParams
from pipelines.quarantine import read_quarantine, write_quarantine
from pipelines.storage import Storage
from pipelines.work_cache import WorkCache, local_shards
from tests.pipelines import s3
from tests.pipelines.test_jobs import CLIPS, WORKER, folder_bytes

ROOT = Path(__file__).parents[2]
BUCKET = "talking"


def write_source(folder: Path) -> None:
    """An earlier stage's shards and raw files of ``CLIPS``, below the working folder."""
    for number in range(3):
        samples = {
            c.clip_id: {"txt": f"text of {c.clip_id}".encode()} for c in CLIPS if c.shard == number
        }
        write_shard(folder / "data" / "source" / f"{number:05d}.tar", samples)
    write_quarantine(folder / "data" / "source", [])
    (folder / "data" / "source" / "balance.json").write_text("{}\n")
    for clip in CLIPS:
        path = folder / "datasets" / "toy" / clip.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"raw bytes of {clip.clip_id}")
    (folder / "inputs.txt").write_text("corpus-wide")


@pytest.fixture
def driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Working folder of the driver, with its own cache."""
    folder = tmp_path / "driver"
    folder.mkdir()
    write_source(folder)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("DIMITRA_CACHE_DIR", str(tmp_path / "driver-cache"))
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


@pytest.fixture
def apart(tmp_path: Path, driver: Path, endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three nodes with their own home, cache and assets; yields the folder of the nodes.

    An audit hook in every process of a node notes each file it opens in the driver's folders, in
    the checkout, or in the driver's asset store.
    """
    s3.use(monkeypatch, endpoint)
    s3.make_bucket(endpoint, BUCKET)
    hook = tmp_path / "hook"
    hook.mkdir()
    (hook / "sitecustomize.py").write_text(AUDIT)
    forbidden = [
        str(driver),
        str(tmp_path / "driver-cache"),
        *(str(ROOT / name) for name in ("dimitra", "pipelines", "tests", "data", "datasets")),
        str(asset_path("dlib_68").parent),
    ]
    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    for number in range(3):
        home = tmp_path / "nodes" / str(number)
        for name in ("cache", "assets", "home", "work"):
            (home / name).mkdir(parents=True)
        monkeypatch.chdir(home / "work")
        environment = {
            "HOME": str(home / "home"),
            "DIMITRA_CACHE_DIR": str(home / "cache"),
            "DIMITRA_ASSETS_DIR": str(home / "assets"),
            "DIMITRA_TEST_FORBIDDEN": os.pathsep.join(forbidden),
            "PYTHONPATH": str(hook),
        }
        nodes.add_node(num_cpus=1, env_vars=environment)
    monkeypatch.chdir(driver)
    monkeypatch.setenv("RAY_ADDRESS", nodes.address)
    yield tmp_path / "nodes"
    nodes.shutdown()


def test_nodes_that_share_no_path_give_the_same_bytes(
    apart: Path, driver: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
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
        assert "/nodes/" in place or "/runtime_resources/" in place, place
    assert [path.read_text() for path in apart.glob("*/cache/opened-*.txt")] == []
    # Nothing is left on the nodes but what is worth keeping: the weights.
    assert not [path for path in apart.glob("*/cache/partial/*/work/**/*") if path.is_file()]

    fetched = local_shards(job.output, WorkCache(Storage(f"s3://{BUCKET}/dimitra")))
    monkeypatch.delenv("RAY_ADDRESS")
    here = replace(job, output=Path("data/here"))
    run(here, RayParams(workers=1))
    assert [path.read_bytes() for path in fetched] == [
        path.read_bytes() for path in list_shards(here.output)
    ]
    for name in ("00000.json", "00001.json", "00002.json", "quarantine.parquet", "balance.json"):
        assert (job.output / name).read_bytes() == (here.output / name).read_bytes(), name

    # Again, from the storage alone: no work is done, no shard is needed here.
    for shard in list_shards(Path("data/source")):
        shard.unlink()
    before = folder_bytes(job.output)
    monkeypatch.setenv("RAY_ADDRESS", "nothing listens here:1")
    run(job, RayParams(workers=3), storage)
    assert folder_bytes(job.output) == before


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
    """Both nodes are lost in turn, each with its worker at a clip; a third comes late."""
    quiet = toy(output=Path("data/quiet"))
    run(quiet, RayParams(workers=1))
    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    doomed = [nodes.add_node(num_cpus=1) for _ in range(2)]
    monkeypatch.setenv("RAY_ADDRESS", nodes.address)
    live = Path(os.environ["DIMITRA_CACHE_DIR"]) / "live" / "toy.jsonl"
    live.unlink()

    def at_work() -> int:
        lines = live.read_text().splitlines() if live.exists() else []
        return max((json.loads(line)["workers"] for line in lines), default=0)

    def take_away() -> None:
        until = time.monotonic() + 60
        while at_work() < 2 and time.monotonic() < until:
            time.sleep(0.1)
        nodes.remove_node(doomed[0], allow_graceful=False)
        nodes.remove_node(doomed[1], allow_graceful=False)
        nodes.add_node(num_cpus=1)

    thread = threading.Thread(target=take_away)
    slow = toy(params={"faults": {c.clip_id: "slow" for c in CLIPS}}, seed=1)
    thread.start()
    try:
        balance = run(slow, RayParams(workers=2))
    finally:
        thread.join()
        nodes.shutdown()
    assert balance.quarantined == 0
    assert read_quarantine(slow.output) == []
    assert sidecars(slow.output) == sidecars(quiet.output)


@pytest.mark.parametrize(("nodes", "workers"), [(1, 4), (3, 3)])
def test_one_node_or_three(
    nodes: int, workers: int, driver: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quiet = toy(output=Path("data/quiet"))
    run(quiet, RayParams(workers=1))
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    for _ in range(nodes):
        cluster.add_node(num_cpus=4 // nodes)
    monkeypatch.setenv("RAY_ADDRESS", cluster.address)
    try:
        shutil.rmtree(os.environ["DIMITRA_CACHE_DIR"])
        many = toy()
        run(many, RayParams(workers=workers))
    finally:
        cluster.shutdown()
    assert folder_bytes(many.output) == folder_bytes(quiet.output)
