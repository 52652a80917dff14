"""Routes of the study's server: the page, and for each rater the questions one after the other."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from dimitra.study.ledger import Ledger
from dimitra.study.plan import Side
from dimitra.study.rater import Current, Rater
from dimitra.study.study import VIDEOS, Study, Video
from dimitra.web.guard import Guard, RateLimit
from dimitra.web.intake import read_json
from dimitra.web.page import page_routes
from dimitra.web.refusal import Refusal, respond

PAGE = Path(__file__).parent / "page"
MAX_JSON_BYTES = 1000
MARGIN_S = 0.25
"""Clocks and decoders differ: an answer may come so much before the videos' end."""
_TOKEN_LENGTH = 32
_T = TypeVar("_T", bound=BaseModel)


class _Agreement(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    agree: Literal[True]


class _Choice(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    position: Annotated[int, Field(ge=1)]
    choice: Literal["left", "right"]


class _Start(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    position: Annotated[int, Field(ge=1)]


def _read(model: type[_T], content: Any) -> _T:
    try:
        return model.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the request"
        raise Refusal(400, f"{where}: {first['msg']}") from None


class _Desk:
    """What the routes ask: who is there, and what is he to be shown."""

    def __init__(self, folder: Path, study: Study, ledger: Ledger, wrong: RateLimit) -> None:
        self.folder, self.study, self.ledger, self._wrong = folder, study, ledger, wrong

    def rater(self, request: Request) -> Rater:
        """The rater whose token is in the path.

        Raises:
            Refusal: nobody has it, or this client has tried too many.
        """
        token = request.path_params["token"]
        rater = self.ledger.rater(token) if len(token) == _TOKEN_LENGTH else None
        if rater is None:
            if not self._wrong.allows(request.client.host if request.client else ""):
                raise Refusal(429, "too many links that are not known; wait a minute")
            raise Refusal(404, "this link is not known; open the one that you were given")
        return rater

    def current(self, rater: Rater, position: int) -> Current:
        """The rater's question, if it is the one at ``position``.

        Raises:
            Refusal: consent is missing or withdrawn, there is no such question, or another is due.
        """
        if rater.state != "agreed":
            raise Refusal(403, "the consent comes first" if rater.state == "invited" else _LEFT)
        if position > rater.total:
            raise Refusal(404, f"there is no question {position}; there are {rater.total}")
        current = self.ledger.current(rater.number)
        if current is None or current.position != position:
            due = "all are answered" if current is None else f"question {current.position} is next"
            raise Refusal(409, f"question {position} cannot be asked here: {due}; reload the page")
        return current

    def videos(self, current: Current) -> dict[Side, Video]:
        """The two videos by their sides."""
        pair = self.study.pairs[current.pair]
        first, second = self.study.videos[pair.first], self.study.videos[pair.second]
        if current.first == "left":
            return {"left": first, "right": second}
        return {"left": second, "right": first}

    def lasts(self, current: Current) -> float:
        """Seconds until both videos have played."""
        return max(video.duration_s for video in self.videos(current).values())

    def view(self, rater: Rater) -> dict[str, Any]:
        """All that the page shows; nothing in it tells the methods apart."""
        about = {
            "question": self.study.question,
            "consent": self.study.consent,
            "state": rater.state,
            "done": rater.done,
            "total": rater.total,
        }
        current = self.ledger.current(rater.number) if rater.state == "agreed" else None
        if current is None:
            return about
        # The clip's sound is the same for both; two at once would echo.
        sound = "left" if self.videos(current)["left"].sound else "right"
        return about | {"position": current.position, "sound": sound}


_LEFT = "you have withdrawn, and your answers are deleted"


def make_app(
    folder: Path,
    study: Study,
    ledger: Ledger,
    *,
    names: Collection[str] = (),
    rate: RateLimit | None = None,
    wrong: RateLimit | None = None,
) -> Starlette:
    """The application.

    Args:
        folder: of the study.
        study: that lies there.
        ledger: its answers.
        names: host names beside ``localhost`` and addresses.
        rate: of a client's changes; by default 600 a minute, since a whole lab may share one
            address. A rater's own are bounded by the videos' length.
        wrong: of unknown tokens from a client; by default 30 a minute.
    """
    desk = _Desk(folder, study, ledger, wrong or RateLimit(30, 60.0))

    async def own(request: Request) -> Response:
        rater = desk.rater(request)
        if request.method == "DELETE":
            ledger.withdraw(rater.number)
            rater = desk.rater(request)
        return JSONResponse(desk.view(rater))

    async def consent(request: Request) -> Response:
        rater = desk.rater(request)
        _read(_Agreement, await read_json(request, MAX_JSON_BYTES))
        if rater.state == "withdrawn":
            raise Refusal(403, _LEFT)
        ledger.agree(rater.number)
        return JSONResponse(desk.view(desk.rater(request)))

    async def start(request: Request) -> Response:
        rater = desk.rater(request)
        wanted = _read(_Start, await read_json(request, MAX_JSON_BYTES))
        current = desk.current(rater, wanted.position)
        ledger.start(rater.number, current.position)
        return Response(status_code=204)

    async def answer(request: Request) -> Response:
        wanted = _read(_Choice, await read_json(request, MAX_JSON_BYTES))
        # After the body has come: no other answer can come in between.
        rater = desk.rater(request)
        current = desk.current(rater, wanted.position)
        seconds = 0.0 if current.started_s is None else ledger.since(current.started_s)
        if seconds < desk.lasts(current) - MARGIN_S:
            raise Refusal(425, "watch both videos to their end before you answer")
        if not ledger.answer(rater.number, current, wanted.choice, seconds):
            raise Refusal(409, f"question {wanted.position} is answered already; reload the page")
        return JSONResponse(desk.view(desk.rater(request)))

    async def video(request: Request) -> Response:
        rater = desk.rater(request)
        current = desk.current(rater, request.path_params["position"])
        sides = desk.videos(current)
        side = request.path_params["side"]
        if side not in sides:
            raise Refusal(404, "a video is left or right")
        shown = sides[side]
        return FileResponse(desk.folder / VIDEOS / shown.file, media_type=shown.media_type)

    route = "/api/raters/{token}"
    return Starlette(
        routes=[
            *page_routes(PAGE),
            Route(route, own, methods=["GET", "DELETE"]),
            Route(route + "/consent", consent, methods=["POST"]),
            Route(route + "/starts", start, methods=["POST"]),
            Route(route + "/answers", answer, methods=["POST"]),
            Route(route + "/videos/{position:int}/{side}", video),
        ],
        middleware=[Middleware(Guard, names=names, rate=rate or RateLimit(600, 60.0))],
        exception_handlers={Refusal: respond},
    )
