"""Digests of folders, against the same sum by hand."""

import hashlib
from pathlib import Path

from dimitra.lineage.sides import describe_sides
from dimitra.lineage.tree import read_artefact
from dimitra.shards import sha256_file, write_shard


def folder(root: Path) -> Path:
    output = root / "data" / "crops"
    write_shard(output / "00000.tar", {"a-0": {"txt": b"one"}, "a-1": {"txt": b"two"}})
    (output / "balance.json").write_text("{}\n")
    (output / ".balance.json.part").write_text("half")
    return output


def test_a_folder_is_its_names_and_digests(tmp_path: Path) -> None:
    output = folder(tmp_path)
    artefact = read_artefact("data/crops", tmp_path)
    names = ("00000.json", "00000.tar", "balance.json")
    lines = sorted(f"{sha256_file(output / name)}  {name}\n" for name in names)
    assert artefact.sha256 == hashlib.sha256("".join(lines).encode()).hexdigest()
    assert artefact.size_bytes == sum((output / name).stat().st_size for name in names)
    assert artefact.files == {"balance.json": sha256_file(output / "balance.json")}


def test_a_shard_kept_elsewhere_counts_as_one_that_lies_here(tmp_path: Path) -> None:
    output = folder(tmp_path)
    before = read_artefact("data/crops", tmp_path)
    (output / "00000.tar").unlink()
    assert read_artefact("data/crops", tmp_path) == before


def test_a_file_is_its_bytes_and_what_is_not_there_has_no_digest(tmp_path: Path) -> None:
    (tmp_path / "weights.yaml").write_bytes(b"weights: {}\n")
    found = read_artefact("weights.yaml", tmp_path)
    assert found.sha256 == hashlib.sha256(b"weights: {}\n").hexdigest()
    assert found.size_bytes == 12
    assert read_artefact("truth", tmp_path).sha256 is None


def test_sides_count_what_train_and_test_share() -> None:
    rows = [
        {"dataset": "d", "split": side, "identity": identity, "source_video": video}
        for side, identity, video in [
            ("train", "one", "v1"),
            ("train", "one", "v2"),
            ("test", "two", "v2"),
            ("test", "three", "v3"),
        ]
    ]
    sides = describe_sides(rows)["d"]
    assert (sides["train"]["clips"], sides["test"]["clips"]) == (2, 2)
    assert (sides["train"]["identities"], sides["test"]["identities"]) == (1, 2)
    assert sides["shared"] == {"identities": 0, "source_videos": 1}
    assert sides["test"]["identities_sha256"] == hashlib.sha256(b"three\ntwo\n").hexdigest()
