"""The shard-job runtime on a real Ray with two workers."""

import errno
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from ray.cluster_utils import Cluster

from dimitra.clips import Clip, Reason
from dimitra.shards import list_shards, read_shard, read_sidecar, write_shard
from pipelines.errors import BudgetError, JobError, ShardError
from pipelines.params import RayParams, StageResources
from pipelines.runtime.jobs import Job, Resources, Unit, keys_of, run, units_of
from pipelines.runtime.machine import MachineError
from pipelines.runtime.quarantine import quarantine_row, read_quarantine, settle, write_quarantine
from pipelines.runtime.units import join, pinned
from tests.pipelines.balances import write_balance

WORKER = "tests.pipelines.toy_worker:make_worker"


def clip(number: int, shard: int) -> Clip:
    return Clip(
        clip_id=f"toy-{number:03d}",
        dataset="toy",
        identity=f"id{number:03d}",
        source_video=f"v{number:03d}",
        path=f"{number:03d}.mp4",
        audio_path=None,
        sha256=f"{number:064x}",
        start_s=0.0,
        end_s=None,
        duration_s=1.0,
        fps=25.0,
        width=64,
        height=64,
        transcript=None,
        shard=shard,
    )


CLIPS = [clip(number, number % 3) for number in range(12)]


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """Address of a Ray with two processors, shared by the tests to save its start."""
    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 3})
    yield nodes.address
    nodes.shutdown()


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DIMITRA_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    source = tmp_path / "source"
    for number in range(3):
        samples = {
            c.clip_id: {"txt": f"text of {c.clip_id}".encode()} for c in CLIPS if c.shard == number
        }
        write_shard(source / f"{number:05d}.tar", samples)
    write_quarantine(source, [])
    write_balance(source)
    return tmp_path


def job(place: Path, faults: dict[str, str] | None = None, **changes: object) -> Job:
    base = Job(
        stage="toy",
        worker=WORKER,
        params={"faults": faults or {}},
        units=units_of(CLIPS, [place / "source"]),
        output=place / "out",
        budget=1.0,
        deadline_s=60.0,
    )
    return replace(base, **changes)  # type: ignore[arg-type]


