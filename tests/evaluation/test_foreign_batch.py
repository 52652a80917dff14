"""Answers come in order, and a clip that kills its process takes none of the others with it."""

import os
import signal
from pathlib import Path

import pytest

from dimitra.evaluation.definitions import GROUND_TRUTH
from dimitra.evaluation.rows import MEASURED, Row
from dimitra.evaluation.tasks import Answer, Settings, Task
from pipelines.evaluation.foreign_batch import measure_all


def deadly(task: Task, settings: Settings) -> Answer:
    """Dies of a file that says so, as a decoder would; measures nothing."""
    path = task.generated["ours"]
    if path.read_text() == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    return Answer((Row(task.clip, "ours", None, MEASURED),), {str(path): "0"})


def failing(task: Task, settings: Settings) -> Answer:
    raise FileNotFoundError("weights are not here")


def tasks(folder: Path, words: list[str]) -> list[Task]:
    made = []
    for number, word in enumerate(words):
        (folder / f"{number}.mp4").write_text(word)
        made.append(Task(str(number), None, Path("r"), None, {"ours": folder / f"{number}.mp4"}))
    return made


def test_the_dead_are_told_and_the_rest_is_measured(tmp_path: Path) -> None:
    seen: list[Answer] = []
    work = tasks(tmp_path, ["live", "die", "live", "live"])
    answers = measure_all(work, Settings(("lmd",)), 2, lambda _, one: seen.append(one), deadly)
    assert [answer.rows[-1].clip for answer in answers] == ["0", "1", "2", "3"]
    assert [answer.rows[-1].outcome for answer in answers] == [
        MEASURED, "worker_killed", MEASURED, MEASURED,
    ]  # fmt: skip
    assert [row.method for row in answers[1].rows] == [GROUND_TRUTH, "ours"]
    assert len(seen) == 4


def test_what_concerns_all_ends_the_batch(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="weights"):
        measure_all(tasks(tmp_path, ["live"]), Settings(("lmd",)), 1, work=failing)


def test_no_task_no_process() -> None:
    assert measure_all([], Settings(("lmd",)), 2) == []
