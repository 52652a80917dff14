"""The files of a page: its own HTML, script and style, and the style that all pages share."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

SHARED = Path(__file__).parent / "page"


def page_routes(folder: Path) -> list[Route]:
    """Routes of ``index.html`` (at ``/``), ``page.js``, ``page.css``, and the shared ``base.css``.

    Args:
        folder: where a page's own files lie.
    """
    files = {
        "/": (folder / "index.html", "text/html"),
        "/page.js": (folder / "page.js", "text/javascript"),
        "/page.css": (folder / "page.css", "text/css"),
        "/base.css": (SHARED / "base.css", "text/css"),
    }
    return [Route(path, _sender(file, kind)) for path, (file, kind) in files.items()]


def _sender(file: Path, kind: str) -> Callable[[Request], Awaitable[Response]]:
    async def send(_: Request) -> Response:
        return FileResponse(file, media_type=kind)

    return send
