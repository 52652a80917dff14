"""An S3 server of the test's own (moto's, in its own process), and a proxy that spoils connections.

Both listen on 127.0.0.1 alone, on ports that the system chooses, and end with the test.
"""

from __future__ import annotations

import os
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import pytest

_SERVE = """
import sys
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
server.start()
print(server.get_host_and_port()[1], flush=True)
sys.stdin.read()  # ends when the test does
"""
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}
_RESET = struct.pack("ii", 1, 0)
_METHODS = (b"GET ", b"PUT ", b"HEAD ", b"POST ", b"DELETE ")


@contextmanager
def s3_server() -> Iterator[str]:
    """A running server; yields its endpoint."""
    process = subprocess.Popen(
        [sys.executable, "-c", _SERVE],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, **CREDENTIALS},
    )
    assert process.stdout is not None
    try:
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
    finally:
        process.kill()
        process.wait()


def client(endpoint: str) -> Any:
    """boto3's client: another library's view of the same objects."""
    import boto3

    return boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id=CREDENTIALS["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
    )


def make_bucket(endpoint: str, name: str) -> str:
    """Make a bucket, empty if it was there; returns its name."""
    boto = client(endpoint)
    boto.create_bucket(Bucket=name)
    for found in boto.list_objects_v2(Bucket=name).get("Contents", []):
        boto.delete_object(Bucket=name, Key=found["Key"])
    for left in boto.list_multipart_uploads(Bucket=name).get("Uploads", []):
        boto.abort_multipart_upload(Bucket=name, Key=left["Key"], UploadId=left["UploadId"])
    return name


def use(monkeypatch: pytest.MonkeyPatch, endpoint: str) -> None:
    """Point the environment at an endpoint."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    for key, value in CREDENTIALS.items():
        monkeypatch.setenv(key, value)
    for key in ("AWS_ENDPOINT_URL_S3", "AWS_REGION", "AWS_PROFILE", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(key, raising=False)


@dataclass
class Fault:
    """What happens to a request whose first line holds ``match``.

    Attributes:
        match: ``GET /bucket/key``, or ``partNumber=2``.
        times: how many of them are spoilt.
        after_bytes: of the request (``up``), or of the answer, that pass before.
        up: whether the request's bytes are spoilt, or the answer's.
        kind: ``drop`` resets the connection, ``stall`` passes nothing more, ``pause`` waits
            ``pause_s`` and goes on, ``answer`` gives ``answer`` in place of the server's.
        pause_s: seconds.
        answer: raw HTTP.
        then: called when it happens.
    """

    match: str
    times: int = 1
    after_bytes: int = 0
    up: bool = False
    kind: str = "drop"
    pause_s: float = 0.0
    answer: bytes = b""
    then: Callable[[], None] = lambda: None


@dataclass
class Proxy:
    """Forwards to a server, and spoils what ``fault`` says.

    Attributes:
        target: endpoint of the server.
        fault: what to spoil; None: nothing.
        requests: first lines of the requests that came.
        spoilt: how many were spoilt.
    """

    target: str
    fault: Fault | None = None
    requests: list[str] = field(default_factory=list)
    spoilt: int = 0
    closed: threading.Event = field(default_factory=threading.Event)
    happened: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.endpoint = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._lock = threading.Lock()
        threading.Thread(target=self._accept, daemon=True).start()

    def set(self, fault: Fault | None) -> None:
        """Spoil something else from here on."""
        self.fault, self.spoilt = fault, 0
        self.requests.clear()
        self.happened.clear()

    def close(self) -> None:
        """Accept no more, and let go of what is stalled."""
        self.closed.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while not self.closed.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _chosen(self, line: str) -> Fault | None:
        with self._lock:
            self.requests.append(line)
            fault = self.fault
            if fault is None or fault.match not in line or self.spoilt >= fault.times:
                return None
            self.spoilt += 1
            return fault

    def _serve(self, near: socket.socket) -> None:
        url = urlsplit(self.target)
        far = socket.create_connection((url.hostname or "", url.port or 0))
        state: dict[str, Any] = {"fault": None, "bytes": 0}

        def spoil(fault: Fault, data: bytes, onward: socket.socket) -> bool:
            """Whether the connection is to end."""
            state["bytes"] += len(data)
            if state["bytes"] <= fault.after_bytes and fault.kind != "answer":
                return False
            state["fault"] = None
            fault.then()
            self.happened.set()
            if fault.kind == "stall":
                self.closed.wait(60)
            elif fault.kind == "pause":
                time.sleep(fault.pause_s)
                return False
            elif fault.kind == "answer":
                near.sendall(fault.answer)
            else:
                onward.sendall(data[: len(data) // 2])
                near.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            return True

        def pump(source: socket.socket, sink: socket.socket, up: bool) -> None:
            with suppress(OSError):
                while data := source.recv(1 << 16):
                    if up and data.startswith(_METHODS):
                        line = data.split(b"\r\n", 1)[0].decode()
                        state["fault"], state["bytes"] = self._chosen(line), 0
                    fault = state["fault"]
                    mine = fault is not None and up == (fault.up or fault.kind == "answer")
                    if mine and spoil(fault, data, sink):
                        break
                    sink.sendall(data)
            for end in (near, far):
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)

        upward = threading.Thread(target=pump, args=(near, far, True), daemon=True)
        upward.start()
        pump(far, near, False)
        upward.join()
        near.close()
        far.close()
