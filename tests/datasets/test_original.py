import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from dimitra.clips import Clip, ClipError, Reason
from dimitra.datasets.original import check_unchanged, original_files, sha256_of

CLIP = Clip(
    clip_id="vox-a",
    dataset="vox",
    identity="a",
    source_video="a/v",
    path="mp4/a.mp4",
    audio_path="aac/a.m4a",
    sha256=hashlib.sha256(b"picture, sound").hexdigest(),
    start_s=0.0,
    end_s=None,
    duration_s=1.0,
    fps=25.0,
    width=64,
    height=64,
    transcript=None,
    shard=0,
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name, content in ((CLIP.path, b"picture, "), (CLIP.audio_path, b"sound")):
        (tmp_path / str(name)).parent.mkdir()
        (tmp_path / str(name)).write_bytes(content)
    return tmp_path


def test_the_digest_covers_picture_and_sound_in_order(root: Path) -> None:
    assert sha256_of(original_files(root, CLIP)) == CLIP.sha256
    check_unchanged(root, CLIP)
    alone = replace(CLIP, audio_path=None, sha256=hashlib.sha256(b"picture, ").hexdigest())
    check_unchanged(root, alone)


def test_a_change_of_either_file_is_told_with_both_digests(root: Path) -> None:
    (root / "aac" / "a.m4a").write_bytes(b"sounds")
    with pytest.raises(ClipError, match=f"{CLIP.sha256[:16]}.*run ingest again") as caught:
        check_unchanged(root, CLIP)
    assert caught.value.reason is Reason.CHANGED_FILE
    (root / "aac" / "a.m4a").unlink()
    with pytest.raises(ClipError, match="a.m4a") as caught:
        check_unchanged(root, CLIP)
    assert caught.value.reason is Reason.MISSING_FILE
