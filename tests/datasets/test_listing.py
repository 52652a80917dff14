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
    files_below,
    listing,
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
    assert files_below(tmp_path) == [PurePosixPath("b.mp4")]
    with pytest.raises(LayoutError, match="nowhere is not a folder"):
        files_below(tmp_path / "nowhere")
