import os
from pathlib import Path

import pytest

from dimitra.clips import Reason
from dimitra.datasets.folder import read
from dimitra.datasets.listing import LayoutError


def test_videos_at_any_depth_with_their_words(tmp_path: Path) -> None:
    for name in (
        *("Top.MP4", "anna/one.mp4", "anna/2024/two.mkv", "ben/talk.webm", "ben/talk.de.mov"),
        *("ben/old.wmv", "anna/one.jpg", "anna/notes.txt", "README"),
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "anna/one.txt").write_text("Hello\nthere.\n")
    (tmp_path / "Top.txt").write_bytes(b"caf\xe9")
    found = read(tmp_path, "mine")
    assert [
        (clip.clip_id, clip.identity, clip.source_video, clip.transcript) for clip in found.clips
    ] == [
        ("mine-anna-2024-two", "anna", "anna/2024/two", None),
        ("mine-anna-one", "anna", "anna/one", "Hello there."),
        ("mine-ben-talk", "ben", "ben/talk", None),
        ("mine-ben-talk_de", "ben", "ben/talk.de", None),
    ]
    assert {bad.path: bad.reason for bad in found.bad} == {
        "Top.MP4": Reason.BAD_TRANSCRIPT,
        "ben/old.wmv": Reason.WRONG_EXTENSION,
    }
    assert found.others == 3  # picture, notes, README
    (tmp_path / "Top.txt").unlink()
    top = read(tmp_path, "mine").clips[-1]
    assert (top.clip_id, top.identity, top.path) == ("mine-top", "Top", "Top.MP4")


def test_a_sound_file_beside_a_video_is_its_sound(tmp_path: Path) -> None:
    for name in (
        *("anna/one.mp4", "anna/one.wav", "anna/two.MOV", "anna/two.M4A", "anna/three.mkv"),
        *("ben/talk.de.webm", "ben/talk.de.opus", "ben/talk.mp4", "ben/music.mp3", "one.wav"),
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = read(tmp_path, "mine")
    assert {clip.path: clip.audio_path for clip in found.clips} == {
        "anna/one.mp4": "anna/one.wav",
        "anna/two.MOV": "anna/two.M4A",
        "anna/three.mkv": None,
        "ben/talk.de.webm": "ben/talk.de.opus",
        "ben/talk.mp4": None,
    }
    assert not found.bad
    assert found.others == 2  # a song, and a sound whose video lies elsewhere


def test_sound_that_cannot_be_costs_its_video(tmp_path: Path) -> None:
    for name in ("one.mp4", "one.wav", "one.mp3", "two.mp4", "three.mp4", "four.mp4"):
        (tmp_path / name).touch()
    os.mkfifo(tmp_path / "two.wav")
    (tmp_path / "three.flac").symlink_to("gone.flac")
    (tmp_path / "four.wav").mkdir()
    (tmp_path / "four.wav/take.txt").touch()
    found = read(tmp_path, "mine")
    assert [(clip.path, clip.audio_path) for clip in found.clips] == [("four.mp4", None)]
    assert [(bad.path, bad.reason) for bad in found.bad] == [
        ("one.mp4", Reason.DUPLICATE_ID),
        ("three.mp4", Reason.MISSING_FILE),
        ("two.mp4", Reason.NOT_A_FILE),
    ]
    assert "one.mp3 and one.wav" in found.bad[0].message
    assert "two.wav is a pipe" in found.bad[2].message


def test_two_videos_of_one_name_and_what_is_no_file(tmp_path: Path) -> None:
    for name in ("anna/one.mp4", "anna/one.mov", "anna/dir.mp4/in.mp4"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    os.mkfifo(tmp_path / "anna/pipe.avi")
    found = read(tmp_path, "mine")
    assert [clip.path for clip in found.clips] == ["anna/dir.mp4/in.mp4", "anna/one.mov"]
    assert {bad.path: bad.reason for bad in found.bad} == {
        "anna/dir.mp4": Reason.NOT_A_FILE,
        "anna/one.mp4": Reason.DUPLICATE_ID,
        "anna/pipe.avi": Reason.NOT_A_FILE,
    }
    assert "anna/pipe.avi is a pipe" in " ".join(bad.message for bad in found.bad)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(LayoutError, match="nowhere is not a folder"):
        read(tmp_path / "nowhere", "mine")
