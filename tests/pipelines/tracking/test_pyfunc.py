"""The exported model: loaded by MLflow, served by MLflow, and used by ``dimitra animate``."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx2
import mlflow.pyfunc
import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image
from typer.testing import CliRunner

from dimitra.animation.animate import animate
from dimitra.animation.drawing import load_renderer
from dimitra.animation.errors import AnimationError
from dimitra.animation.models import file_digests, models_folder
from dimitra.animation.settings import read_settings
from dimitra.media.video import read_video
from dimitra.render.pirender_network import PIRenderNet, PIRenderSettings
from dimitra.render.pirender_weights import PIRenderError
from dimitra.render.renderer_checkpoint import save
from pipelines.commands.model import app
from tests.animation.toy import photo, run_folder, sentence
from tests.speech.signals import boats

WISHES: dict[str, Any] = {"seed": 3, "size": 64, "no_head_pose": True, "transcript": boats().text}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photo, models and their export ``served``."""
    folder = tmp_path_factory.mktemp("run")
    models = run_folder(folder)
    Image.fromarray(photo()).save(folder / "photo.png")
    result = CliRunner().invoke(app, ["export", str(folder / "served"), "--models", str(models)])
    assert result.exit_code == 0, result.output
    shutil.rmtree(models)
    (folder / "params.yaml").unlink()
    return folder


@pytest.fixture(scope="module")
def expected(run: Path) -> Path:
    """The video that `animate` makes of the exported folder."""
    out = run / "video.mp4"  # its name is its title
    animate(
        run / "photo.png",
        sentence(),
        out,
        models=run / "served",
        seed=3,
        size=64,
        head_pose=False,
        transcript=boats().text,
    )
    return out


def test_a_renderer_of_ones_own_goes_with_it(tmp_path: Path) -> None:
    models = run_folder(tmp_path)
    file = tmp_path / "params.yaml"
    values = yaml.safe_load(file.read_text())
    values["render"] |= {"renderer": "pirender", "weights": "trained", "size": 64}
    file.write_text(yaml.safe_dump(values))
    arguments = ["export", str(tmp_path / "served"), "--models", str(models)]
    refused = CliRunner().invoke(app, arguments)
    assert refused.exit_code != 0
    assert "train a renderer first" in " ".join(refused.output.split())
    small = PIRenderSettings(descriptor=8, widest=8, warp_width=4, edit_width=4)
    own = tmp_path / "renderers" / "trained"
    save(own, PIRenderNet(small).state_dict(), small, "open_head", 64, {}, [])
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    inside = models_folder(tmp_path / "served")
    settings = read_settings(inside / "params.yaml")
    load_renderer("pirender", settings, 64)
    digests = file_digests(inside, settings)
    assert digests == file_digests(models, read_settings(file))
    assert {"params.yaml", "renderers/trained/model.safetensors"} < digests.keys()
    mlflow.pyfunc.load_model(str(tmp_path / "served"))
    (inside / "renderers/trained/model.safetensors").write_bytes(b"cut")
    with pytest.raises(PIRenderError, match="cannot be read"):
        mlflow.pyfunc.load_model(str(tmp_path / "served"))


def test_nothing_in_it_is_pickled(run: Path) -> None:
    files = [path for path in (run / "served").rglob("*") if path.is_file()]
    assert not [path for path in files if path.suffix in {".pkl", ".pickle", ".pt", ".pth"}]
    assert (run / "served/MLmodel").is_file()


def test_it_predicts_what_animate_makes(run: Path, expected: Path) -> None:
    model = mlflow.pyfunc.load_model(str(run / "served"))
    rows = pd.DataFrame([{"image": (run / "photo.png").read_bytes(), "audio": sentence()}])
    [row] = model.predict(rows, params=WISHES).to_dict("records")
    assert base64.b64decode(row["video"]) == expected.read_bytes()
    assert json.loads(row["mark"])["digital_source_type"].endswith("trainedAlgorithmicMedia")
    assert row["text"] == boats().text
    assert "pocketsphinx" in row["notices"]
    with pytest.raises(AnimationError, match=r"row 0: .*is no photo that can be read"):
        model.predict(pd.DataFrame([{"image": b"nothing", "audio": b"nothing"}]))


def test_mlflow_serves_it(run: Path, expected: Path, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = (tmp_path / "log").open("w")
    child = subprocess.Popen(
        [
            *(sys.executable, "-m", "mlflow", "models", "serve", "-m", str(run / "served")),
            *("--env-manager", "local", "-h", "127.0.0.1", "-p", str(port), "-w", "1"),
        ],
        cwd=tmp_path,
        env=os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        stdout=log,
        stderr=log,
        start_new_session=True,
    )
    try:
        address = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + 240
        while True:
            with contextlib.suppress(httpx2.HTTPError):
                if httpx2.get(f"{address}/ping").status_code == 200:
                    break
            assert child.poll() is None, (tmp_path / "log").read_text()
            assert time.monotonic() < deadline, (tmp_path / "log").read_text()
            time.sleep(0.3)
        files = {"image": (run / "photo.png").read_bytes(), "audio": sentence()}
        record = {name: base64.b64encode(content).decode() for name, content in files.items()}
        answer = httpx2.post(
            f"{address}/invocations",
            json={"dataframe_records": [record], "params": WISHES},
            timeout=240,
        )
        assert answer.status_code == 200, answer.text[:2000]
        [row] = answer.json()["predictions"]
        (tmp_path / "got.mp4").write_bytes(base64.b64decode(row["video"]))
        assert np.array_equal(read_video(tmp_path / "got.mp4"), read_video(expected))
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait(timeout=10)
        log.close()


def test_exports_that_cannot_be(run: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["export", str(run / "served")])
    assert result.exit_code == 1
    assert "is there already" in result.output
    result = CliRunner().invoke(app, ["export", str(tmp_path / "out"), "--models", str(tmp_path)])
    assert result.exit_code == 1
    damaged = tmp_path / "damaged"
    damaged.mkdir()
    for content, message in (
        ("flavors: {}", "is an MLflow model without the motion models"),
        (
            "flavors: {python_function: {artifacts: {models: {path: ../..}}}}",
            "says that the models lie in ../.., which is no folder of",
        ),
    ):
        (damaged / "MLmodel").write_text(content)
        with pytest.raises(AnimationError) as raised:
            animate(photo(), sentence(), tmp_path / "a.mp4", models=damaged)
        assert message in str(raised.value)
