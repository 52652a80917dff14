"""The Croissant description is valid under mlcroissant, which loads records of real shards."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dimitra.datasets.members import Member, read_member
from dimitra.lineage.croissant import licence_url
from dimitra.shards import read_npz, read_shard, write_shard
from pipelines import shard
from pipelines.runtime.quarantine import write_quarantine
from tests.cmdt.corpus import toy_clip, toy_parts
from tests.pipelines.test_shard_stage import small_corpus, write_inputs
from tests.pipelines.toy_shards import CLIPS, FRAMES, SPLIT


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``data/shards`` as the stage leaves it: its own worker, its own ending, without Ray."""
    place = tmp_path_factory.mktemp("run")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        patch.setenv("DIMITRA_CACHE_DIR", str(place / "cache"))
        params = small_corpus()
        write_inputs()
        work = shard.make_worker({"split": shard.SPLIT.as_posix(), "face_model": "open_head"})
        groups: dict[str, dict[str, dict[str, bytes]]] = {}
        for number, clip in enumerate(CLIPS):
            name = f"{SPLIT[clip.clip_id]}-{clip.dataset}-{clip.shard:05d}"
            parts = work(clip, toy_parts(toy_clip(clip.clip_id, FRAMES, number)))
            groups.setdefault(name, {})[clip.clip_id] = parts
        for name, samples in groups.items():
            write_shard(shard.OUTPUT / f"{name}.tar", samples)
        write_quarantine(shard.OUTPUT, [])
        shard.finish(params)
    return place / shard.OUTPUT


def records(folder: Path, name: str) -> list[dict[str, Any]]:
    """Records by the reference implementation, by the fields' own names, text decoded."""
    import mlcroissant

    dataset = mlcroissant.Dataset(jsonld=folder / "croissant.json")
    issues = dataset.metadata.ctx.issues
    assert not issues.errors
    assert not issues.warnings
    return [
        {
            key.removeprefix(f"{name}/"): value.decode() if isinstance(value, bytes) else value
            for key, value in record.items()
        }
        for record in dataset.records(name)
    ]


def validate(path: Path) -> subprocess.CompletedProcess[str]:
    command = [Path(sys.executable).with_name("mlcroissant"), "validate", "--jsonld", path]
    return subprocess.run(command, check=False, capture_output=True, text=True)


def test_the_validator_of_mlcommons_is_content(folder: Path) -> None:
    done = validate(folder / "croissant.json")
    assert done.returncode == 0, done.stderr
    assert "Done." in done.stderr
    broken = json.loads((folder / "croissant.json").read_text())
    broken["recordSet"][1]["field"][0]["source"]["fileObject"]["@id"] = "nowhere"
    (folder.parent / "broken.json").write_text(json.dumps(broken))
    done = validate(folder.parent / "broken.json")
    assert done.returncode != 0
    assert "nowhere" in done.stderr


def test_the_clips_are_records(folder: Path) -> None:
    found = records(folder, "clips")
    assert {row["clip_id"]: row["split"] for row in found} == SPLIT
    assert {row["frames"] for row in found} == {FRAMES}
    assert [row["name"] for row in records(folder, "splits")] == ["train", "test"]


def test_what_lies_inside_the_shards_is_reached_through_records(folder: Path) -> None:
    found = records(folder, "members")
    assert len(found) == len(CLIPS) * 4
    shards = {path.name: read_shard(path) for path in folder.glob("*.tar")}
    for row in found:
        data = read_member(folder, Member(**row))
        assert data == shards[row["shard"]][row["clip_id"]][row["part"]]
    row = next(row for row in found if row["part"] == "motion.npz")
    motion = read_npz(read_member(folder, Member(**row)))
    assert motion["expression"].shape == (FRAMES, 64)
    assert np.isfinite(motion["pose"]).all()


def test_every_file_has_its_digest_and_the_parts_are_told(folder: Path) -> None:
    metadata = json.loads((folder / "croissant.json").read_text())
    files = [one for one in metadata["distribution"] if one["@type"] == "cr:FileObject"]
    assert {one["contentUrl"] for one in files} == {
        path.name for path in folder.iterdir() if path.suffix in {".tar"}
    } | {"index.parquet", "members.parquet"}
    assert all(len(one["sha256"]) == 64 for one in files)
    sets = [one for one in metadata["distribution"] if one["@type"] == "cr:FileSet"]
    assert [one["includes"] for one in sets] == [
        "*.json",
        "*.motion.npz",
        "*.speech.npz",
        "*.text.npz",
    ]
    assert (metadata["version"], metadata["conformsTo"]) == (
        "1.0.0",
        "http://mlcommons.org/croissant/1.1",
    )


def test_why_no_record_set_reads_the_members_themselves(folder: Path) -> None:
    """Where this fails, Python tells tar from zip, and the parts can become record sets."""
    assert all(zipfile.is_zipfile(path) for path in folder.glob("*.tar"))


def test_a_changed_shard_is_not_loaded_in_silence(folder: Path, tmp_path: Path) -> None:
    import mlcroissant

    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    index = bytearray((tmp_path / "index.parquet").read_bytes())
    index[40] ^= 1
    (tmp_path / "index.parquet").write_bytes(index)
    dataset = mlcroissant.Dataset(jsonld=tmp_path / "croissant.json")
    with pytest.raises(mlcroissant.GenerationError, match="Download") as caught:
        list(dataset.records("clips"))
    assert "is not identical with the reference" in str(caught.value.__cause__)


def test_licences() -> None:
    assert licence_url("CC0-1.0") == "https://spdx.org/licenses/CC0-1.0.html"
    assert licence_url("https://example.org/terms") == "https://example.org/terms"
