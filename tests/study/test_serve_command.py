"""The real server in a process of its own."""

from __future__ import annotations

import socket
import subprocess
from pathlib import Path

import pytest

from dimitra.study.build import Wishes, build
from dimitra.study.study import load_study
from tests.study.films import folders
from tests.study.house import COMMAND, ROOT, links, served


@pytest.fixture
def study(tmp_path: Path) -> Path:
    films, out = folders(tmp_path / "films", clips=1), tmp_path / "study"
    build(out, films / "ours", {"Sad": films / "sad"}, None, Wishes())
    return out


def test_an_open_host_warns(study: Path) -> None:
    said: list[str] = []
    with served(study, "--host", "0.0.0.0", said=said):  # noqa: S104 - that it warns is the test
        pass
    assert "can be reached from other machines, without encryption" in "".join(said)
    assert "no raters yet: dimitra study invite" in "".join(said)


def test_a_roomful_of_browsers_fits(study: Path) -> None:
    """Forty raters with five connections each, all held open."""
    said: list[str] = []
    with served(study, said=said) as address:
        link = links(study, 1, address)[0]
        assert "warning" not in "".join(said)
        port = int(address.rstrip("/").rpartition(":")[2])
        token = link.partition("#")[2]
        request = f"GET /api/raters/{token} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()
        held = [socket.create_connection(("127.0.0.1", port), timeout=30) for _ in range(200)]
        for one in held:
            one.sendall(request)
        heads = {one.recv(4096).split(b"\r\n")[0] for one in held}
        for one in held:
            one.close()
    assert heads == {b"HTTP/1.1 200 OK"}


def test_a_changed_video_is_not_served(study: Path) -> None:
    video = study / "videos" / load_study(study).videos[0].file
    video.write_bytes(video.read_bytes() + b"x")
    done = subprocess.run(
        [*COMMAND, "serve", str(study), "--port", "0"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "not the file that the study was built with" in " ".join(done.stderr.split())
