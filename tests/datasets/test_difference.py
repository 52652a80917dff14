from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dimitra.clips import Clip
from dimitra.datasets.difference import compare
from dimitra.datasets.inventory import of_manifest
from dimitra.datasets.version import Bump
from tests.datasets.inventories import CLIPS, inventory

EDITS = {
    "bytes": {"sha256": "f" * 64},
    "interval": {"end_s": 0.5},
    "words": {"transcript": None},
    "identity": {"identity": "somebody"},
    "recording": {"source_video": "another"},
}


def test_the_same_is_no_change_and_more_clips_a_minor_one(tmp_path: Path) -> None:
    few, all_ = inventory(tmp_path / "a", CLIPS[:6]), inventory(tmp_path / "b")
    assert compare(few, few).bump is Bump.NONE
    grown, shrunk = compare(few, all_), compare(all_, few)
    assert (grown.bump, grown.added) == (Bump.MINOR, ("toy-006", "toy-007"))
    assert (shrunk.bump, shrunk.removed) == (Bump.MAJOR, ("toy-006", "toy-007"))


def test_packed_otherwise_is_a_patch(tmp_path: Path) -> None:
    two, three = inventory(tmp_path / "a"), inventory(tmp_path / "b", shards=3)
    found = compare(two, three)
    assert found.bump is Bump.PATCH
    assert found.repacked == ("toy-002", "toy-003", "toy-004", "toy-005")
    names = {"all-toy-00000.tar": "1", "all-toy-00001.tar": "2"}
    rewritten = compare(two, two, shards=(names, names | {"all-toy-00001.tar": "3"}))
    assert rewritten.repacked == ("toy-001", "toy-003", "toy-005", "toy-007")
    assert rewritten.bump is Bump.PATCH


@pytest.mark.parametrize("kind", EDITS)
def test_an_edited_original_is_major_and_named(tmp_path: Path, kind: str) -> None:
    edited = [replace(CLIPS[0], **EDITS[kind]), *CLIPS[1:]]  # type: ignore[arg-type]
    found = compare(inventory(tmp_path / "a"), inventory(tmp_path / "b", edited))
    assert (found.bump, dict(found.edited)) == (Bump.MAJOR, {"toy-000": (kind,)})
    back = compare(inventory(tmp_path / "b", edited), inventory(tmp_path / "a"))
    assert back.edited == found.edited


def test_another_part_is_major_unless_only_originals_are_asked_for(tmp_path: Path) -> None:
    other = {"toy-004": {"motion.npz": b"x", "text.npz": b"y"}}
    one, two = inventory(tmp_path / "a"), inventory(tmp_path / "b", changed=other)
    found = compare(one, two)
    assert (found.bump, dict(found.edited)) == (Bump.MAJOR, {"toy-004": ("motion", "text")})
    assert compare(one, two, sources=True).bump is Bump.NONE
    without = compare(one, of_manifest(CLIPS, None))
    assert (without.parts, without.bump) == (False, Bump.NONE)


def test_a_move_across_the_split_is_major(tmp_path: Path) -> None:
    one = inventory(tmp_path / "a")
    found = compare(one, inventory(tmp_path / "b", sides={"toy-000": "test"}))
    assert (found.bump, dict(found.moved)) == (Bump.MAJOR, {"toy-000": ("train", "test")})


@given(st.lists(st.sampled_from(["keep", "drop", "move", *EDITS]), min_size=8, max_size=8))
def test_what_was_done_to_the_clips_is_what_is_found(deeds: Sequence[str]) -> None:
    """Against a list of deeds, kept apart from the tables."""
    sides = {clip.clip_id: "train" for clip in CLIPS}
    after: list[Clip] = []
    now = dict(sides)
    for clip, deed in zip(CLIPS, deeds, strict=True):
        if deed == "move":
            now[clip.clip_id] = "test"
        if deed != "drop":
            after.append(replace(clip, **EDITS.get(deed, {})))  # type: ignore[arg-type]
    found = compare(of_manifest(CLIPS, sides), of_manifest(after, now))
    by_deed = {
        deed: [c.clip_id for c, done in zip(CLIPS, deeds, strict=True) if done == deed] for deed in deeds
    }
    assert list(found.removed) == by_deed.get("drop", [])
    assert list(found.moved) == by_deed.get("move", [])
    assert {kind: [c for c, kinds in found.edited.items() if kinds == (kind,)] for kind in EDITS} == {
        kind: by_deed.get(kind, []) for kind in EDITS
    }
    assert found.bump is (Bump.NONE if set(deeds) == {"keep"} else Bump.MAJOR)
    assert compare(of_manifest(after, now), of_manifest(CLIPS, sides)).added == found.removed
