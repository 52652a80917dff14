"""A hub small enough to watch: the endpoints that ``huggingface_hub`` asks for one model."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub:
    """One model at one commit.

    Args:
        repo: ``owner/model``.
        files: path to bytes.
        revisions: names that lead to the commit, beside itself.
        status: of every answer about the model, to refuse; 0 to answer.
    """

    def __init__(self, repo: str, files: dict[str, bytes], revisions: tuple[str, ...]) -> None:
        self.repo = repo
        self.files = files
        self.revisions = (COMMIT, *revisions)
        self.asked: list[str] = []
        self.error: tuple[int, str] | None = None

    def answer(self, path: str) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body."""
        self.asked.append(path)
        path = unquote(path.partition("?")[0])
        if self.error is not None:
            return self.error[0], {"X-Error-Code": self.error[1]}, b"{}"
        if not path.startswith((f"/api/models/{self.repo}/", f"/{self.repo}/resolve/")):
            return 404, {"X-Error-Code": "RepoNotFound"}, b"{}"
        rest = path.split(self.repo + "/", 1)[1].split("/", 2)
        if rest[1] not in self.revisions:
            return 404, {"X-Error-Code": "RevisionNotFound"}, b"{}"
        json_type = {"Content-Type": "application/json"}
        if rest[0] == "revision":
            names = [{"rfilename": name, "size": len(data)} for name, data in self.files.items()]
            info = {"id": self.repo, "modelId": self.repo, "sha": COMMIT, "siblings": names}
            return 200, json_type, json.dumps(info).encode()
        if rest[0] == "tree":
            tree = [
                {"type": "file", "path": name, "size": len(data), "oid": _oid(data)}
                for name, data in self.files.items()
            ]
            return 200, json_type, json.dumps(tree).encode()
        data = self.files[rest[2]]
        return 200, {"ETag": f'"{_oid(data)}"', "X-Repo-Commit": COMMIT}, data


def _oid(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


@contextmanager
def serving(hub: Hub) -> Iterator[str]:
    """Serve ``hub``; yields its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self._answer(body=False)

        def do_GET(self) -> None:
            self._answer(body=True)

        def _answer(self, *, body: bool) -> None:
            status, headers, data = hub.answer(self.path)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            if body:
                self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
