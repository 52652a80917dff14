import os
from pathlib import Path

import pytest

from dimitra.clips import Reason
from dimitra.datasets.hdtf import read
from dimitra.datasets.hdtf_lists import identity_of
from dimitra.datasets.listing import LayoutError


def make(root: Path) -> None:
    (root / "videos").mkdir(parents=True)
    (root / "transcripts").mkdir()
    for name in ("RD_Radio1_000.mp4", "WRA_JohnDoe0_000.mp4", "WRA_JohnDoe1_000.mp4"):
        (root / "videos" / name).touch()
    (root / "transcripts" / "RD_Radio1_000.txt").write_text("Good\nevening.\n")
    (root / "RD_annotion_time.txt").write_text("Radio1.mp4 00:10-00:20 00:30-00:50\n\n")
    (root / "WRA_annotion_time.txt").write_text("JohnDoe0 00:10-00:20\n")


def test_identities_transcripts_and_promised_clips(tmp_path: Path) -> None:
    make(tmp_path)
    found = read(tmp_path, "hdtf")
    assert [(clip.clip_id, clip.identity, clip.source_video) for clip in found.clips] == [
        ("hdtf-rd_radio1_000", "RD_Radio1", "RD_Radio1"),
        ("hdtf-wra_johndoe0_000", "WRA_JohnDoe", "WRA_JohnDoe0"),
        ("hdtf-wra_johndoe1_000", "WRA_JohnDoe", "WRA_JohnDoe1"),
    ]
    assert [clip.transcript for clip in found.clips] == ["Good evening.", None, None]
    (bad,) = found.bad
    assert bad.reason == Reason.MISSING_FILE
    assert bad.message == ("RD_annotion_time.txt promises videos/Radio1_1.mp4, which is not there")


def test_identity_drops_the_number_of_politicians_alone() -> None:
    assert identity_of("WDA_BenCardin1") == "WDA_BenCardin"
    assert identity_of("RD_Radio10") == "RD_Radio10"
    assert identity_of("Avery") == "Avery"


def test_an_ill_formed_list_is_named_with_its_line(tmp_path: Path) -> None:
    make(tmp_path)
    (tmp_path / "RD_annotion_time.txt").write_text("Radio1.mp4 00:10-00:20\nRadio2.mp4\n")
    with pytest.raises(LayoutError, match=r"RD_annotion_time\.txt:2"):
        read(tmp_path, "hdtf")


def test_words_that_are_no_text_cost_their_clip_alone(tmp_path: Path) -> None:
    make(tmp_path)
    (tmp_path / "transcripts" / "WRA_JohnDoe0_000.txt").write_bytes(b"caf\xe9")
    (tmp_path / "transcripts" / "WRA_JohnDoe1_000.txt").write_bytes(b"a " * 500_001)
    found = read(tmp_path, "hdtf")
    assert [clip.clip_id for clip in found.clips] == ["hdtf-rd_radio1_000"]
    words = [bad for bad in found.bad if bad.reason is Reason.BAD_TRANSCRIPT]
    assert [bad.path for bad in words] == [
        "videos/WRA_JohnDoe0_000.mp4",
        "videos/WRA_JohnDoe1_000.mp4",
    ]
    assert "transcripts/WRA_JohnDoe0_000.txt is not UTF-8" in words[0].message


def test_a_list_that_is_no_text_is_named(tmp_path: Path) -> None:
    make(tmp_path)
    (tmp_path / "RD_annotion_time.txt").write_bytes(b"Radio\xe9.mp4 00:10-00:20\n")
    with pytest.raises(LayoutError, match=r"RD_annotion_time\.txt is not UTF-8"):
        read(tmp_path, "hdtf")
    (tmp_path / "RD_annotion_time.txt").unlink()
    os.mkfifo(tmp_path / "RD_annotion_time.txt")
    with pytest.raises(LayoutError, match=r"RD_annotion_time\.txt is a pipe"):
        read(tmp_path, "hdtf")


def test_an_uncut_video_is_cut_by_its_intervals(tmp_path: Path) -> None:
    (tmp_path / "videos").mkdir()
    (tmp_path / "transcripts").mkdir()
    (tmp_path / "RD_annotion_time.txt").write_text("Radio11.mp4 00:30-01:00 01:30-1:02:30\n")
    (tmp_path / "WDA_annotion_time.txt").write_text("JohnDoe1.mp4 00:05-00:25\n")
    for name in ("RD_Radio11.mp4", "JohnDoe1.mp4", "extra.mp4"):
        (tmp_path / "videos" / name).touch()
    (tmp_path / "transcripts" / "RD_Radio11_1.txt").write_text("Good night.")
    found = read(tmp_path, "hdtf")
    assert [
        (clip.clip_id, clip.identity, clip.source_video, clip.path, clip.start_s, clip.end_s)
        for clip in found.clips
    ] == [
        ("hdtf-johndoe1_0", "WDA_JohnDoe", "JohnDoe1", "videos/JohnDoe1.mp4", 5.0, 25.0),
        ("hdtf-rd_radio11_0", "RD_Radio11", "RD_Radio11", "videos/RD_Radio11.mp4", 30.0, 60.0),
        ("hdtf-rd_radio11_1", "RD_Radio11", "RD_Radio11", "videos/RD_Radio11.mp4", 90.0, 3750.0),
    ]
    assert [clip.transcript for clip in found.clips] == [None, None, "Good night."]
    (bad,) = found.bad
    assert (bad.path, bad.reason) == ("videos/extra.mp4", Reason.WRONG_EXTENSION)
    assert "no *_annotion_time.txt names it" in bad.message


def test_what_is_there_cut_and_uncut_is_told(tmp_path: Path) -> None:
    (tmp_path / "videos").mkdir()
    (tmp_path / "RD_annotion_time.txt").write_text("Radio1.mp4 00:10-00:20 00:30-00:50\n")
    for name in ("Radio1.mp4", "RD_Radio1_000.mp4"):
        (tmp_path / "videos" / name).touch()
    found = read(tmp_path, "hdtf")
    assert [clip.clip_id for clip in found.clips] == ["hdtf-radio1_1", "hdtf-rd_radio1_000"]
    assert {clip.identity for clip in found.clips} == {"RD_Radio1"}
    (bad,) = found.bad
    assert bad.reason is Reason.DUPLICATE_ID
    assert "10 to 20 s of videos/Radio1.mp4 is there as videos/RD_Radio1_000.mp4" in bad.message


def test_an_uncut_video_that_is_no_file_costs_one_row(tmp_path: Path) -> None:
    (tmp_path / "videos").mkdir()
    (tmp_path / "RD_annotion_time.txt").write_text("Radio1.mp4 00:10-00:20 00:30-00:50\n")
    os.mkfifo(tmp_path / "videos" / "Radio1.mp4")
    found = read(tmp_path, "hdtf")
    assert not found.clips
    assert [(bad.path, bad.reason) for bad in found.bad] == [
        ("videos/Radio1.mp4", Reason.NOT_A_FILE)
    ]