def folder_bytes(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_units_hold_only_clips_of_every_read_folder(place: Path) -> None:
    other = place / "other"
    write_shard(other / "00001.tar", {"toy-001": {"a": b"1"}, "toy-007": {"a": b"1"}})
    write_balance(other)
    (unit,) = units_of(CLIPS, [place / "source", other])
    assert [c.clip_id for c in unit.clips] == ["toy-001", "toy-007"]
    assert unit.reads == (place / "source" / "00001.tar", other / "00001.tar")


def test_an_unfinished_stage_is_named(place: Path) -> None:
    (place / "source" / "balance.json").unlink()
    with pytest.raises(JobError, match="source has no balance"):
        units_of(CLIPS, [place / "source"])


@pytest.mark.parametrize("suffixes", [(".tar", ".json"), (".json",)])
def test_a_lost_shard_of_an_earlier_stage_stops_the_next(
    place: Path, suffixes: tuple[str, ...]
) -> None:
    for suffix in suffixes:
        (place / "source" / f"00001{suffix}").unlink()
    with pytest.raises(
        JobError,
        match=r"sidecars in .*source tell of 8 clips, its balance.json of 12.*"
        r"python -m pipelines\.toy` again",
    ):
        units_of(CLIPS, [place / "source"])


def test_a_shard_that_the_stage_did_not_make_stops_the_next(place: Path) -> None:
    write_shard(place / "source" / "00007.tar", {"toy-900": {"txt": b"old"}})
    with pytest.raises(JobError, match=r"tell of 13 clips, its balance.json of 12"):
        units_of(CLIPS, [place / "source"])


@pytest.mark.parametrize("text", ["{}", "[]", "half a", '{"clips_out": 12}'])
def test_a_malformed_balance_is_named(place: Path, text: str) -> None:
    (place / "source" / "balance.json").write_text(text)
    with pytest.raises(JobError, match=r"source/balance\.json is no balance"):
        units_of(CLIPS, [place / "source"])


def test_a_stage_over_its_budget_is_not_read(place: Path) -> None:
    rows = [quarantine_row(CLIPS[0], "toy", Reason.NO_FACE, "none")]
    with pytest.raises(BudgetError):
        settle(place / "source", "toy", 13, 12, rows, budget=0.05)
    with pytest.raises(JobError, match=r"source is of a run that failed: toy: 13 clips in.* 7\.7%"):
        units_of(CLIPS, [place / "source"])
    settle(place / "source", "toy", 13, 12, rows, budget=0.1)
    assert len(units_of(CLIPS, [place / "source"])) == 3


def test_every_fault_costs_its_clip_alone_and_workers_do_not_change_bytes(
    place: Path, cluster: str
) -> None:
    faults = {
        "toy-001": "clip_error",
        "toy-002": "raise",
        "toy-003": "exit",
        "toy-004": "hang",
    }
    two = job(place, faults, deadline_s=6.0)
    balance = run(two, RayParams(address=cluster, workers=2))
    assert (balance.clips_in, balance.clips_out, balance.quarantined) == (12, 8, 4)
    rows = {row.clip_id: row for row in read_quarantine(two.output)}
    assert {name: row.reason for name, row in rows.items()} == {
        "toy-001": Reason.NO_FACE,
        "toy-002": Reason.INTERNAL_ERROR,
        "toy-003": Reason.WORKER_KILLED,
        "toy-004": Reason.DEADLINE,
    }
    assert rows["toy-003"].attempts == 3
    assert rows["toy-002"].message == "ZeroDivisionError: an unforeseen error"
    trace = place / "cache" / "tracebacks" / "toy" / "toy-002.txt"
    assert "toy_worker.py" in trace.read_text()
    shard = read_shard(two.output / "00000.tar")
    assert sorted(shard) == ["toy-000", "toy-006", "toy-009"]
    assert shard["toy-006"] == {"reversed.txt": b"600-yot fo txet", "threads.txt": b"1"}

    one = replace(two, output=place / "one")
    run(one, RayParams(address=cluster, workers=1))
    assert folder_bytes(one.output) == folder_bytes(two.output)
    assert not list((place / "cache" / "partial").iterdir())


def batches(place: Path, **params: object) -> Job:
    return job(
        place,
        worker="tests.pipelines.toy_worker:make_batches",
        params={"log": str(place / "log.txt"), **params},
        resources=Resources(batch=4),
    )


def logged(place: Path) -> list[list[str]]:
    return [line.split() for line in (place / "log.txt").read_text().splitlines()]


def test_batches_give_the_same_bytes_whatever_their_size(place: Path, cluster: str) -> None:
    four = batches(place)
    run(four, RayParams(address=cluster, workers=2))
    assert {len(line) for line in logged(place)} == {4}
    one = replace(four, output=place / "one", resources=Resources(batch=1), seed=1)
    run(one, RayParams(address=cluster, workers=1))
    assert {len(line) for line in logged(place)} == {4, 1}
    assert folder_bytes(one.output) == folder_bytes(four.output)


def test_a_lack_of_memory_halves_the_batch_before_it_costs_a_clip(
    place: Path, cluster: str
) -> None:
    faults = {"toy-004": "large", "toy-008": "unloadable"}
    tight = batches(place, most=2, faults=faults)
    balance = run(tight, RayParams(address=cluster, workers=2))
    rows = {row.clip_id: (row.reason, row.attempts) for row in read_quarantine(tight.output)}
    assert rows == {
        "toy-004": (Reason.OUT_OF_MEMORY, 1),
        "toy-008": (Reason.DECODE_ERROR, 1),
    }
    assert balance.clips_out == 10
    sizes = [len(line) for line in logged(place) if line[0] == "toy-000"]
    assert sizes == [4, 2]
    assert (
        "MemoryError: a terabyte"
        in (place / "cache" / "tracebacks" / "toy" / "toy-004.txt").read_text()
    )


def test_a_batch_that_kills_its_process_is_halved(place: Path, cluster: str) -> None:
    """No clip is to blame: each is innocent alone, and none is quarantined."""
    deadly = batches(place, deadly=2)
    balance = run(deadly, RayParams(address=cluster, workers=1))
    assert balance.quarantined == 0
    first = [line for line in logged(place) if line[0] in {"toy-000", "toy-003"}]
    together = ["toy-000", "toy-003", "toy-006", "toy-009"]
    assert first == [together, together[:1], together[1:2], together[:2]]


def test_a_poison_clip_in_a_batch_is_isolated_alone(place: Path, cluster: str) -> None:
    poisoned = batches(place, faults={"toy-006": "exit"})
    balance = run(poisoned, RayParams(address=cluster, workers=1))
    assert balance.clips_out == 11
    (row,) = read_quarantine(poisoned.output)
    assert (row.clip_id, row.reason, row.attempts) == ("toy-006", Reason.WORKER_KILLED, 3)
    assert [line for line in logged(place) if "toy-006" in line] == [
        ["toy-000", "toy-003", "toy-006", "toy-009"],
        *[["toy-006"]] * 3,
    ]


def test_a_clip_that_hangs_in_a_batch_is_found(place: Path, cluster: str) -> None:
    stuck = replace(batches(place, faults={"toy-006": "hang"}), deadline_s=3.0)
    run(stuck, RayParams(address=cluster, workers=1))
    (row,) = read_quarantine(stuck.output)
    assert (row.clip_id, row.reason) == ("toy-006", Reason.DEADLINE)


def test_a_batch_that_is_late_though_each_clip_is_quick_is_halved(
    place: Path, cluster: str
) -> None:
    lazy = replace(batches(place, slow=2), deadline_s=1.5)
    balance = run(lazy, RayParams(address=cluster, workers=1))
    assert balance.quarantined == 0
    assert max(len(line) for line in logged(place)[-2:]) <= 2


def test_the_deadline_of_a_clip_alone_is_not_that_of_a_batch(place: Path, cluster: str) -> None:
    """A batch of eight that holds one clip: 25 s are too long, though eight times 5 s are not."""
    (unit,) = units_of(CLIPS[:1], [place / "source"])
    alone = replace(
        batches(place, faults={"toy-000": "slower"}),
        units=(unit,),
        resources=Resources(batch=8),
        deadline_s=5.0,
    )
    run(alone, RayParams(address=cluster, workers=1))
    (row,) = read_quarantine(alone.output)
    assert (row.clip_id, row.reason) == ("toy-000", Reason.DEADLINE)


def test_clips_that_were_loaded_ahead_do_not_pay_for_their_wait(place: Path, cluster: str) -> None:
    """Two clips wait 7 s for two others, then take 7 s: never 10 s in which nothing moved."""
    faults = dict.fromkeys(("toy-000", "toy-003", "toy-006", "toy-009"), "drag")
    (unit,) = units_of([c for c in CLIPS if c.clip_id in faults], [place / "source"])
    behind = replace(
        batches(place, faults=faults),
        units=(unit,),
        resources=Resources(batch=2),
        deadline_s=5.0,
    )
    balance = run(behind, RayParams(address=cluster, workers=1))
    assert balance.quarantined == 0
    assert [len(line) for line in logged(place)] == [2, 2]


def test_a_clip_that_kills_while_it_is_read_is_found(place: Path, cluster: str) -> None:
    """Neither the clip before it nor the unit is to blame."""
    deadly = job(place, params={"deadly_to_read": "toy-006"})
    balance = run(deadly, RayParams(address=cluster, workers=1))
    assert balance.clips_out == 11
    (row,) = read_quarantine(deadly.output)
    assert (row.clip_id, row.reason, row.attempts) == ("toy-006", Reason.WORKER_KILLED, 3)


def test_an_interrupt_within_a_worker_is_a_death_of_it(place: Path, cluster: str) -> None:
    odd = job(place, {"toy-004": "interrupt"})
    balance = run(odd, RayParams(address=cluster, workers=1))
    assert balance.clips_out == 11
    (row,) = read_quarantine(odd.output)
    assert (row.clip_id, row.reason, row.attempts) == ("toy-004", Reason.WORKER_KILLED, 3)


def test_a_record_that_is_killed_stops_the_stage_and_says_so(place: Path, cluster: str) -> None:
    lost = job(place, {"toy-004": "kill_record"})
    with pytest.raises(JobError, match="toy: the record of clips in flight") as info:
        run(lost, RayParams(address=cluster, workers=1))
    assert "Finished shards are kept: run the same command again" in str(info.value)
    assert not (lost.output / "balance.json").exists()
    assert not list((place / "cache" / "partial").iterdir())


def test_memory_that_runs_out_while_loading_costs_no_clip(place: Path, cluster: str) -> None:
    """Two clips fit: the other two of a batch are loaded alone after them."""
    held = replace(batches(place, held=2), units=batches(place).units[:1])
    balance = run(held, RayParams(address=cluster, workers=1))
    assert balance.quarantined == 0
    assert [len(line) for line in logged(place)] == [2, 1, 1]


def test_an_output_that_is_none_is_a_row_and_no_clip_vanishes(place: Path, cluster: str) -> None:
    faults = {"toy-000": "nothing", "toy-001": "none", "toy-002": "number", "toy-003": "name"}
    faults |= {"toy-004": "long", "toy-005": "slash"}
    odd = job(place, faults)
    balance = run(odd, RayParams(address=cluster, workers=1))
    rows = {row.clip_id: row for row in read_quarantine(odd.output)}
    assert {row.reason for row in rows.values()} == {Reason.INTERNAL_ERROR}
    assert sorted(rows) == sorted(faults)
    assert "one part of bytes" in rows["toy-000"].message
    assert "name is too long" in rows["toy-004"].message
    assert "need a name without /" in rows["toy-005"].message
    assert rows["toy-003"].message == r"ValueError: bad \udcff name"
    assert balance.clips_out == sum(len(read_shard(path)) for path in list_shards(odd.output))
    with pytest.raises(ValueError, match="clip a has no parts"):
        write_shard(place / "empty.tar", {"a": {}})


def test_a_record_that_names_other_clips_is_dropped(place: Path, cluster: str) -> None:
    first = job(place)
    run(first, RayParams(address=cluster, workers=1))
    before = folder_bytes(first.output)
    key = keys_of(first)["00001"]
    record = place / "cache" / "work" / key[:2] / f"{key}.json"
    values = json.loads(record.read_text())
    values["sidecar"]["clip_ids"] = []
    record.write_text(json.dumps(values))
    run(first, RayParams(address=cluster, workers=1))
    assert folder_bytes(first.output) == before


GREEDY = """
from pathlib import Path
from pipelines.runtime.jobs import Job, Resources, run, units_of
from pipelines.params import RayParams
from tests.pipelines.runtime.test_jobs import CLIPS, WORKER
run(Job(stage="toy", worker=WORKER, params={}, units=units_of(CLIPS, [Path("source")]),
        output=Path("out"), budget=1.0, deadline_s=60.0, resources=Resources(gpus=64)),
    RayParams(workers=1))
"""


def test_a_demand_that_cannot_be_met_is_refused(place: Path) -> None:
    """In a process of its own: Ray refuses a process that comes back from one to another."""
    root = str(Path(__file__).parents[3])
    result = subprocess.run(
        [sys.executable, "-c", GREEDY],
        cwd=place,
        env={**os.environ, "PYTHONPATH": root},
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert result.returncode == 1
    assert "JobError: toy: a worker asks for GPU 64, this machine offers" in result.stderr
    assert "change ray.stages.toy in params.yaml" in result.stderr


def test_parameters_override_what_a_stage_asks_for() -> None:
    asked = Resources(gpus=1, batch=2).overridden(StageResources(batch=8))
    assert asked == Resources(gpus=1, batch=8)
    assert asked.ahead
    assert not Resources().ahead


def test_finished_shards_come_back_and_changes_redo_what_depends_on_them(
    place: Path, cluster: str, capfd: pytest.CaptureFixture[str]
) -> None:
    first = job(place)
    run(first, RayParams(address=cluster, workers=2))
    before = folder_bytes(first.output)
    stale = first.output / "00099.tar"
    write_shard(stale, {})
    run(first, RayParams(address=cluster, workers=2))
    assert "3 of 3 shards from the cache" in capfd.readouterr().err
    assert folder_bytes(first.output) == before
    for path in list_shards(first.output):
        assert path.stat().st_nlink == 1

    # One input shard changes: one key changes.
    write_shard(place / "source" / "00001.tar", {"toy-001": {"txt": b"abc"}})
    write_balance(place / "source")
    second = job(place)
    run(second, RayParams(address=cluster, workers=1))
    assert "2 of 3 shards from the cache" in capfd.readouterr().err
    assert read_shard(second.output / "00001.tar")["toy-001"]["reversed.txt"] == b"cba"

    # A damaged entry is made again.
    sha256 = read_sidecar(second.output / "00002.tar").sha256
    damaged = place / "cache" / "objects" / sha256[:2] / f"{sha256}.tar"
    damaged.write_bytes(b"x" * damaged.stat().st_size)
    run(second, RayParams(address=cluster, workers=1))
    assert "2 of 3 shards from the cache" in capfd.readouterr().err
    assert (
        read_sidecar(second.output / "00002.tar").sha256
        == json.loads(before["00002.json"])["sha256"]
    )


def test_the_key_covers_what_the_bytes_depend_on(place: Path) -> None:
    base = job(place)
    inputs = place / "aligner.json"
    inputs.write_text("1")
    keys = keys_of(base)
    assert keys_of(replace(base, deadline_s=1.0, budget=0.0)) == keys
    for changed in (
        replace(base, params={"faults": {"a": "b"}}),
        replace(base, seed=1),
        replace(base, corpus_inputs=(inputs,)),
        replace(base, packages=("numpy",)),
        replace(base, units=(replace(base.units[0], digest="1"), *base.units[1:])),
    ):
        assert keys_of(changed)["00000"] != keys["00000"]
    shorter = tuple(replace(unit, clips=unit.clips[1:]) for unit in base.units)
    assert not set(keys_of(replace(base, units=shorter)).values()) & set(keys.values())


def test_the_budget_and_faults_of_the_machine_stop_the_stage(place: Path, cluster: str) -> None:
    poor = job(place, {"toy-001": "clip_error"}, budget=0.05)
    with pytest.raises(
        BudgetError, match=r"8.3% of the clips, but budgets.toy allows 5.0%"
    ) as info:
        run(poor, RayParams(address=cluster, workers=2))
    assert "no_face" in str(info.value)
    assert "toy-001: 0 of 100 frames" in str(info.value)
    assert read_quarantine(poor.output)[0].clip_id == "toy-001"

    for fault, words in {"disk": "No space left", "read_only": "Read-only file"}.items():
        full = job(place, {"toy-005": fault})
        with pytest.raises(MachineError) as machine:
            run(full, RayParams(address=cluster, workers=1))
        assert f"toy: {words}" in str(machine.value)
        assert f"MB free in {place / 'cache'}" in str(machine.value)
        assert not (full.output / "balance.json").exists()
        assert not [path for path in full.output.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize("place_of_fault", ["publish", "settle"])
def test_a_fault_of_the_machine_in_the_driver_is_named(
    place: Path, cluster: str, monkeypatch: pytest.MonkeyPatch, place_of_fault: str
) -> None:
    """``publish`` in the driver: while it takes shards from the work cache."""
    small = job(place)
    run(small, RayParams(address=cluster, workers=1))

    def full(*arguments: object, **more: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(f"pipelines.runtime.jobs.{place_of_fault}", full)
    with pytest.raises(MachineError) as info:
        run(small, RayParams(address=cluster, workers=1))
    assert f"toy: No space left on device on {os.uname().nodename}" in str(info.value)
    assert f"MB free in {small.output}. Finished shards are kept: make room" in str(info.value)


def test_a_worker_that_cannot_load_stops_the_stage(place: Path, cluster: str) -> None:
    with pytest.raises(RuntimeError, match="these weights cannot be loaded"):
        run(job(place, params={"refuse": True}), RayParams(address=cluster, workers=1))


def test_a_worker_that_loads_for_ever_is_told_from_one_without_a_place(
    place: Path, cluster: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("pipelines.runtime.pool.WARN_S", 1.0)
    stalled = job(place, params={"stall": True}, loading_s=3.0)
    with pytest.raises(JobError, match="workers died 3 times at loading") as info:
        run(stalled, RayParams(address=cluster, workers=1))
    assert f"{WORKER} had not loaded after 3 s on {os.uname().nodename}" in str(info.value)
    assert "no worker has finished loading; 1 of 1 are placed" in caplog.text


def test_two_units_of_one_name_are_refused(place: Path) -> None:
    unit = Unit("00000", (CLIPS[0],), ())
    with pytest.raises(JobError, match="share a name"):
        run(job(place, units=(unit, unit)), RayParams(workers=1))


def altered(shard: Path) -> bytes:
    """Change a byte of a clip's text; the tar stays a tar. Returns what it was."""
    clean = shard.read_bytes()
    assert clean.count(b"text of toy-001") == 1
    shard.write_bytes(clean.replace(b"text of toy-001", b"text of toy-xxx"))
    return clean


def test_altered_input_is_an_error_and_never_cached(place: Path, cluster: str) -> None:
    toy, shard = job(place), place / "source" / "00001.tar"
    params = RayParams(address=cluster, workers=1)
    clean = altered(shard)
    with pytest.raises(
        ShardError, match=r"source/00001\.tar has the sha256 .*pipelines\.toy` again"
    ):
        run(toy, params)
    assert not (toy.output / "balance.json").exists()
    shard.write_bytes(clean)
    run(toy, params)
    assert read_shard(toy.output / "00001.tar")["toy-001"]["reversed.txt"] == b"100-yot fo txet"


def test_inputs_are_held_against_the_key_and_not_a_later_sidecar(place: Path) -> None:
    """A stage that is run again while the next one reads it."""
    first = pinned(job(place).units[1])
    assert [c.clip_id for c, _ in join(first)] == ["toy-001", "toy-004", "toy-007", "toy-010"]
    shard = place / "source" / "00001.tar"
    write_shard(shard, {c.clip_id: {"txt": b"another text"} for c in first.clips})
    with pytest.raises(ShardError, match=r"00001\.tar has the sha256"):
        next(join(first))
    opened = Unit("00001", first.clips, (), files=(shard,), sha256s=first.sha256s)
    with pytest.raises(ShardError, match=r"00001\.tar has the sha256"):
        next(join(opened))
    (place / "source" / "balance.json").unlink()
    with pytest.raises(ShardError, match=r"run the stage that makes .*source again"):
        next(join(first))
    shard.unlink()
    with pytest.raises(ShardError, match=r"00001\.tar is gone; run the stage"):
        next(join(first))
