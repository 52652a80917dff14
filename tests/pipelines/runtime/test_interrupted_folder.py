"""What a kill leaves in a stage's output folder, whatever the moment."""

from pathlib import Path
from typing import Any

import pytest

from dimitra.clips import Clip
from dimitra.shards import Members, list_shards, list_sidecars, write_shard
from pipelines.params import RayParams
from pipelines.runtime.jobs import Job, _clear, run, units_of
from pipelines.runtime.workers import Worker
from tests.pipelines.runtime.test_jobs import CLIPS
from tests.pipelines.toy_worker import make_worker


class KilledError(BaseException):
    """Stands for a kill: nothing that is done after an exception may matter."""


def finished_folder(folder: Path) -> Path:
    for number in range(4):
        write_shard(folder / f"{number:05d}.tar", {f"clip-{number}": {"txt": b"text"}})
    (folder / "quarantine.parquet").write_bytes(b"rows")
    (folder / "balance.json").write_text("{}\n")
    (folder / ".00002.tar.abcdefgh").write_bytes(b"half")
    return folder


@pytest.mark.parametrize("removals", range(12))
def test_a_folder_that_is_half_cleared_is_unfinished_and_its_sidecars_speak_true(
    removals: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = finished_folder(tmp_path / "out")
    left = removals
    unlink = Path.unlink

    def stop(path: Path, missing_ok: bool = False) -> None:
        nonlocal left
        if left == 0:
            raise KilledError
        left -= 1
        unlink(path, missing_ok)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", stop)
        try:
            _clear(folder)
        except KilledError:
            assert list(folder.iterdir())
    whole = len(list(folder.iterdir())) == len(list(finished_folder(tmp_path / "all").iterdir()))
    assert whole or not (folder / "balance.json").exists()
    assert set(list_sidecars(folder)) <= set(list_shards(folder))
    _clear(folder)
    assert not list(folder.iterdir())


def make_litter(params: dict[str, Any]) -> Worker:
    """Leaves a temporary file in the output, as a worker does that is killed while it publishes."""
    toy = make_worker({})

    def work(clip: Clip, parts: Members) -> Members:
        Path(params["litter"]).write_bytes(b"half")
        return toy(clip, parts)

    return work


def test_a_worker_that_was_killed_while_it_published_leaves_no_trace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DIMITRA_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    output = tmp_path / "out"
    litter = output / ".00001.tar.abcdefgh"
    job = Job(
        stage="toy",
        worker="tests.pipelines.runtime.test_interrupted_folder:make_litter",
        params={"litter": str(litter)},
        units=units_of(CLIPS, []),
        output=output,
        budget=0.0,
        deadline_s=60.0,
    )
    run(job, RayParams(workers=1))
    shards = [f"{number:05d}.{kind}" for number in range(3) for kind in ("json", "tar")]
    assert sorted(path.name for path in output.iterdir()) == [
        *shards,
        "balance.json",
        "quarantine.parquet",
    ]
