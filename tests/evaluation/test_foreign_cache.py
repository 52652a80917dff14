"""Rows come back for the same bytes and the same measurement alone; an interruption keeps them."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from dimitra.clips import Reason
from dimitra.evaluation.definitions import GROUND_TRUTH
from dimitra.evaluation.rows import MEASURED, Row
from dimitra.evaluation.tasks import Answer, Settings, Task
from dimitra.media.mp4 import encode_mp4
from dimitra.metrics.summary import ClipValue
from pipelines.evaluation.foreign_cache import KeptRows, join
from pipelines.stores.storage import Storage
from pipelines.stores.work_cache import WorkCache
from tests.evaluation.films import picture

ROOT = Path(__file__).parents[2]
HEARING = Settings(("sync",), network="trained", weights="w")


@pytest.fixture
def task(tmp_path: Path) -> Task:
    for name in ("true.mp4", "true.wav", "a.mp4", "b.mp4"):
        (tmp_path / name).write_text(name)
    made = {"a": tmp_path / "a.mp4", "b": tmp_path / "b.mp4"}
    return Task("true", "ann", tmp_path / "true.mp4", tmp_path / "true.wav", made)


def kept(folder: Path, identity: str = "one", settings: Settings = HEARING) -> KeptRows:
    return KeptRows(WorkCache(Storage(str(folder / "cache"))), identity, settings)


def answer(task: Task, outcome: str = MEASURED) -> Answer:
    values = {"sync_conf": ClipValue(1 / 3), "psnr": ClipValue(None, "not asked for")}
    rows = [
        Row(
            task.clip,
            method,
            task.identity,
            outcome,
            "" if outcome == MEASURED else "true.mp4 is bad",
            str(task.reference),
            str(task.generated.get(method, "")),
            frames=40,
            values=values,
        )
        for method in (GROUND_TRUTH, *task.generated)
    ]
    return Answer(tuple(rows), {})


def left(found) -> set[str]:
    if found.rest is None:
        return set()
    return {*found.rest.generated, *((GROUND_TRUTH,) if found.rest.ground_truth else ())}


def test_rows_come_back_as_they_were(tmp_path: Path, task: Task) -> None:
    made = answer(task)
    assert left(kept(tmp_path).look_up(task)) == {GROUND_TRUTH, "a", "b"}
    kept(tmp_path).keep(task, made)
    found = kept(tmp_path).look_up(task)
    assert (found.rows, found.rest) == (made.rows, None)
    assert not list((tmp_path / "cache" / "partial").iterdir())
    elsewhere = {"c": task.generated["b"].rename(tmp_path / "c.mp4")}
    other = replace(task, clip="other", identity=None, generated=elsewhere)
    row = kept(tmp_path).look_up(other).rows[1]
    assert (row.clip, row.method, row.identity) == ("other", "c", None)
    assert row.generated == str(tmp_path / "c.mp4")


@pytest.mark.parametrize(
    ("changed", "again"),
    [
        ("true.mp4", {GROUND_TRUTH, "a", "b"}),
        ("true.wav", {GROUND_TRUTH, "a", "b"}),
        ("a.mp4", {"a"}),
    ],
)
def test_other_bytes_are_measured_again(tmp_path, task, changed, again) -> None:
    kept(tmp_path).keep(task, answer(task))
    (tmp_path / changed).write_text("changed")
    assert left(kept(tmp_path).look_up(task)) == again


def test_another_measurement_finds_nothing(tmp_path: Path, task: Task) -> None:
    kept(tmp_path).keep(task, answer(task))
    assert len(left(kept(tmp_path, identity="two").look_up(task))) == 3


def test_without_a_network_the_sound_does_not_matter(tmp_path: Path, task: Task) -> None:
    deaf = Settings(("sync", "lmd"))
    kept(tmp_path, settings=deaf).keep(task, answer(task))
    (tmp_path / "true.wav").write_text("changed")
    assert kept(tmp_path, settings=deaf).look_up(task).rest is None


def test_a_new_method_costs_itself_alone(tmp_path: Path, task: Task) -> None:
    one = replace(task, generated={"a": task.generated["a"]})
    kept(tmp_path).keep(one, answer(one))
    found = kept(tmp_path).look_up(task)
    assert left(found) == {"b"}
    [whole] = join([task], [found], {"true": answer(found.rest)})
    assert [row.method for row in whole.rows] == [GROUND_TRUTH, "a", "b"]
    assert set(whole.digests) == {
        str(tmp_path / n) for n in ("true.mp4", "true.wav", "a.mp4", "b.mp4")
    }


@pytest.mark.parametrize("reason", [Reason.WORKER_KILLED, Reason.INTERNAL_ERROR])
def test_what_may_lie_in_the_machine_is_tried_again(tmp_path, task, reason) -> None:
    kept(tmp_path).keep(task, answer(task, reason.value))
    assert len(left(kept(tmp_path).look_up(task))) == 3


def test_a_failure_is_known_under_its_files_name_alone(tmp_path: Path, task: Task) -> None:
    kept(tmp_path).keep(task, answer(task, Reason.TRUNCATED.value))
    assert kept(tmp_path).look_up(task).rest is None
    moved = replace(task, reference=task.reference.rename(tmp_path / "moved.mp4"))
    assert len(left(kept(tmp_path).look_up(moved))) == 3


def test_a_file_changed_while_it_was_measured_is_not_kept(tmp_path: Path, task: Task) -> None:
    rows = kept(tmp_path)
    rows.look_up(task)
    rows.keep(task, replace(answer(task), digests={str(task.reference): "other bytes"}))
    assert len(left(kept(tmp_path).look_up(task))) == 3


def test_a_damaged_row_is_measured_again(tmp_path: Path, task: Task) -> None:
    kept(tmp_path).keep(task, answer(task))
    for path in (tmp_path / "cache" / "objects").rglob("*.tar"):
        data = bytearray(path.read_bytes())
        data[600] ^= 1
        path.write_bytes(data)
    assert len(left(kept(tmp_path).look_up(task))) == 3


def test_unreadable_files_are_neither_found_nor_kept(tmp_path: Path, task: Task) -> None:
    task.generated["a"].unlink()
    kept(tmp_path).keep(task, answer(task, Reason.EMPTY_FILE.value))
    assert left(kept(tmp_path).look_up(task)) == {"a"}


def wait_until(holds, seconds: float = 240.0) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)


def states(column: int, value: int) -> list[str]:
    """States of the processes with a value in a column of ``/proc/PID/stat`` (proc(5)).

    One that has ended and is not yet reaped (Z) does not run.
    """
    found = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            name, _, rest = entry.read_text().rpartition(")")
        except OSError:
            continue  # it has just ended
        fields = [name.split()[0], "", *rest.split()]
        if int(fields[column]) == value and fields[2] != "Z":
            found.append(fields[2])
    return found


PID, GROUP = 0, 4


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts Python in a group of its own, of which nothing outlives the test."""
    runs: list[subprocess.Popen[str]] = []
    environment = {
        **os.environ,
        "DIMITRA_CACHE_DIR": str(tmp_path / "cache"),
        "PYTHONPATH": str(ROOT),
    }

    def begin(*arguments: str) -> subprocess.Popen[str]:
        run = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=tmp_path,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        runs.append(run)
        return run

    yield begin
    for run in runs:
        with suppress(ProcessLookupError):
            os.killpg(run.pid, signal.SIGKILL)
        run.communicate()


