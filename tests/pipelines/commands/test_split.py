import json
import re
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner, Result

from dimitra.clips import MANIFEST_SCHEMA
from dimitra.datasets.split import SplitError, read_lists
from dimitra.datasets.voxceleb2_split import OFFICIAL_TEST
from pipelines.closure import ROOT
from pipelines.commands.split import app
from pipelines.params import load
from pipelines.runtime.jobs import read_manifest
from pipelines.runtime.quarantine import write_table
from pipelines.split import split
from tests.pipelines.balances import write_balance
from tests.pipelines.runtime.test_jobs import clip


def run(*words: str | Path) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words], env={"COLUMNS": "200"})


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a manifest of 10 identities and parameters that name their split."""
    monkeypatch.chdir(tmp_path)
    values = yaml.safe_load((ROOT / "conf" / "sample.yaml").read_text())
    values["datasets"]["sets"] = {"toy": {"layout": "folder", "path": "toy", "split": "toy/v1"}}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(values))
    write_table(
        tmp_path / "data/manifest/clips.parquet",
        (vars(clip(number, 0)) for number in range(10)),
        MANIFEST_SCHEMA,
    )
    write_balance(tmp_path / "data/manifest", "ingest", 10)
    return tmp_path


def names(path: Path) -> list[str]:
    return [line for line in path.read_text().splitlines() if not line.startswith("#")]


def test_make_then_check(place: Path) -> None:
    assert run("make", "toy", "--test-share", "0.3", "--seed", "5").exit_code == 0
    train, test = (names(place / f"splits/toy/v1/{side}.txt") for side in ("train", "test"))
    assert (len(train), len(test), len({*train, *test})) == (7, 3, 10)
    remark = (place / "splits/toy/v1/test.txt").read_text()
    command = (
        "dimitra split make toy --version v1 --test-share 0.3 --seed 5 --stratify seconds --bins 4"
    )
    assert command in remark
    checked = run("check")
    assert checked.exit_code == 0
    assert "3 identities, 3 with 3 clips" in checked.output
    assert "sealed" in checked.output
    digest = read_lists(place / "splits", "toy/v1").digest
    assert digest[:16] in checked.output
    again = run("make", "toy", "--test-share", "0.3", "--seed", "6")
    assert again.exit_code == 1
    assert "says something else" in " ".join(again.output.split())
    assert run("make", "toy", "--test-share", "0.3", "--seed", "6", "--force").exit_code == 0


def test_the_command_in_a_list_makes_the_list(place: Path) -> None:
    """Of its own words, with strata of a column that the manifest has."""
    rows = [vars(clip(number, 0)) | {"width": 64 * (1 + number % 2)} for number in range(10)]
    write_table(place / "data/manifest/clips.parquet", rows, MANIFEST_SCHEMA)
    words = ("make", "toy", "--test-share", "0.4", "--stratify", "width", "--stratify", "clips")
    assert run(*words).exit_code == 0
    text = (place / "splits/toy/v1/test.txt").read_text()
    assert sorted(int(name[2:]) % 2 for name in names(place / "splits/toy/v1/test.txt")) == [
        0,
        0,
        1,
        1,
    ]
    (command,) = re.findall(r"Made by: dimitra split (.*)", text)
    (place / "splits/toy/v1/test.txt").unlink()
    assert run(*command.split()).exit_code == 0
    assert (place / "splits/toy/v1/test.txt").read_text() == text
    assert "no column gender" in run(*words[:5], "gender").output


def test_a_list_that_was_changed_by_hand_is_refused_until_it_is_sealed(place: Path) -> None:
    assert run("make", "toy", "--test-share", "0.3").exit_code == 0
    path = place / "splits/toy/v1/train.txt"
    path.write_text(path.read_text() + "id999\n")
    found = run("check")
    assert found.exit_code == 1
    assert "train.txt has sha256" in found.output
    with pytest.raises(SplitError, match="dimitra split seal toy/v1"):
        split(read_manifest(), load().datasets)
    sealed = run("seal", "toy/v1")
    assert sealed.exit_code == 0
    assert read_lists(place / "splits", "toy/v1").digest in sealed.output
    assert run("check").exit_code == 0
    assert run("seal", "toy/v2").exit_code == 1


def test_diff_names_who_moved_with_their_clips(place: Path) -> None:
    for version, seed in (("v1", 5), ("v2", 6)):
        run("make", "toy", "--version", version, "--test-share", "0.3", "--seed", str(seed))
    one, other = (set(names(place / f"splits/toy/{v}/test.txt")) for v in ("v1", "v2"))
    found = run("diff", "splits/toy/v1", "splits/toy/v2")
    assert found.exit_code == 0
    moved = one ^ other
    assert f"moved: {len(moved)} identities, {len(moved)} clips, {len(moved)}.0 s" in found.output
    for name in one - other:
        assert f"{name}: test to train, 1 clips, 1.0 s" in found.output
    assert run("diff", "splits/toy/v1", "splits/toy/v2", "--exit-code").exit_code == 1
    assert run("diff", "splits", "splits", "--exit-code").exit_code == 0
    (report,) = json.loads(run("diff", "splits/toy/v1", "splits/toy/v2", "--json").stdout)
    assert {change["identity"] for change in report["changes"]} == moved
    assert run("diff", "nowhere").exit_code == 1


def test_check_refuses_what_both_sides_share(place: Path) -> None:
    folder = place / "splits/toy/v1"
    folder.mkdir(parents=True)
    (folder / "train.txt").write_text("id000\nid001\n")
    (folder / "test.txt").write_text("id001\nid002\n")
    found = run("check")
    assert found.exit_code == 1
    assert "identity id001 is in train.txt and in test.txt" in found.output
    (folder / "test.txt").write_text("id002\n")
    rows = [vars(clip(number, 0)) for number in range(3)]
    rows[2]["source_video"] = rows[0]["source_video"]
    write_table(place / "data/manifest/clips.parquet", rows, MANIFEST_SCHEMA)
    write_balance(place / "data/manifest", "ingest", 3)
    found = run("check")
    assert found.exit_code == 1
    assert re.search(
        r"share 1 source videos.*toy-000 \(train\), toy-002 \(test\)", found.output, re.S
    )
    (place / "data/manifest/clips.parquet").unlink()
    alone = run("check")
    assert alone.exit_code == 0
    assert "the lists alone are checked" in alone.output


def test_make_says_what_is_missing(place: Path) -> None:
    found = run("make", "nobody", "--test-share", "0.5")
    assert found.exit_code == 1
    assert "the dataset has no clip" in found.output
    (place / "data/manifest/clips.parquet").unlink()
    assert (
        "run `python -m pipelines.ingest` first" in run("make", "toy", "--test-share", "1").output
    )


def test_voxceleb2_with_and_without_the_users_files(place: Path) -> None:
    assert run("voxceleb2").exit_code == 0
    folder = place / "splits/voxceleb2/v1"
    committed = ROOT / "splits/voxceleb2/v1/test.txt"
    assert (folder / "test.txt").read_bytes() == committed.read_bytes()
    assert not (folder / "train.txt").exists()

    root = place / "vox"
    people = [(name, "test") for name in OFFICIAL_TEST]
    people += [(f"id1{number:04d}", "dev") for number in range(12)]
    for name, _ in people:
        for number in range(3):
            path = root / f"mp4/{name}/video/{number:05d}.mp4"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    table = "".join(f"{name} ,n{name[2:]} ,m ,{group} \n" for name, group in people)
    (root / "vox2_meta.csv").write_text(f"VoxCeleb2 ID ,VGGFace2 ID ,Gender ,Set \n{table}")
    few = run("voxceleb2", "--root", root)
    assert few.exit_code == 1
    assert "46069 clips are wanted of train" in few.output
    done = run("voxceleb2", "--root", root, "--clips", "64", "--test-clips", "40")
    assert done.exit_code == 0, done.output
    chosen = names(folder / "clips.txt")
    assert len(chosen) == 64
    assert all((root / path).is_file() for path in chosen)
    test = set(names(folder / "test.txt"))
    assert sum(path.split("/")[1] in test for path in chosen) == 40
    assert len(names(folder / "train.txt")) == 12
    (root / "vox2_meta.csv").write_text("nonsense\n")
    assert "is not VoxCeleb2 ID" in run("voxceleb2", "--meta", root / "vox2_meta.csv").output


def test_hdtf_from_lists(place: Path) -> None:
    (place / "WRA_annotion_time.txt").write_text(
        "JohnDoe0.mp4 00:10-00:20\nJohnDoe1.mp4 0:05-1:00\n"
    )
    (place / "WRA_video_url.txt").write_text("JohnDoe0 https://y/0\nJohnDoe1 https://y/1\n")
    (place / "RD_annotion_time.txt").write_text("Radio3.mp4 00:10-00:20\n")
    (place / "RD_video_url.txt").write_text("Radio3 https://y/2\n")
    folder = place / "splits/hdtf/v2"
    partial = run("hdtf", "--lists", place, "--version", "v2")
    assert partial.exit_code == 1
    assert f"{place} lacks HDTF's part WDA (WDA_annotion_time.txt" in partial.output
    assert not folder.exists()
    (place / "WDA_annotion_time.txt").write_text("JaneRoe.mp4 00:10-00:20\n")
    (place / "WDA_video_url.txt").write_text("JaneRoe https://y/3\n")
    assert run("hdtf", "--lists", place, "--version", "v2").exit_code == 0
    assert names(folder / "test.txt") == ["RD_Radio3", "WDA_JaneRoe", "WRA_JohnDoe"]
    assert names(folder / "train.txt") == []
    assert names(folder / "videos.tsv")[-1] == "WRA\tJohnDoe1\thttps://y/1\t00:05-01:00"
    empty = run("hdtf", "--lists", place / "splits").output
    assert f"no *_annotion_time.txt in {place / 'splits'}" in empty
    nowhere = run("hdtf", "--lists", place / "nope")
    assert nowhere.exit_code == 1
    assert f"{place / 'nope'}: no such folder" in nowhere.output


def test_it_is_registered_as_a_command() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    assert 'split = "pipelines.commands.split:app"' in text
