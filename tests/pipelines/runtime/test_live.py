"""The live view: its figures, its file of JSON lines, its terminal and its MLflow run."""

import io
import json
import logging
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from pipelines.runtime import live, progress
from pipelines.runtime.live import Figures, LiveFile, LiveView, Rate
from pipelines.runtime.progress import StageBar
from pipelines.watch import runs

FIGURES = Figures("crop", 200, 50, 3, 8, 2, 1, 4, 2, 0, 12.0, 6.25, 24.0)
DRIVER = """
import sys, time
from pathlib import Path
from pipelines.runtime.live import LiveView
stage, end = sys.argv[1:]
with LiveView(stage, 100, 5, Path("live")) as view:
    view.update(20, 1, 1, 2, 1, 0)
    while not Path(end).exists():
        time.sleep(0.05)
    view.update(100, 7, 5, 2, 1, 0)
"""


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_rate_of_a_steady_stream_is_its_rate() -> None:
    rate = Rate()
    for step in range(400):  # 3 clips a second, seen four times a second
        rate.add(step / 4, 3 * step // 4)
    assert rate.clips_per_s == pytest.approx(3, rel=0.02)


def test_rate_forgets_what_is_older_than_its_window() -> None:
    rate = Rate()
    for second in range(100):
        rate.add(second, second)
    for second in range(100, 140):
        rate.add(second, 100 + 5 * (second - 100))
    assert rate.clips_per_s == pytest.approx(5, rel=0.02)


def test_rate_of_slow_clips_does_not_jump() -> None:
    rate = Rate()
    seen = []
    for quarter in range(4 * 3000):  # a clip every 50 s: longer than the window
        rate.add(quarter / 4, quarter // 200)
        if quarter > 4 * 1000:
            seen.append(rate.clips_per_s)
    assert 0.018 < min(seen) <= max(seen) < 0.023


def test_rate_falls_when_nothing_comes_and_is_never_negative() -> None:
    rate = Rate()
    rate.add(0, 0)
    rate.add(10, 100)
    rate.add(990, 100)
    rate.add(1000, 100)
    assert rate.clips_per_s == pytest.approx(0.1)
    for second in range(1001, 1040):
        rate.add(second, 60)  # a worker died: what it had done does not count
    assert rate.clips_per_s >= 0


def test_cached_clips_are_done_but_no_speed(tmp_path: Path) -> None:
    began = time.monotonic()
    with LiveView("crop", 1000, 10, tmp_path, mlflow=False) as view:
        view.restored(900, 9)
        assert (view.figures.done, view.figures.shards_done) == (900, 9)
        view.update(900, 4, 9, 1, 1, 0)
        time.sleep(0.6)
        view.update(903, 4, 9, 1, 1, 0)
        assert 3 / (time.monotonic() - began) <= view.figures.clips_per_s <= 3 / 0.6
        assert view.figures.left_s == pytest.approx(97 / view.figures.clips_per_s)
        assert view.figures.shards_cached == 9


def test_first_and_last_line_and_no_more_in_a_short_run(tmp_path: Path) -> None:
    began = time.monotonic()
    with LiveView("crop", 8, 2, tmp_path, mlflow=False) as view:
        view.link("http://127.0.0.1:8265")
        for done in range(9):
            view.update(done, 0, done // 4, 2, 1, 0)
    assert 0 < view.figures.elapsed_s <= time.monotonic() - began
    first, last = lines(tmp_path / "crop.jsonl")
    assert (first["state"], first["done"]) == ("running", 0)
    assert (last["state"], last["done"], last["left_s"]) == ("finished", 8, 0.0)
    assert last["run"] == first["run"]
    assert last["pid"] == os.getpid()
    assert last["dashboard"] == "http://127.0.0.1:8265"
    assert set(Figures.__dataclass_fields__) <= last.keys()


def test_a_line_every_two_seconds_at_most(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "LINE_EVERY_S", 0.2)
    began = time.monotonic()
    with LiveView("crop", 50, 2, tmp_path, mlflow=False) as view:
        for done in range(50):
            view.update(done, 0, 0, 2, 1, 0)
            time.sleep(0.02)
    between = len(lines(tmp_path / "crop.jsonl")) - 2
    assert 3 <= between <= (time.monotonic() - began) / 0.2


@pytest.mark.parametrize(
    ("error", "state", "said"),
    [
        (KeyboardInterrupt(), "interrupted", None),
        (OSError(28, "No space left\non device"), "failed", "OSError: [Errno 28] No space left on"),
    ],
)
def test_the_last_line_says_how_it_ended(
    tmp_path: Path, error: BaseException, state: str, said: str | None
) -> None:
    with pytest.raises(type(error)), LiveView("fit", 8, 2, tmp_path, mlflow=False):
        raise error
    last = lines(tmp_path / "fit.jsonl")[-1]
    assert last["state"] == state
    assert last.get("error", "").startswith(said or "")
    assert ("error" in last) == (said is not None)


def test_a_reader_never_sees_half_a_line(tmp_path: Path) -> None:
    stop = threading.Event()

    def append() -> None:
        file = LiveFile(tmp_path, "crop")
        while not stop.is_set():
            file.write(FIGURES, "running")

    writers = [threading.Thread(target=append) for _ in range(2)]
    for writer in writers:
        writer.start()
    seen = 0
    until = time.monotonic() + 1
    while time.monotonic() < until:
        seen = max(seen, len(runs(tmp_path)))
    stop.set()
    for writer in writers:
        writer.join()
    assert seen == 2
    assert {line["clips_in"] for line in lines(tmp_path / "crop.jsonl")} == {200}


def test_earlier_runs_stay_and_the_size_is_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "ROTATE_BYTES", 20_000)
    for _ in range(3):
        LiveFile(tmp_path, "crop").write(FIGURES, "finished")
    assert len(runs(tmp_path)) == 3
    file = LiveFile(tmp_path, "crop")
    for _ in range(300):
        file.write(FIGURES, "running")
    sizes = {path.name: path.stat().st_size for path in tmp_path.iterdir()}
    assert sizes.keys() == {"crop.jsonl", "crop.jsonl.1"}
    assert sum(sizes.values()) < 41_000
    assert len(lines(tmp_path / "crop.jsonl.1")) > 10


def test_a_folder_that_cannot_be_written_costs_one_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "live").write_text("a file, not a folder")
    with LiveView("crop", 8, 2, tmp_path / "live", mlflow=False) as view:
        view.update(8, 0, 2, 2, 1, 0)
    (said,) = caplog.records
    assert "live/crop.jsonl" in said.getMessage()


def test_a_full_disk_spoils_one_line_only(tmp_path: Path) -> None:
    file = LiveFile(tmp_path, "crop")
    file.write(FIGURES, "running")
    path = tmp_path / "crop.jsonl"
    path.write_bytes(path.read_bytes()[:-40])
    file._whole = False  # what a write that ended short leaves behind
    file.write(replace(FIGURES, done=60), "finished")
    (run,) = runs(tmp_path)
    assert (run["state"], run["done"]) == ("finished", 60)


def test_the_bar_holds_the_figures_in_80_columns() -> None:
    screen = Console(file=io.StringIO(), force_terminal=True, width=80, color_system=None)
    bar = StageBar(screen)
    bar.begin("transcribe", 2000)
    bar.announce("transcribe", "http://127.0.0.1:8265")
    bar.show(
        replace(FIGURES, stage="transcribe", clips_in=2000, done=1500, shards=64, shards_done=12)
    )
    bar.end()
    assert isinstance(screen.file, io.StringIO)
    text = screen.file.getvalue()
    assert "transcribe: Ray's dashboard is at http://127.0.0.1:8265\n" in text
    shown = next(line for line in reversed(text.splitlines()) if "1500/2000" in line)
    for part in ("transcribe", "12/64 shards", "6.2/s", "3 quarantined", "0:00:24 left"):
        assert part in shown


def test_a_plain_line_now_and_then_where_there_is_no_terminal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    screen = Console(file=io.StringIO(), force_terminal=False, width=80)
    bar = StageBar(screen)
    bar.begin("crop", 200)
    for _ in range(5):
        bar.show(FIGURES)
    assert isinstance(screen.file, io.StringIO)
    assert not screen.file.getvalue()
    monkeypatch.setattr(progress, "PLAIN_EVERY_S", 0.0)
    bar = StageBar(screen)
    bar.begin("crop", 200)
    bar.show(replace(FIGURES, deaths=2))
    bar.end()
    assert screen.file.getvalue() == (
        "crop: 50 of 200 clips (25.0 %), 2 of 8 shards (1 from the cache), 3 quarantined, "
        "2 workers died, 6.2 clips/s on 4 workers, 0:00:12 gone, 0:00:24 left\n"
    )


def test_watch_tells_the_running_from_the_lost(tmp_path: Path) -> None:
    LiveFile(tmp_path, "crop").write(FIGURES, "running")
    LiveFile(tmp_path, "fit").write(replace(FIGURES, stage="fit"), "finished")
    gone = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"],
                          capture_output=True, text=True, check=True)  # fmt: skip
    (running,) = lines(tmp_path / "crop.jsonl")
    with (tmp_path / "speech.jsonl").open("w") as file:
        for run, more in {
            "dead": {"pid": int(gone.stdout)},
            "silent": {"host": "elsewhere", "time": "2026-01-01T00:00:00.000+00:00"},
            "far": {"host": "elsewhere"},
        }.items():
            file.write(json.dumps(running | {"run": run, "stage": "speech"} | more) + "\n")
        file.write(json.dumps(running)[:50])  # a line that is being written
    states = {line["run"]: line["state"] for line in runs(tmp_path) if line["stage"] == "speech"}
    assert states == {"dead": "lost", "silent": "lost", "far": "running"}
    command = [sys.executable, "-m", "pipelines.watch", "--folder", str(tmp_path)]
    shown = subprocess.run([*command, "--once"], capture_output=True, text=True, check=True).stdout
    assert "50/200" in shown
    assert "fit" not in shown
    found = subprocess.run([*command, "--json", "--all"], capture_output=True, check=True).stdout
    assert [json.loads(line)["stage"] for line in found.splitlines()].count("fit") == 1


