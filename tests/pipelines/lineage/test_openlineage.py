"""Events reach a file and a server; a server that is away costs a warning."""

import json
import logging
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from pipelines.lineage.openlineage import told
from pipelines.lineage.stages import Stage
from tests.lineage.records import CROP

STAGE = Stage("crop", CROP.command, ("data/manifest",), ("data/crops",), (), ())


class Received(HTTPServer):
    """Keeps what it is sent."""

    def __init__(self, status: int) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.status = status
        self.requests: list[tuple[str, str | None, dict[str, Any]]] = []


class Handler(BaseHTTPRequestHandler):
    server: Received

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        key = self.headers.get("Authorization")
        self.server.requests.append((self.path, key, json.loads(body)))
        self.send_response(self.server.status)
        self.end_headers()

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def server(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Received]:
    with Received(getattr(request, "param", 201)) as served:
        thread = threading.Thread(target=served.serve_forever)
        thread.start()
        monkeypatch.setenv("OPENLINEAGE_URL", f"http://127.0.0.1:{served.server_port}")
        monkeypatch.setenv("OPENLINEAGE_API_KEY", "key")
        yield served
        served.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DIMITRA_CACHE_DIR", str(tmp_path))
    monkeypatch.setenv("DIMITRA_MLFLOW", "0")
    return tmp_path


def events(cache: Path) -> list[dict[str, Any]]:
    lines = (cache / "openlineage" / "crop.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def test_a_server_gets_what_is_in_the_file(cache: Path, server: Received) -> None:
    with told(STAGE) as run:
        run.finished(CROP)
    written = events(cache)
    assert [body for _, _, body in server.requests] == written
    assert {(path, key) for path, key, _ in server.requests} == {("/api/v1/lineage", "Bearer key")}
    start, complete = written
    assert start["inputs"][0]["facets"] == {}
    assert complete["outputs"][0]["facets"]["version"]["datasetVersion"] == "3" * 64
    assert complete["outputs"][0]["outputFacets"]["outputStatistics"]["size"] == 20
    assert complete["job"]["facets"]["dimitra_code"]["commit"] == "c" * 40
    assert complete["run"]["facets"]["dimitra_params"]["values"] == {"crop.size": 256}


@pytest.mark.parametrize("server", [500], indirect=True)
def test_a_server_that_refuses_costs_one_warning(
    cache: Path, server: Received, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING), told(STAGE) as run:
        run.finished(CROP)
    assert len(server.requests) == 2
    assert len(caplog.records) == 1
    assert "answered 500" in caplog.text
    assert len(events(cache)) == 2


def test_an_address_of_another_kind_is_named(
    cache: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OPENLINEAGE_URL", "file:///etc/passwd")
    with caplog.at_level(logging.WARNING), told(STAGE) as run:
        run.finished(CROP)
    assert "an http or https address is needed" in caplog.text
    assert len(events(cache)) == 2


def test_a_stage_that_is_interrupted_is_aborted(cache: Path) -> None:
    with pytest.raises(KeyboardInterrupt), told(STAGE):
        raise KeyboardInterrupt
    start, failed = events(cache)
    assert failed["eventType"] == "ABORT"
    assert failed["run"]["runId"] == start["run"]["runId"]
    assert failed["run"]["facets"]["errorMessage"]["message"] == "KeyboardInterrupt"
    assert "version" not in failed["outputs"][0]["facets"]
