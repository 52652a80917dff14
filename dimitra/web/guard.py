"""A wall around an application: Host, Origin, rate and headers are checked before any route.

* A page elsewhere can point its own name at 127.0.0.1 (DNS rebinding) and would then be of our
  origin. It always comes with a name in ``Host``: names are refused unless they are allowed;
  addresses cannot be rebound.
* A page elsewhere can send forms here (CSRF): what changes something must come from our own page,
  as ``Origin`` and ``Sec-Fetch-Site`` say. Programs send neither, and no person is logged in.
"""

from __future__ import annotations

import ipaddress
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Collection
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

SAFE_METHODS = frozenset(("GET", "HEAD"))
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
        "media-src 'self' blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "microphone=(self), camera=(), geolocation=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cache-Control": "no-store",
}
_MAX_CLIENTS = 10_000


def host_allowed(host: str, names: Collection[str]) -> bool:
    """Whether a ``Host`` header is an address, ``localhost``, or one of ``names``."""
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return False
    if name == "localhost" or name in names:
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _place(origin: str) -> str | None:
    """Host and port of an ``Origin``; None of what is none."""
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return None


class RateLimit:
    """At most ``count`` requests of a client in any ``seconds``."""

    def __init__(
        self, count: int, seconds: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.count, self.seconds, self._clock = count, seconds, clock
        self._seen: OrderedDict[str, deque[float]] = OrderedDict()

    def allows(self, client: str) -> bool:
        """Whether one more is allowed; it then counts."""
        now = self._clock()
        times = self._seen.setdefault(client, deque())
        self._seen.move_to_end(client)
        while len(self._seen) > _MAX_CLIENTS:
            self._seen.popitem(last=False)
        while times and now - times[0] >= self.seconds:
            times.popleft()
        if len(times) >= self.count:
            return False
        times.append(now)
        return True


class Guard:
    """ASGI middleware: refuses what is not for us, and sets the security headers.

    Args:
        app: what is guarded.
        names: host names, lower case, under which the server is known beside its addresses.
        rate: of requests that change something; reading is not limited.
    """

    def __init__(self, app: ASGIApp, names: Collection[str], rate: RateLimit) -> None:
        self._app, self._names, self._rate = app, names, rate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        refused = (404, "no such thing") if scope["type"] != "http" else self._refused(scope)
        if refused is None:
            await self._app(scope, receive, guarded)
        else:
            status, message = refused
            await JSONResponse({"error": message}, status)(scope, receive, guarded)

    def _refused(self, scope: Scope) -> tuple[int, str] | None:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if len(headers.getlist("host")) != 1 or not host_allowed(host, self._names):
            return 421, f"this server is not {host!r}; open the address that it printed"
        if scope["method"] in SAFE_METHODS:
            return None
        origin = headers.get("origin")
        foreign = origin is not None and _place(origin) != host
        if foreign or headers.get("sec-fetch-site", "same-origin") != "same-origin":
            return 403, "this request comes from another page; use the page of this server"
        client = scope["client"][0] if scope.get("client") else ""
        if not self._rate.allows(client):
            return 429, (
                f"more than {self._rate.count} requests in {self._rate.seconds:g} s; wait a moment"
            )
        return None
