"""Running an application: the port is taken before anything is printed, given back at the end."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import signal
import socket
import threading
import webbrowser
from collections.abc import Callable

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

HEADERS_TIMEOUT_S = 10.0
"""A request's headers must be here by then: who sends a part of them holds a connection."""
_BACKLOG, _CONNECTIONS = 64, 64


class AddressError(RuntimeError):
    """Host or port cannot be had; says why and what to do."""


class PromptProtocol(H11Protocol):
    """HTTP/1.1 that closes connections whose next request has not told all its headers in time.

    uvicorn gives the first request of a connection, and one that has begun, any time.
    """

    _late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the clock of the first request."""
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        """Stop the clock where a request is whole; start it where one has begun behind another."""
        super().data_received(data)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clock."""
        self._stop()
        super().connection_lost(exc)

    def _watch(self) -> None:
        if self.cycle is not None and not self.cycle.response_complete:
            self._stop()
        elif self._late is None:
            self._late = self.loop.call_later(HEADERS_TIMEOUT_S, self._close)

    def _close(self) -> None:
        self._late = None
        if self.cycle is None or self.cycle.response_complete:
            self.transport.close()

    def _stop(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None


def bind(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 takes a free one.

    Raises:
        AddressError: the name is unknown, or the port is taken or not allowed.
    """
    if not 0 <= port <= 65535:
        raise AddressError(f"port {port}; ports go from 0 (any that is free) to 65535")
    try:
        family, kind, proto, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        bound = socket.socket(family, kind, proto)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
        bound.listen(_BACKLOG)
    except OSError as error:
        raise AddressError(
            f"{host} port {port} cannot be used: {error.strerror}; choose another with --port, or "
            "--port 0 for any that is free"
        ) from None
    return bound


def is_loopback(bound: socket.socket) -> bool:
    """Whether only this machine can reach it."""
    return ipaddress.ip_address(bound.getsockname()[0].split("%")[0]).is_loopback


def address(bound: socket.socket) -> str:
    """The page's address, for a person."""
    host, port = bound.getsockname()[:2]
    if ipaddress.ip_address(host.split("%")[0]).is_unspecified:
        host = socket.gethostname()
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"


def make_server(app: ASGIApp, connections: int = _CONNECTIONS) -> uvicorn.Server:
    """A server of an application; its lifespan is run.

    Args:
        app: what answers.
        connections: at the same time; more are answered with 503. A browser opens about six.
    """
    config = uvicorn.Config(
        app,
        http=PromptProtocol,
        log_level="warning",
        lifespan="on",
        server_header=False,
        proxy_headers=False,
        limit_concurrency=connections,
        timeout_keep_alive=5,
        timeout_graceful_shutdown=2,
    )
    return uvicorn.Server(config)


def serve(
    app: ASGIApp,
    bound: socket.socket,
    *,
    browse: bool,
    ready: Callable[[], None],
    connections: int = _CONNECTIONS,
) -> None:
    """Answer until Ctrl-C, SIGTERM or a closed terminal; the application's lifespan then cleans up.

    Args:
        app: what answers.
        bound: from ``bind``.
        browse: open the page in the person's browser.
        ready: called before the first request is answered.
        connections: as of ``make_server``.
    """
    server = make_server(app, connections)
    ready()
    if browse:
        threading.Timer(0.5, webbrowser.open, (address(bound),)).start()
    # uvicorn raises the signal again when it has cleaned up; the caller has its own to do.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    signal.signal(signal.SIGHUP, lambda *_: signal.raise_signal(signal.SIGTERM))
    with contextlib.suppress(KeyboardInterrupt):
        server.run([bound])