def test_an_interrupted_batch_goes_on(tmp_path: Path, start) -> None:
    """The first clip is short, the second long: Ctrl-C comes while the second is measured."""
    true, ours, out = (tmp_path / name for name in ("true", "ours", "out"))
    true.mkdir()
    ours.mkdir()

    def write_films(clip: str, frames: int) -> None:
        (true / f"{clip}.mp4").write_bytes(encode_mp4([picture()] * frames, crf=40))
        (ours / f"{clip}.mp4").write_bytes(encode_mp4([picture(scale=0.97)] * frames, crf=40))

    write_films("a", 2)
    write_films("b", 600)
    command = ["-m", "pipelines.commands.evaluate", "--metrics", "ssim"]
    command += ["--reference", str(true), "--generated", str(ours), "--output", str(out)]

    run = start(*command)
    wait_until(lambda: len(list((tmp_path / "cache").glob("work/*/*.json"))) == 2)
    time.sleep(0.3)  # the worker is in the second clip
    os.killpg(run.pid, signal.SIGINT)
    told, _ = run.communicate(timeout=120)
    assert run.returncode == 130, told
    assert "1 clips are kept, the next run goes on from them" in " ".join(told.split())
    assert "Traceback" not in told
    wait_until(lambda: not states(GROUP, run.pid))
    assert not out.exists()
    assert not [
        p for p in tmp_path.rglob("*") if p.name.startswith(".") or p.parent.name == "partial"
    ]

    write_films("b", 3)
    run = start(*command)
    told, _ = run.communicate(timeout=240)
    assert run.returncode == 0, told
    assert "1 clips were measured before" in told
    assert len((out / "clips.csv").read_text().splitlines()) == 5


SLEEPING = """
import os, sys, time
from pathlib import Path
from dimitra.evaluation.tasks import Settings, Task
from pipelines.evaluation.foreign_batch import measure_all

def work(task, settings):
    Path("pid").write_text(str(os.getpid()))
    time.sleep(300)

if __name__ == "__main__":
    task = Task("a", None, Path("r"), None, {"ours": Path("g")})
    measure_all([task], Settings(("psnr",)), 1, work=work)
"""


def test_processes_end_with_the_one_that_started_them(tmp_path: Path, start) -> None:
    (tmp_path / "sleeping.py").write_text(SLEEPING)
    run = start("sleeping.py")
    wait_until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text() != "")
    worker = int((tmp_path / "pid").read_text())
    assert states(PID, worker)
    run.kill()
    run.wait(10)
    wait_until(lambda: not states(PID, worker))
