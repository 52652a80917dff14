"""Rows come back for the same bytes and the same measurement alone; an interruption keeps them."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from dimitra.clips import Reason
from dimitra.evaluation.definitions import GROUND_TRUTH
from dimitra.evaluation.rows import MEASURED, Row
from dimitra.evaluation.tasks import Answer, Settings, Task
from dimitra.media.mp4 import encode_mp4
from dimitra.metrics.summary import ClipValue
from pipelines.foreign_cache import KeptRows, join
from pipelines.storage import Storage
from pipelines.work_cache import WorkCache
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


def wait_until(holds, seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)


def alive(group: int) -> list[int]:
    """Processes of a group that run; one that has ended and is not yet reaped does not."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, its = entry.read_text().rpartition(")")[2].split()[:3]
        except OSError:
            continue  # it has just ended
        if int(its) == group and state != "Z":
            found.append(int(entry.parent.name))
    return found


def test_an_interrupted_batch_goes_on(tmp_path: Path) -> None:
    """The first clip is short, the second long: Ctrl-C comes while the second is measured."""
    true, ours, out = (tmp_path / name for name in ("true", "ours", "out"))
    true.mkdir()
    ours.mkdir()

    def write_films(clip: str, frames: int) -> None:
        (true / f"{clip}.mp4").write_bytes(encode_mp4([picture()] * frames, crf=40))
        (ours / f"{clip}.mp4").write_bytes(encode_mp4([picture(scale=0.97)] * frames, crf=40))

    write_films("a", 2)
    write_films("b", 600)
    command = [sys.executable, "-m", "pipelines.evaluate_command", "--metrics", "ssim"]
    command += ["--reference", str(true), "--generated", str(ours), "--output", str(out)]
    environment = {
        **os.environ,
        "DIMITRA_CACHE_DIR": str(tmp_path / "cache"),
        "PYTHONPATH": str(ROOT),
    }

    def start() -> subprocess.Popen[str]:
        return subprocess.Popen(
            command,
            cwd=tmp_path,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    run = start()
    wait_until(lambda: len(list((tmp_path / "cache").glob("work/*/*.json"))) == 2)
    time.sleep(0.3)  # the worker is in the second clip
    os.killpg(run.pid, signal.SIGINT)
    told, _ = run.communicate(timeout=20)
    assert run.returncode == 130, told
    assert "1 clips are kept, the next run goes on from them" in " ".join(told.split())
    assert "Traceback" not in told
    wait_until(lambda: not alive(run.pid), 10.0)
    assert not out.exists()
    assert not [
        p for p in tmp_path.rglob("*") if p.name.startswith(".") or p.parent.name == "partial"
    ]

    write_films("b", 3)
    run = start()
    told, _ = run.communicate(timeout=60)
    assert run.returncode == 0, told
    assert "1 clips were measured before" in told
    assert len((out / "clips.csv").read_text().splitlines()) == 5


SLEEPING = """
import os, sys, time
from pathlib import Path
from dimitra.evaluation.tasks import Settings, Task
from pipelines.foreign_batch import measure_all

def work(task, settings):
    Path("pid").write_text(str(os.getpid()))
    time.sleep(300)

if __name__ == "__main__":
    task = Task("a", None, Path("r"), None, {"ours": Path("g")})
    measure_all([task], Settings(("psnr",)), 1, work=work)
"""


def test_processes_end_with_the_one_that_started_them(tmp_path: Path) -> None:
    (tmp_path / "sleeping.py").write_text(SLEEPING)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    run = subprocess.Popen([sys.executable, "sleeping.py"], cwd=tmp_path, env=environment)
    wait_until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text() != "")
    worker = Path("/proc", (tmp_path / "pid").read_text())
    assert worker.exists()
    run.kill()
    run.wait(10)
    wait_until(lambda: not worker.exists(), 10.0)
