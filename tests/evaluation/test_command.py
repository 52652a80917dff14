"""The command from folders to tables, in processes of its own."""

import hashlib
import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from dimitra.assets import asset_sha256, digest
from dimitra.evaluation.files import read_methods
from dimitra.evaluation.tasks import Task
from dimitra.metrics.version import code_digest
from pipelines.closure import code_digest as closure_digest
from pipelines.commands import evaluate as evaluate_command
from pipelines.commands.evaluate import app
from pipelines.evaluation.foreign_batch import measure_all
from tests.evaluation.films import film, noise, sync_folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    where = tmp_path_factory.mktemp("films")
    for name in ("true", "ours", "theirs"):
        (where / name).mkdir()
    sync_folder(where / "sync")
    for clip in ("id00001-a", "id00002-b"):
        (where / "true" / f"{clip}.mp4").write_bytes(film(scale=1.0 if clip[-1] == "a" else 0.97))
        (where / "true" / f"{clip}.flac").write_bytes(noise())
        (where / "ours" / f"{clip}_ours.mp4").write_bytes(film(scale=0.93))
    (where / "theirs" / "id00001-a.mp4").write_bytes(film(scale=1.04))
    (where / "theirs" / "stray.mp4").write_bytes(b"no film")
    return where


def call(folder: Path, *more: str):
    common = ["--reference", f"{folder}/true", "--output", f"{folder}/out"]
    environment = {"COLUMNS": "60", "DIMITRA_CACHE_DIR": f"{folder}/cache"}
    return CliRunner().invoke(app, [*common, *more], env=environment)


def test_two_methods_make_the_papers_table(folder: Path, monkeypatch) -> None:
    ours, theirs = f"Ours={folder}/ours", f"Theirs={folder}/theirs"
    options = ["--sync-model", f"{folder}/sync", "--metrics", "lmd", "--metrics", "sync"]
    result = call(folder, "--generated", ours, "--generated", theirs, *options)
    assert result.exit_code == 0, result.output
    assert "n 2, dropped 0" in result.output
    assert "…" not in result.output
    for text in ("Ground truth", "F-LMD ↓", "sync conf ↑", "Table II, on HDTF: other data", "8.63"):
        assert text in result.output
    summary = json.loads((folder / "out/summary.json").read_text())
    assert summary["counts"]["Ours"] == {
        "references": 2, "videos": 2, "pairs": 2, "measured": 2,
    }  # fmt: skip
    assert summary["counts"]["Theirs"] == {
        "references": 2, "videos": 2, "pairs": 1, "measured": 1, "no_generated": 1,
        "no_reference": 1,
    }  # fmt: skip
    assert summary["matching"]["Ours"] == {"prefix": "", "suffix": "_ours"}
    assert summary["metric_code_sha256"] == code_digest()
    assert summary["protocol_code_sha256"] == closure_digest("pipelines.evaluation.foreign_videos")
    assert summary["landmarks"]["sha256"] == asset_sha256("dlib_68")
    assert summary["protocol"] == {
        "frames": "256x256, 25 a second",
        "metrics": ["lmd", "sync"],
        "crop": None,
        "max_ground_truth_missed": 0.0,
        "max_length_difference_s": 0.2,
    }
    metadata = pq.read_schema(folder / "out/clips.parquet").metadata
    assert metadata[b"dimitra.evaluation"].decode() == summary["sha256"]
    assert summary["sync"]["sha256"] == digest(folder / "sync")
    films = sorted(path for path in folder.glob("*/*") if path.suffix in (".mp4", ".flac"))
    assert summary["inputs"] == {
        str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in films
    }
    rows = pq.read_table(folder / "out/clips.parquet").to_pylist()
    mine = [row["f_lmd"] for row in rows if row["method"] == "Ours"]
    cell = summary["methods"]["Ours"]["f_lmd"]
    assert cell["value"] == pytest.approx(sum(mine) / 2, abs=5e-5)
    assert (cell["n"], cell["dropped"], cell["interval_identities"]["groups"]) == (2, 0, 2)
    assert summary["methods"]["Theirs"]["f_lmd"]["dropped"] == 1
    assert len((folder / "out/clips.csv").read_text().splitlines()) == 1 + len(rows)
    assert {row["n"] for row in summary["comparisons"]} == {1}

    # Again: nothing is measured, and not a byte differs. One video made again: it alone.
    before = {path.name: path.read_bytes() for path in (folder / "out").iterdir()}
    asked: list[list[Task]] = []

    def recorded(tasks, *rest):
        asked.append(list(tasks))
        return measure_all(tasks, *rest)

    monkeypatch.setattr(evaluate_command, "measure_all", recorded)
    result = call(folder, "--generated", ours, "--generated", theirs, *options)
    assert "2 clips were measured before" in result.output
    assert {path.name: path.read_bytes() for path in (folder / "out").iterdir()} == before
    (folder / "theirs/id00001-a.mp4").write_bytes(film(frames=30))
    result = call(folder, "--generated", ours, "--generated", theirs, *options)
    assert result.exit_code == 0, result.output
    assert asked[0] == []
    [task] = asked[1]
    assert (list(task.generated), task.ground_truth) == (["Theirs"], False)
    assert json.loads((folder / "out/summary.json").read_text())["sha256"] == summary["sha256"]


