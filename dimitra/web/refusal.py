"""A request that is refused, with a sentence for the person who made it."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse


class Refusal(Exception):  # noqa: N818 - a request, not the program, is at fault
    """Becomes the response ``{"error": message}``.

    Attributes:
        status: of HTTP.
        message: what is wrong, the limit, and what to do.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


async def respond(_: Request, error: Exception) -> JSONResponse:
    """The response of a ``Refusal``, for Starlette's ``exception_handlers``."""
    assert isinstance(error, Refusal)  # noqa: S101 - registered for this class
    return JSONResponse({"error": error.message}, error.status)
