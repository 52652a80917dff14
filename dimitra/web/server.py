"""Running an application: the port is taken before anything is printed, given back at the end."""

from __future__ import annotations

import contextlib
import ipaddress
import signal
import socket
import threading
import webbrowser
from collections.abc import Callable

import uvicorn
from starlette.types import ASGIApp

_BACKLOG, _CONNECTIONS = 64, 64


class AddressError(RuntimeError):
    """Host or port cannot be had; says why and what to do."""


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
        connections: at the same time; more are answered with 503. A browser opens about six.
    """
    config = uvicorn.Config(
        app,
        log_level="warning",
        lifespan="on",
        server_header=False,
        proxy_headers=False,
        limit_concurrency=connections,
        timeout_keep_alive=5,
        timeout_graceful_shutdown=2,
    )
    ready()
    if browse:
        threading.Timer(0.5, webbrowser.open, (address(bound),)).start()
    # uvicorn raises the signal again when it has cleaned up; the caller has its own to do.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    signal.signal(signal.SIGHUP, lambda *_: signal.raise_signal(signal.SIGTERM))
    with contextlib.suppress(KeyboardInterrupt):
        uvicorn.Server(config).run([bound])