def test_without_resume_everything_is_measured_again(folder: Path, monkeypatch) -> None:
    options = ["--generated", f"{folder}/ours", "--metrics", "psnr"]
    assert call(folder, *options).exit_code == 0
    asked: list[int] = []

    def interrupted(tasks, *_):
        asked.append(len(tasks))
        raise KeyboardInterrupt

    monkeypatch.setattr(evaluate_command, "measure_all", interrupted)
    for more in ([], ["--no-resume"]):
        result = call(folder, *options, *more)
        assert result.exit_code == 130
        kept = "" if more else "; 2 clips are kept, the next run goes on from them"
        assert f"interrupted; no table was written{kept}" in " ".join(result.output.split())
    assert asked == [0, 2]


def test_the_example_of_the_help_is_there() -> None:
    shown = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "140"}).output
    assert "Example: dimitra evaluate --reference" in shown


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--generated", "{}/absent"], "is no folder"),
        (["--generated", "{}/ours", "--metrics", "fid"], "there are lmd, sync, psnr, ssim"),
        (["--generated", "{}/ours", "--published", "grid"], "there are voxceleb2, hdtf"),
        (["--generated", "{}/ours", "--sync-model", "{}/ours"], "train SyncNet with"),
        (["--generated", "{}/ours", "--sync-weights", "nothing"], "nothing"),
        (
            ["--generated", "{}/ours", "--sync-weights", "{}/syncnet_v2.model"],
            "Without the published network: --sync-model evaluators/sync",
        ),
        (["--generated", "{}/ours", "--sync-region", "tracks"], "--sync-region tracks"),
        (["--generated", "{}/ours", "--match", "{}/absent.csv"], "cannot be read as CSV"),
        (["--generated", "{}/ours", "--crop", "--params", "{}/p.yaml"], "p.yaml"),
        (
            ["--generated", "{}/ours", "--generated", "{}/theirs", "--method", "x"],
            "--method names one folder",
        ),
    ],
)
def test_what_does_not_go_is_said_before_anything_is_measured(folder, options, message) -> None:
    result = call(folder, *(option.format(folder) for option in options))
    assert result.exit_code == 2
    assert message in " ".join(result.output.split())


def test_nothing_measured_is_a_failure(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "other.mp4").write_bytes(film(frames=2))
    result = call(folder, "--generated", str(tmp_path), "--output", str(tmp_path / "out"))
    assert result.exit_code == 1
    assert "no clip could be measured" in result.output
    told = " ".join(result.output.split())
    assert "sync columns stay empty: no SyncNet was given: --sync-model evaluators/sync" in told
    assert (tmp_path / "out/clips.csv").is_file()


def test_a_folder_alone_is_a_method(tmp_path: Path) -> None:
    assert read_methods([str(tmp_path / "st")], None) == {"st": tmp_path / "st"}
    assert read_methods([f"A={tmp_path}"], None) == {"A": tmp_path}
    assert read_methods([str(tmp_path)], "B") == {"B": tmp_path}
