"""The protocol: what is refused, and that a job's files come and go."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from PIL import Image
from starlette.testclient import TestClient
from typer.testing import CliRunner

from dimitra.cli import app as command
from dimitra.serve.app import make_app
from dimitra.serve.studio import MAX_UPLOADS, MAX_WAITING, Equipment, Studio
from dimitra.web.guard import RateLimit
from tests.animation.toy import photo, run_folder, sentence
from tests.serve.house import served
from tests.speech.signals import boats

BYTES = {"Content-Type": "application/octet-stream"}
ADDRESS = "http://127.0.0.1:8420"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_folder(tmp_path_factory.mktemp("run"))


@pytest.fixture
def studio(models: Path, tmp_path: Path) -> Studio:
    (tmp_path / "kept").mkdir()
    return Studio(tmp_path / "kept", Equipment(models))


@pytest.fixture
def client(studio: Studio) -> Iterator[TestClient]:
    app = make_app(studio, max_upload_bytes=1_000_000, rate=RateLimit(100, 60.0))
    with TestClient(app, base_url=ADDRESS) as client:
        yield client


def send(client: TestClient, name: str, content: bytes) -> str:
    answer = client.post("/api/uploads", params={"name": name}, content=content, headers=BYTES)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["token"])


def order(client: TestClient, image: str, audio: str, **wishes: object) -> Any:
    return client.post("/api/jobs", json={"image": image, "audio": audio, "wishes": wishes})


def picture(folder: Path) -> bytes:
    Image.fromarray(photo()).save(folder / "photo.png")
    return (folder / "photo.png").read_bytes()


def ended(client: TestClient, token: str) -> dict[str, Any]:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        job: dict[str, Any] = client.get(f"/api/jobs/{token}").json()
        if job["state"] in ("done", "failed", "cancelled"):
            return job
        time.sleep(0.1)
    raise AssertionError(job)


def files(studio: Studio) -> list[str]:
    kept = studio._folder
    return sorted(str(path.relative_to(kept)) for path in kept.rglob("*") if path.is_file())


def test_the_page_and_its_headers(client: TestClient) -> None:
    for path, kind in (
        ("/", "text/html"),
        ("/page.js", "text/javascript"),
        ("/page.css", "css"),
        ("/base.css", "css"),
    ):
        answer = client.get(path)
        assert answer.status_code == 200
        assert kind in answer.headers["content-type"]
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"
        assert "access-control-allow-origin" not in answer.headers
        assert "http" not in answer.text.replace("http://www.w3.org/2000/svg", "").replace(
            "https)", ""
        )


@pytest.mark.parametrize(
    "path",
    ["/../app.py", "/%2e%2e/app.py", "/page/../../app.py", "/..%2fapp.py", "//etc/passwd", "/x"],
)
def test_only_the_page_is_given_out(client: TestClient, path: str) -> None:
    assert client.get(path).status_code == 404


def test_other_hosts_and_pages_are_refused(client: TestClient) -> None:
    for host in ("evil.example", "evil.example:8420", "127.0.0.1.evil.example"):
        answer = client.get("/", headers={"Host": host})
        assert answer.status_code == 421
        assert "open the address that it printed" in answer.json()["error"]
    for headers in (
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://["},
        {"Origin": "http://127.0.0.1:9"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ):
        answer = client.post("/api/uploads", content=b"x", headers=BYTES | headers)
        assert answer.status_code == 403, headers
    good = {"Origin": ADDRESS, "Sec-Fetch-Site": "same-origin"}
    assert client.post("/api/uploads", content=b"x", headers=BYTES | good).status_code == 201


def test_uploads_are_bounded(client: TestClient, studio: Studio) -> None:
    def pieces() -> Iterator[bytes]:
        yield from (bytes(100_000) for _ in range(11))

    for content in (bytes(1_000_001), pieces()):
        answer = client.post("/api/uploads", content=content, headers=BYTES)
        assert answer.status_code == 413
        assert "the limit is 1000000; make it smaller" in answer.json()["error"]
    assert client.post("/api/uploads", content=b"", headers=BYTES).status_code == 400
    for kind in ("text/plain", "multipart/form-data; boundary=x", ""):
        answer = client.post("/api/uploads", content=b"x", headers={"Content-Type": kind})
        assert answer.status_code == 415
    assert not files(studio)
    send(client, "../../up.png", b"x")
    [kept] = files(studio)
    assert kept.endswith("/up.png")
    for _ in range(MAX_UPLOADS - 1):
        send(client, "a", b"x")
    assert client.post("/api/uploads", content=b"x", headers=BYTES).status_code == 503


def test_too_many_requests(studio: Studio) -> None:
    with TestClient(make_app(studio, rate=RateLimit(2, 60.0)), base_url=ADDRESS) as client:
        codes = [
            client.post("/api/uploads", content=b"x", headers=BYTES).status_code for _ in range(3)
        ]
        assert codes == [201, 201, 429]
        assert client.get("/").status_code == 200


def test_orders_are_checked(client: TestClient) -> None:
    token = send(client, "a", b"x")
    for wishes, message in (
        ({"size": "64"}, "size: Input should be a valid integer"),
        ({"size": 1e9}, "size: Input should be"),
        ({"samples": 99}, "samples: Input should be less than or equal to 4"),
        ({"expression_scale": -1}, "expression_scale: Input should be greater"),
        ({"head_pose": "yes"}, "head_pose: Input should be a valid boolean"),
        ({"seed": -1}, "seed: Input should be greater"),
        ({"transcript": "a" * 20_001}, "transcript: String should have at most 20000"),
        ({"models": "/etc"}, "models: Extra inputs are not permitted"),
    ):
        answer = order(client, token, token, **wishes)
        assert answer.status_code == 422, wishes
        assert message in answer.json()["error"]
    for unknown in ("", "../..", token[:-1]):
        answer = order(client, unknown, token)
        assert answer.status_code == 404
        assert "the photo is not here any more" in answer.json()["error"]
    kind = {"Content-Type": "application/json"}
    for body, code in (
        (b"{", 400),
        (b"[" * 100_000, 400),
        (b"[]", 422),
        (b"\xff", 400),
        (b"1" * 200_001, 413),
    ):
        assert client.post("/api/jobs", content=body, headers=kind).status_code == code
    assert client.post("/api/jobs", data={"image": token}).status_code == 415
    for path in ("/api/jobs/none", "/api/jobs/none/videos/1", "/api/jobs/none/curves/1"):
        assert client.get(path).status_code == 404
    assert client.delete("/api/jobs/none").status_code == 404


def test_a_job_from_upload_to_removal(client: TestClient, studio: Studio, tmp_path: Path) -> None:
    image, audio = send(client, "photo.png", picture(tmp_path)), send(client, "a b.wav", sentence())
    token = order(client, image, audio, size=64, samples=2, transcript=boats().text).json()["token"]
    job = ended(client, token)
    assert (job["state"], job["videos"], job["text"]) == ("done", 2, boats().text), job
    assert any("pocketsphinx" in notice for notice in job["notices"])
    video = client.get(f"/api/jobs/{token}/videos/2")
    assert video.headers["content-type"] == "video/mp4"
    assert video.content[4:8] == b"ftyp"
    part = client.get(f"/api/jobs/{token}/videos/2", headers={"Range": "bytes=4-7"})
    assert (part.status_code, part.content) == (206, b"ftyp")
    kept = client.get(f"/api/jobs/{token}/videos/2?download")
    assert "attachment" in kept.headers["content-disposition"]
    assert "a%20b-2.mp4" in kept.headers["content-disposition"]
    curves = client.get(f"/api/jobs/{token}/curves/1").json()
    assert {len(curves[name]) for name in ("mouth", "eyes", "pitch", "yaw", "roll")} == {77}
    for number in (0, 3):
        assert client.get(f"/api/jobs/{token}/videos/{number}").status_code == 404

    # The worker dies, as of a crash: that job fails with a reason, the next one works.
    assert studio._worker is not None
    token = order(client, image, audio, size=1024).json()["token"]
    while client.get(f"/api/jobs/{token}").json()["state"] == "waiting":
        time.sleep(0.05)
    os.killpg(studio._worker.pid, signal.SIGKILL)
    assert "ended (signal 9)" in ended(client, token)["error"]
    silent = send(client, "nothing.wav", b"RIFF")
    bad = ended(client, order(client, image, silent).json()["token"])
    assert bad["state"] == "failed"
    assert "nothing.wav" in bad["error"]

    studio._keep_s = 0.0
    studio.sweep()
    assert client.get(f"/api/jobs/{token}").status_code == 404
    assert not [name for name in files(studio) if not name.startswith("scratch")]


def test_the_queue_is_bounded_and_can_be_left(client: TestClient, tmp_path: Path) -> None:
    image, audio = send(client, "photo.png", picture(tmp_path)), send(client, "a.wav", sentence())
    tokens = [order(client, image, audio).json()["token"] for _ in range(MAX_WAITING)]
    full = order(client, image, audio)
    assert full.status_code == 503
    assert f"{MAX_WAITING} jobs wait already" in full.json()["error"]
    assert client.get(f"/api/jobs/{tokens[3]}").json()["ahead"] == 3
    for token in reversed(tokens):
        assert client.delete(f"/api/jobs/{token}").json()["state"] == "cancelled"
    assert order(client, image, audio).status_code == 202


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_server_cleans_up(models: Path, tmp_path: Path, sent: signal.Signals) -> None:
    import httpx2

    with served(models, tmp_path) as (address, child):
        image = httpx2.post(f"{address}api/uploads", content=picture(tmp_path), headers=BYTES)
        audio = httpx2.post(f"{address}api/uploads", content=sentence(), headers=BYTES)
        wanted = {"image": image.json()["token"], "audio": audio.json()["token"]}
        token = httpx2.post(f"{address}api/jobs", json=wanted).json()["token"]
        while httpx2.get(f"{address}api/jobs/{token}").json()["step"] == "":
            time.sleep(0.1)
        child.send_signal(sent)
        child.wait(timeout=30)
    assert child.returncode == 0
    assert [path.name for path in tmp_path.iterdir()] == ["photo.png"]


def test_no_worker_outlives_a_server_that_is_killed(models: Path, tmp_path: Path) -> None:
    import httpx2
    import psutil

    with served(models, tmp_path) as (address, child):
        image = httpx2.post(f"{address}api/uploads", content=picture(tmp_path), headers=BYTES)
        audio = httpx2.post(f"{address}api/uploads", content=sentence(), headers=BYTES)
        wanted = {"image": image.json()["token"], "audio": audio.json()["token"]}
        token = httpx2.post(f"{address}api/jobs", json=wanted).json()["token"]
        while httpx2.get(f"{address}api/jobs/{token}").json()["step"] == "":
            time.sleep(0.1)
        [worker] = [
            process
            for process in psutil.Process(child.pid).children()
            if "dimitra.serve.worker" in process.cmdline()
        ]
        child.kill()
        worker.wait(timeout=20)


def test_a_server_that_others_can_reach_says_so(models: Path, tmp_path: Path) -> None:
    said: list[str] = []
    with served(models, tmp_path, "--host", "0.0.0.0", said=said):  # noqa: S104
        assert "0.0.0.0 can be reached from other machines" in "".join(said)
    said.clear()
    with served(models, tmp_path, said=said):
        assert "warning" not in "".join(said)


def test_a_server_that_cannot_start(models: Path, tmp_path: Path) -> None:
    for options, message in (
        (["--models", str(tmp_path)], "no trained models lips"),
        (["--models", str(models), "--port", "70000"], "port 70000; ports go from"),
        (["--models", str(models), "--c2pa-key", "a"], "needs both --c2pa-key and"),
    ):
        result = CliRunner().invoke(command, ["serve", *options])
        assert result.exit_code == 1
        assert message in result.output


@pytest.mark.parametrize(
    ("render", "message"),
    [
        ({"renderer": "pirender", "weights": "trained"}, "renderers/trained.*train_renderer"),
        ({"renderer": "pirender", "weights": None}, "pirender draws the face model bfm"),
        ({"size": 255}, "a size of 255 pixels"),
        pytest.param(
            {"device": "cuda"},
            r"torch .* sees no GPU; use cpu \(render.device\)",
            marks=pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU"),
        ),
    ],
)
def test_a_renderer_that_would_fail_is_told_before_the_page_opens(
    tmp_path: Path, render: dict[str, object], message: str
) -> None:
    models = run_folder(tmp_path)
    values = yaml.safe_load((tmp_path / "params.yaml").read_text())
    values["render"] |= render
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(values))
    result = CliRunner().invoke(command, ["serve", "--models", str(models), "--port", "0"])
    assert result.exit_code == 1
    assert re.search(message, " ".join(result.output.split()))
