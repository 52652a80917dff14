import os
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dimitra.clips import CLIP_ID_PATTERN, Reason
from dimitra.datasets.listing import (
    LayoutError,
    SourceClip,
    bad_file_id,
    clip_id_of,
    found_below,
    listing,
    shown,
)


def test_clip_ids_follow_the_path() -> None:
    path = PurePosixPath("id00012/21Uxsk56VDQ/00001.mp4")
    assert clip_id_of("vox", path) == "vox-id00012-21uxsk56vdq-00001"
    assert clip_id_of("lecture", PurePosixPath("Avery_0.mp4")) == "lecture-avery_0"


@given(st.text(st.characters(blacklist_characters="/\0"), min_size=1, max_size=300))
def test_any_file_name_gives_a_well_formed_id(name: str) -> None:
    if name in {".", ".."}:
        return
    path = PurePosixPath("folder") / f"{name}.mp4"
    assert CLIP_ID_PATTERN.match(clip_id_of("set", path))
    assert CLIP_ID_PATTERN.match(bad_file_id("set", path))


def test_of_two_clips_with_one_id_the_first_path_stays() -> None:
    clips = [
        SourceClip(clip_id_of("set", PurePosixPath(path)), "a", "v", path)
        for path in ("b/X.mp4", "b/x.mp4", "a/x.mp4")
    ]
    found = listing("set", clips, [])
    assert [clip.path for clip in found.clips] == ["a/x.mp4", "b/X.mp4"]
    (bad,) = found.bad
    assert (bad.path, bad.reason) == ("b/x.mp4", Reason.DUPLICATE_ID)
    assert "b/x.mp4 has the clip id set-b-x of b/X.mp4" in bad.message
    assert bad.clip_id not in {clip.clip_id for clip in found.clips}


def test_hidden_files_are_left_out_and_a_missing_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / ".hidden").mkdir()
    (tmp_path / ".hidden" / "a.mp4").touch()
    (tmp_path / "b.mp4").touch()
    assert [found.path for found in found_below(tmp_path.parent, tmp_path.name)] == [
        PurePosixPath("b.mp4")
    ]
    with pytest.raises(LayoutError, match="nowhere is not a folder"):
        found_below(tmp_path, "nowhere")


def test_whatever_cannot_be_a_clip_is_found_with_its_reason(tmp_path: Path) -> None:
    root, videos = tmp_path / "set", tmp_path / "set" / "videos"
    (videos / "folder.mp4").mkdir(parents=True)
    (videos / "plain").mkdir()
    (videos / "folder.mp4" / "inner.mp4").touch()
    (videos / "good.mp4").touch()
    (tmp_path / "outside.mp4").touch()
    os.mkfifo(videos / "pipe.mp4")
    Path(os.fsdecode(os.fsencode(videos) + b"/caf\xe9.mp4")).touch()
    links = {
        "inside": "good.mp4",
        "outside": "../../outside.mp4",
        "gone": "nowhere.mp4",
        "circle": "circle.mp4",
        "to_folder": "plain",
    }
    for name, target in links.items():
        (videos / f"{name}.mp4").symlink_to(target)
    found = {shown(entry.path): entry for entry in found_below(root, "videos")}
    assert {name: entry.reason for name, entry in found.items()} == {
        "caf\\udce9.mp4": Reason.BAD_NAME,
        "circle.mp4": Reason.MISSING_FILE,
        "folder.mp4": Reason.NOT_A_FILE,
        "folder.mp4/inner.mp4": None,
        "gone.mp4": Reason.MISSING_FILE,
        "good.mp4": None,
        "inside.mp4": None,
        "outside.mp4": Reason.OUTSIDE_LINK,
        "pipe.mp4": Reason.NOT_A_FILE,
        "to_folder.mp4": Reason.NOT_A_FILE,
    }
    assert all(entry.message.isprintable() for entry in found.values())
    assert all(
        ("videos/" in entry.message) == (entry.reason is not None) for entry in found.values()
    )
    allowed = {entry.path.name: entry for entry in found_below(root, "videos", outside_links=True)}
    assert allowed["outside.mp4"].reason is None


def test_a_chain_of_folders_without_end_is_cut(tmp_path: Path) -> None:
    folder = tmp_path
    for _ in range(80):
        folder /= "d"
    folder.mkdir(parents=True)
    (folder / "deep.mp4").touch()
    (found,) = found_below(tmp_path, "d")
    assert found.reason is Reason.NOT_A_FILE
