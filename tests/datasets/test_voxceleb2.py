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
