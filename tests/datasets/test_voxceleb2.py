import os
from pathlib import Path

from dimitra.clips import Reason
from dimitra.datasets.voxceleb2 import read


def test_clips_identities_and_separate_sound(tmp_path: Path) -> None:
    for name in (
        "mp4/id00012/21Uxsk56VDQ/00001.mp4",
        "mp4/id00012/21Uxsk56VDQ/00002.mp4",
        "mp4/id00017/01dfn2spqyE/00001.mp4",
        "mp4/id00017/notes.txt",
        "aac/id00012/21Uxsk56VDQ/00002.m4a",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = read(tmp_path, "vox")
    assert [clip.clip_id for clip in found.clips] == [
        "vox-id00012-21uxsk56vdq-00001",
        "vox-id00012-21uxsk56vdq-00002",
        "vox-id00017-01dfn2spqye-00001",
    ]
    assert found.clips[0].identity == "id00012"
    assert found.clips[0].source_video == "id00012/21Uxsk56VDQ"
    assert found.clips[0].audio_path is None
    assert found.clips[1].audio_path == "aac/id00012/21Uxsk56VDQ/00002.m4a"
    (bad,) = found.bad
    assert (bad.path, bad.reason) == ("mp4/id00017/notes.txt", Reason.WRONG_EXTENSION)


def test_separate_sound_may_be_wav_and_m4a_goes_before_it(tmp_path: Path) -> None:
    for name in (
        *("mp4/id1/va/00001.mp4", "mp4/id1/va/00002.mp4", "mp4/id1/va/00003.mp4"),
        *("aac/id1/va/00001.wav", "aac/id1/va/00002.m4a", "aac/id1/va/00002.wav"),
        "aac/id1/va/00003.mp3",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = read(tmp_path, "vox")
    assert [clip.audio_path for clip in found.clips] == [
        "aac/id1/va/00001.wav",
        "aac/id1/va/00002.m4a",
        None,
    ]
    assert not found.bad


def test_sound_that_is_no_file_costs_its_clip_and_not_its_sound_alone(tmp_path: Path) -> None:
    for number in (1, 2, 3):
        path = tmp_path / f"mp4/id1/va/0000{number}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    sound = tmp_path / "aac/id1/va"
    sound.mkdir(parents=True)
    os.mkfifo(sound / "00001.m4a")
    (sound / "00002.m4a").symlink_to("gone.m4a")
    found = read(tmp_path, "vox")
    assert [clip.clip_id for clip in found.clips] == ["vox-id1-va-00003"]
    assert [(bad.path, bad.reason) for bad in found.bad] == [
        ("mp4/id1/va/00001.mp4", Reason.NOT_A_FILE),
        ("mp4/id1/va/00002.mp4", Reason.MISSING_FILE),
    ]


def test_folders_named_like_clips_are_told(tmp_path: Path) -> None:
    (tmp_path / "mp4/id1.mp4/va/00016.mp4").mkdir(parents=True)
    found = read(tmp_path, "vox")
    assert not found.clips
    (bad,) = found.bad
    assert (bad.path, bad.reason) == ("mp4/id1.mp4/va/00016.mp4", Reason.NOT_A_FILE)
    assert "mp4/id1.mp4/va/00016.mp4 is a folder" in bad.message
