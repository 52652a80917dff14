"""The address of a server, and how long it waits for a request."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from dimitra.web import server
from dimitra.web.server import AddressError, address, bind, is_loopback, make_server


def test_addresses() -> None:
    with bind("127.0.0.1", 0) as one:
        port = one.getsockname()[1]
        assert address(one) == f"http://127.0.0.1:{port}/"
        assert is_loopback(one)
        with pytest.raises(AddressError, match=rf"127.0.0.1 port {port} cannot be used: .*--port"):
            bind("127.0.0.1", port)
    with bind("0.0.0.0", 0) as all_of_them:  # noqa: S104 - that it is told apart is the test
        assert not is_loopback(all_of_them)
        assert "0.0.0.0" not in address(all_of_them)  # noqa: S104
    with pytest.raises(AddressError, match="port 70000; ports go from 0"):
        bind("127.0.0.1", 70000)
    with pytest.raises(AddressError, match="no-such-host.invalid port 1 cannot be used"):
        bind("no-such-host.invalid", 1)


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Of a server that waits 0.4 s for headers, and takes three connections."""
    monkeypatch.setattr(server, "HEADERS_TIMEOUT_S", 0.4)

    async def length(request: Request) -> Response:
        return PlainTextResponse(str(len(await request.body())))

    with bind("127.0.0.1", 0) as bound:
        running = make_server(Starlette(routes=[Route("/", length, methods=["POST"])]), 3)
        thread = threading.Thread(target=running.run, args=([bound],))
        thread.start()
        yield bound.getsockname()[1]
        running.should_exit = True
        thread.join(timeout=10)
        assert not thread.is_alive()


HEAD = b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: 2\r\n\r\n"


def ended(connection: socket.socket, trickle: bytes = b"") -> float:
    """Seconds until the server closes a connection on which a byte comes every 0.1 s."""
    start = time.monotonic()
    connection.settimeout(0.1)
    while time.monotonic() - start < 5.0:
        try:
            if connection.recv(1000) == b"":
                return time.monotonic() - start
        except TimeoutError:
            if trickle:
                connection.sendall(trickle[:1])
                trickle = trickle[1:]
        except ConnectionError:
            return time.monotonic() - start
    raise AssertionError("the server waits on")


@pytest.mark.parametrize("sent", [b"", HEAD[:20]], ids=["nothing", "a part"])
def test_who_sends_no_headers_is_let_go(port: int, sent: bytes) -> None:
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(sent)
        assert 0.2 < ended(connection, HEAD[len(sent) : -4] if sent else b"") < 3.0


def test_a_slow_body_is_waited_for_and_a_late_second_request_is_not(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(HEAD)
        time.sleep(0.8)
        connection.sendall(b"ok")
        connection.settimeout(5.0)
        answer = b""
        while not answer.endswith(b"\r\n\r\n2"):
            part = connection.recv(1000)
            assert part, "the server closes before its answer"
            answer += part
        connection.sendall(HEAD[:20])
        assert ended(connection) < 3.0


def test_half_sent_requests_do_not_keep_others_out(port: int) -> None:
    held = [socket.create_connection(("127.0.0.1", port)) for _ in range(3)]
    try:
        for connection in held:
            connection.sendall(HEAD[:20])
        for connection in held:
            ended(connection)
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.settimeout(5.0)
            connection.sendall(HEAD + b"ok")
            assert b"200 OK" in connection.recv(1000)
    finally:
        for connection in held:
            connection.close()
