"""A photo and a sentence go in, a video comes out; with models that were never trained."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from dimitra.animation.animate import Animation, animate
from dimitra.animation.errors import AnimationError
from dimitra.animation.lip_contact import inner_lips
from dimitra.animation.places import MAX_SAMPLES
from dimitra.cli import app
from dimitra.media.audio import read_audio
from dimitra.media.video import read_video
from dimitra.morphable import open_head
from tests.animation.toy import SAMPLE, photo, run_folder, sentence
from tests.speech.signals import boats

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with models, photo and sentence."""
    folder = tmp_path_factory.mktemp("run")
    run_folder(folder)
    Image.fromarray(photo()).save(folder / "photo.png")
    (folder / "speech.wav").write_bytes(sentence())
    return folder


def test_a_photo_speaks(run: Path, tmp_path: Path) -> None:
    steps: dict[str, tuple[int, int]] = {}

    def progress(step: str, done: int, total: int) -> None:
        steps[step] = (done, total)

    made = animate(
        run / "photo.png",
        run / "speech.wav",
        tmp_path / "a.mp4",
        models=run / "models",
        samples=2,
        progress=progress,
        transcript=boats().text,
    )
    assert made.videos == (tmp_path / "a.mp4", tmp_path / "a-2.mp4")
    assert made.text == boats().text
    assert made.frames == 77
    assert not np.array_equal(*made.motions)
    assert steps.pop("video 2 of 2") == (77, 77)
    assert all(done == total for done, total in steps.values())
    frames = read_video(made.videos[0])
    assert frames.shape == (77, 256, 256, 3)
    assert frames.std(axis=0).max() > 5
    sound = read_audio(made.videos[0])
    heard = boats().samples[: len(sound)]
    assert np.corrcoef(sound[: len(heard)], heard)[0, 1] > 0.95
    with av.open(str(made.videos[0])) as container:
        assert "trainedAlgorithmicMedia" in container.metadata["digital_source_type"]
        assert container.metadata["motion_edits"] == "lips closed at p, b, m by rule"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a-2.mp4", "a.mp4"]

    again = animate(
        (run / "photo.png").read_bytes(),
        sentence(),
        tmp_path / "a.mp4",
        models=run / "models",
        transcript=boats().text,
    )
    assert np.array_equal(again.motions[0], made.motions[0])
    assert np.array_equal(read_video(again.videos[0]), frames)


def test_wishes(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "a.mp4"
    made = animate(
        photo(),
        run / "speech.wav",
        out,
        models=run / "models",
        head_pose=False,
        expression_scale=0.0,
        seed=4,
        size=128,
        transcript=boats().text,
    )
    assert read_video(out).shape[1:] == (128, 128, 3)
    assert np.ptp(made.motions[0][:, 13:], axis=0).max() < 1e-6
    assert any("pocketsphinx" in notice for notice in made.notices)


def test_lips_meet_at_p_b_m_unless_that_is_not_wanted(run: Path, tmp_path: Path) -> None:
    def made(lip_contact: bool) -> Animation:
        return animate(
            photo(),
            run / "speech.wav",
            tmp_path / f"{lip_contact}.mp4",
            models=run / "models",
            size=64,
            transcript="the papa bought a bamboo map",
            lip_contact=lip_contact,
        )

    closed, raw = made(True), made(False)
    assert (closed.lip_contact, raw.lip_contact) == (True, False)
    lips = inner_lips(open_head.load(), raw.identity)
    before, after = (lips.gaps(one.motions[0][:, :64]).max(axis=1) for one in (raw, closed))
    changed = (closed.motions[0] != raw.motions[0]).any(axis=1)
    assert 3 <= changed.sum() < 0.8 * len(changed)
    assert before[changed].max() > 0.01
    assert (after[changed] < before[changed]).all()
    assert (np.abs(after[changed]) < 1e-6).any()
    with av.open(str(raw.videos[0])) as container:
        assert "motion_edits" not in container.metadata


def test_the_command(run: Path, tmp_path: Path) -> None:
    words = tmp_path / "words.txt"
    words.write_text(boats().text)
    arguments = [
        *("animate", "--image", str(run / "photo.png"), "--audio", str(run / "speech.wav")),
        *("--out", str(tmp_path / "a.mp4"), "--models", str(run / "models"), "--size", "64"),
        *("--transcript", str(words), "--no-head-pose"),
    ]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert str(tmp_path / "a.mp4") in result.output
    result = CliRunner().invoke(app, [*arguments, "--renderer", "pirender"])
    assert result.exit_code == 1
    assert "draws the face model bfm" in result.output
    for folder, message in ((tmp_path, "no trained models"), (tmp_path / "none", "is no folder")):
        result = CliRunner().invoke(app, [*arguments, "--models", str(folder)])
        assert result.exit_code == 1
        assert "error:" in result.output
        assert message in result.output


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"out": "a.avi"}, "the video is an mp4; give it a name that ends in .mp4"),
        ({"out": "none/a.mp4"}, "none is no folder; make it first"),
        ({"samples": 0}, "0 samples; there can be 1 to 64"),
        ({"expression_scale": -1.0}, "an expression scale of -1.0; it goes from 0 to 3"),
        ({"expression_scale": float("nan")}, "an expression scale of nan"),
        ({"size": 63}, "a size of 63 pixels; the renderer mesh takes multiples of 2 from 64 to"),
        ({"renderer": "opengl"}, "no renderer is called 'opengl'; there are mesh, pirender"),
        ({"audio": "none.wav"}, "none.wav is not a file, or a link whose target is gone"),
        ({"image": "none.png"}, "none.png is not a file"),
    ],
)
def test_wishes_that_cannot_be_met(
    run: Path, tmp_path: Path, change: dict[str, object], message: str
) -> None:
    given = {"image": run / "photo.png", "audio": run / "speech.wav", "out": "a.mp4"} | change
    given["out"] = tmp_path / str(given["out"])
    with pytest.raises(AnimationError) as raised:
        animate(**given, models=run / "models")  # type: ignore[arg-type]
    assert message in str(raised.value)
    assert not list(tmp_path.iterdir())


