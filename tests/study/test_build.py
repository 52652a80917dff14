"""Building: what is matched, what is listed, what a rater could see."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from dimitra.cli import app as command
from dimitra.media.audio import read_audio
from dimitra.media.container import inspect
from dimitra.media.video import read_video
from dimitra.study.errors import StudyError
from dimitra.study.sources import list_videos
from dimitra.study.study import load_study
from dimitra.study.videos import freeze
from tests.study.films import FRAMES, folders, write


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folders(tmp_path_factory.mktemp("films"), clips=4)


@pytest.fixture
def root(films: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(films, tmp_path / "films"))


def build(root: Path, out: str, *options: str) -> tuple[int, str]:
    arguments = ["study", "build", "--ours", str(root / "ours"), "--out", str(root / out)]
    arguments += ["--other", f"SadTalker={root / 'sad'}", "--truth", str(root / "truth")]
    done = CliRunner().invoke(command, [*arguments, *options])
    return done.exit_code, " ".join(done.output.split())


def test_a_study_names_everything_and_shows_nothing(root: Path) -> None:
    code, said = build(root, "study", "--seed", "3", "--checks", "2")
    assert code == 0, said
    assert "8 pairs, 8 for each rater, and 2 attention checks; 0 videos left out" in said
    study = load_study(root / "study", verify=True)
    assert study.seed == 3
    assert study.others == ("SadTalker", "ground truth")
    # Ours and the truth are in several pairs, but there once.
    assert len(study.videos) == 3 * 4 + 2
    assert sorted(path.name for path in (root / "study" / "videos").iterdir()) == sorted(
        video.file for video in study.videos
    )
    for video in study.videos:
        place = root / "study" / "videos" / video.file
        assert place.stat().st_mtime == 0
        if video.method != "frozen":
            folder = {"Dimitra": "ours", "SadTalker": "sad", "ground truth": "truth"}
            assert (
                place.read_bytes()
                == (root / folder[video.method] / f"{video.clip}.mp4").read_bytes()
            )
    for pair in study.pairs:
        first, second = study.videos[pair.first], study.videos[pair.second]
        assert first.clip == second.clip
        kinds = {"comparison": "Dimitra", "check": "ground truth"}
        assert first.method == kinds[pair.kind]
        assert (second.method == "frozen") == (pair.kind == "check")

    again, other = build(root, "again", "--seed", "3", "--checks", "2"), build(root, "other")
    assert again[0] == other[0] == 0
    same = [(root / name / "study.json").read_bytes() for name in ("study", "again", "other")]
    assert same[0] == same[1] != same[2]
    names = [{v.file for v in load_study(root / name).videos} for name in ("study", "other")]
    assert not names[0] & names[1]


def test_the_frozen_video_stands_still_and_speaks(root: Path, tmp_path: Path) -> None:
    source = root / "truth" / "clip1.mp4"
    freeze(source, tmp_path / "frozen.mp4")
    still, moving = read_video(tmp_path / "frozen.mp4"), read_video(source)
    assert still.shape == moving.shape == (FRAMES, 64, 64, 3)
    # As near as the encoder is, which blurs the edges of colour.
    assert np.abs(still.astype(int) - moving[0]).mean() <= 1
    assert np.abs(still.astype(int) - still[0]).max() <= 3
    assert np.abs(moving[-1].astype(int) - moving[0]).max() > 100
    heard, true = read_audio(tmp_path / "frozen.mp4"), read_audio(source)
    count = min(len(heard), len(true))
    assert count >= 0.9 * len(true)
    assert np.corrcoef(heard[200 : count - 200], true[200 : count - 200])[0, 1] > 0.98


def test_what_does_not_match_is_listed(root: Path) -> None:
    (root / "ours" / "clip0.mp4").rename(root / "ours" / "extra.mp4")
    (root / "sad" / "clip1.mp4").write_bytes((root / "sad" / "clip1.mp4").read_bytes()[:900])
    shutil.copy(root / "ours" / "clip2.mp4", root / "sad" / "clip2.mp4")
    write(root / "truth" / "clip3.mp4", "truth", 3, 2 * FRAMES, sound=False)
    code, said = build(root, "study", "--checks", "1")
    assert code == 0, said
    study = load_study(root / "study")
    assert len(study.numbered("comparison")) == 1 + 3
    for part in (
        "left out: Dimitra, extra: SadTalker has no video of this clip",
        "left out: SadTalker, clip0: Dimitra has no video of this clip",
        "left out: SadTalker, clip1: ",
        "left out: SadTalker, clip2: the same bytes as Dimitra's; look at the folders",
        "left out: ground truth, clip0: Dimitra has no video of this clip",
        "note: clip3, Dimitra and ground truth: 0.32 s and 0.64 s; sound in one",
    ):
        assert part in said, part
    assert len(study.left_out) == 6


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--other", "SadTalker=x"), "--other SadTalker is given twice"),
        (("--other", "nothing"), "--other 'nothing'; write NAME=DIR"),
        (("--other", "Dream=/no/such/folder"), "/no/such/folder is no folder"),
        (("--other", "a/b=x"), "'a/b' is no name of a method"),
        (("--name", "SadTalker"), "every method needs a name of its own"),
        (("--name", "frozen"), "none of them 'frozen'"),
        (("--checks", "5"), "--checks 5, but there are 4 clips with truth"),
        (("--pairs-per-rater", "9"), "--pairs-per-rater 9, but there are 8 pairs"),
        (("--consent", "/no/file"), "--consent /no/file cannot be read"),
    ],
)
def test_bad_options_are_named_and_leave_nothing(
    root: Path, options: tuple[str, ...], message: str
) -> None:
    code, said = build(root, "study", *options)
    assert code == 2
    assert message in said
    assert not (root / "study").exists()


def test_more_that_cannot_be_built(root: Path) -> None:
    base = ["study", "build", "--ours", str(root / "ours"), "--out", str(root / "study")]
    done = CliRunner().invoke(command, base)
    assert "nothing to compare with" in done.output
    done = CliRunner().invoke(command, [*base, "--other", f"A={root / 'sad'}", "--checks", "1"])
    assert "--checks 1 needs --truth DIR" in " ".join(done.output.split())
    for path in (root / "sad").iterdir():
        path.rename(path.with_stem(f"x-{path.stem}"))
    done = CliRunner().invoke(command, [*base, "--other", f"A={root / 'sad'}"])
    said = " ".join(done.output.split())
    assert "no clip of Dimitra can be compared with A: Dimitra has 4 clips" in said
    done = CliRunner().invoke(command, [*base, "--other", f"A={root / 'sad' / 'x-*.mp4'}"])
    assert done.exit_code == 0, done.output
    assert "no attention checks" in done.output
    done = CliRunner().invoke(command, [*base, "--other", f"A={root / 'sad' / 'x-*.mp4'}"])
    assert "is there already" in " ".join(done.output.split())


def test_clips_are_paths_below_the_folder_or_the_star(tmp_path: Path) -> None:
    for name in ("id1/a.mp4", "id2/a.webm", "id1/notes.txt", "x-hp.mp4", "x-no_hp.mp4", "-hp.mp4"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert {"id1/a", "id2/a"} <= list_videos(tmp_path).keys()
    assert list(list_videos(tmp_path / "*-hp.mp4")) == ["x"]
    for pattern, message in (
        ("*-*.mp4", "one \\* in the file name"),
        ("*-hp.avi", "a pattern ends in one of"),
        ("*-gt.mp4", "has no video"),
    ):
        with pytest.raises(StudyError, match=message):
            list_videos(tmp_path / pattern)
    (tmp_path / "id1" / "a.webm").touch()
    with pytest.raises(StudyError, match="are both of the clip 'id1/a'"):
        list_videos(tmp_path)


def test_a_codec_that_browsers_lack_is_refused_with_the_remedy(root: Path) -> None:
    import av

    path = root / "sad" / "clip0.mp4"
    with av.open(str(path), "w") as out:
        stream = out.add_stream("mpeg4", rate=25)
        stream.width = stream.height = 64
        for _ in range(8):
            out.mux(stream.encode(av.VideoFrame(64, 64, "yuv420p")))
        out.mux(stream.encode(None))
    assert inspect(path, audio=False).video_codec == "mpeg4"
    code, said = build(root, "study")
    assert code == 0
    assert "clip0.mp4 is mpeg4, which browsers do not all play; convert it: ffmpeg -i" in said


def test_a_changed_study_is_told(root: Path) -> None:
    build(root, "study")
    study = load_study(root / "study")
    video = root / "study" / "videos" / study.videos[0].file
    video.write_bytes(video.read_bytes() + b"x")
    with pytest.raises(StudyError, match="not the file that the study was built with"):
        load_study(root / "study", verify=True)
    CliRunner().invoke(command, ["study", "invite", str(root / "study"), "1"])
    content = json.loads((root / "study" / "study.json").read_text())
    (root / "study" / "study.json").write_text(json.dumps(content | {"seed": 9}))
    done = CliRunner().invoke(command, ["study", "raters", str(root / "study")])
    assert "has answers of another study.json" in " ".join(done.output.split())
    (root / "study" / "study.json").write_text(json.dumps(content | {"seed": "x"}))
    with pytest.raises(StudyError, match="is no study: seed: Input should be a valid integer"):
        load_study(root / "study")
    with pytest.raises(StudyError, match="make a study with `dimitra study build`"):
        load_study(root)