def test_mlflow_holds_a_run_for_each_stage_at_once_and_for_a_driver_that_was_killed(
    tmp_path: Path,
) -> None:
    database = tmp_path / "mlflow.db"
    environment = {
        **os.environ,
        "MLFLOW_TRACKING_URI": f"sqlite:///{database}",
        "DIMITRA_MLFLOW": "1",
    }
    drivers = {
        stage: subprocess.Popen(
            [sys.executable, "-c", DRIVER, stage, "end"], cwd=tmp_path, env=environment
        )
        for stage in ("crop", "fit", "speech")
    }

    def rows(query: str, *values: str) -> dict[str, Any]:
        connection = sqlite3.connect(database, timeout=20)
        try:
            return {key: tuple(rest) for key, *rest in connection.execute(query, values)}
        except sqlite3.OperationalError:  # before MLflow has made its tables
            return {}
        finally:
            connection.close()

    def wait_for(state: str, number: int) -> None:
        until = time.monotonic() + 90
        states = "SELECT run_uuid, value FROM tags WHERE key = 'state' AND value = ?"
        while len(rows(states, state)) < number:
            assert time.monotonic() < until, rows("SELECT run_uuid, key, value FROM tags")
            time.sleep(0.2)

    wait_for("running", 3)
    drivers["speech"].send_signal(signal.SIGKILL)
    wait_for("lost", 1)
    (tmp_path / "end").touch()
    for stage in ("crop", "fit"):
        assert drivers[stage].wait(timeout=60) == 0
    drivers["speech"].wait()
    ended = rows(
        "SELECT r.name, r.status, t.value FROM runs r JOIN tags t USING (run_uuid)"
        " JOIN experiments e USING (experiment_id)"
        " WHERE t.key = 'state' AND e.name = 'dimitra'"
    )
    assert ended == {
        "crop": ("FINISHED", "finished"),
        "fit": ("FINISHED", "finished"),
        "speech": ("KILLED", "lost"),
    }
    above = rows(
        "SELECT DISTINCT r.run_uuid, r.status FROM runs r JOIN tags t"
        " ON t.value = r.run_uuid AND t.key = 'mlflow.parentRunId'"
    )
    assert sorted(above.values()) == [("FINISHED",), ("FINISHED",), ("KILLED",)]
    params = "SELECT p.key, p.value FROM params p JOIN runs USING (run_uuid) WHERE name = ?"
    expected = {"clips_in": "100", "shards": "5", "shards_cached": "0", "workers": "2"}
    assert rows(params, "crop") == {name: (value,) for name, value in expected.items()}
    metrics = "SELECT m.key, m.value FROM latest_metrics m JOIN runs USING (run_uuid)"
    last = rows(f"{metrics} WHERE name = ?", "crop")
    del last["clips_per_second"]
    assert last == {"clips_done": (100,), "quarantined": (7,), "shards_done": (5,)}


def test_mlflow_that_cannot_be_reached_costs_one_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "folder").write_text("a file, not a folder")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'folder' / 'mlflow.db'}")
    monkeypatch.setenv("DIMITRA_MLFLOW", "1")
    with caplog.at_level(logging.WARNING), LiveView("crop", 8, 2, tmp_path / "live") as view:
        view.update(8, 0, 2, 2, 1, 0)
    (said,) = caplog.records
    assert "crop: no MLflow record, or an incomplete one (the stage goes on)" in said.getMessage()
    assert "folder" in said.getMessage()
    assert lines(tmp_path / "live" / "crop.jsonl")[-1]["state"] == "finished"


def test_mlflow_can_be_turned_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    monkeypatch.setenv("DIMITRA_MLFLOW", "0")
    with LiveView("crop", 8, 2, tmp_path / "live") as view:
        view.update(8, 0, 2, 2, 1, 0)
    assert not (tmp_path / "mlflow.db").exists()