def test_an_input_is_not_overwritten(run: Path, tmp_path: Path) -> None:
    clip = tmp_path / "clip.mp4"
    clip.write_bytes(b"")
    with pytest.raises(AnimationError, match=r"clip.mp4 is an input; choose another name"):
        animate(run / "photo.png", clip, clip, models=run / "models")


def test_what_goes_wrong_halfway_leaves_the_old_video(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "a.mp4"
    out.write_bytes(b"old")

    def progress(step: str, done: int, _: int) -> None:
        if step == "video" and done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        animate(
            run / "photo.png",
            run / "speech.wav",
            out,
            models=run / "models",
            transcript=boats().text,
            progress=progress,
        )
    assert out.read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]
    assert MAX_SAMPLES == 64


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_at_the_command(run: Path, tmp_path: Path, sent: signal.Signals) -> None:
    code = "from dimitra.cli import app; app()"
    (tmp_path / "scratch").mkdir()
    child = subprocess.Popen(
        [
            *(sys.executable, "-c", code, "animate", "--image", str(run / "photo.png")),
            *("--audio", str(run / "speech.wav"), "--out", str(tmp_path / "a.mp4")),
            *("--models", str(run / "models"), "--size", "1024"),
        ],
        cwd=ROOT,
        env=os.environ | {"TMPDIR": str(tmp_path / "scratch")},
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob(".a.mp4.*")) and time.monotonic() < deadline:
        assert child.poll() is None
        time.sleep(0.05)
    child.send_signal(sent)
    _, errors = child.communicate(timeout=60)
    assert child.returncode == 130, errors
    assert "nothing was left half written" in errors
    assert [path.name for path in tmp_path.iterdir()] == ["scratch"]
    assert not list((tmp_path / "scratch").glob("dimitra-*"))


@pytest.mark.slow
@pytest.mark.skipif(not (ROOT / "models/lips").is_dir(), reason="no models: run dvc repro")
def test_trained_models_move_the_mouth_with_the_voice(run: Path, tmp_path: Path) -> None:
    made = animate(
        run / "photo.png",
        run / "speech.wav",
        tmp_path / "a.mp4",
        models=ROOT / "models",
        params=SAMPLE,
    )
    model = open_head.load()
    expression = torch.from_numpy(made.motions[0][:, :64])
    points = model.landmarks(torch.zeros(80), expression).numpy()
    opening = np.linalg.norm(points[:, 62] - points[:, 66], axis=-1)
    loud = np.sqrt((boats().samples[: 77 * 640].reshape(77, 640) ** 2).mean(axis=1))
    assert "boats" in made.text.lower()
    assert np.corrcoef(opening, loud)[0, 1] > 0.3
    assert opening.min() < 0.05
    assert opening.max() > 0.1


def test_nothing_of_the_orchestration_is_imported() -> None:
    code = (
        "import sys, dimitra.animation.animate, dimitra.animation.command; "
        "sys.exit(any(name in sys.modules for name in ('ray', 'dvc', 'mlflow', 'pipelines')))"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
