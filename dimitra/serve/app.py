"""Routes: the page, uploads, jobs, videos and curves."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Collection
from pathlib import Path

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from dimitra.serve.studio import Studio
from dimitra.serve.wishes import read_order
from dimitra.web.guard import Guard, RateLimit
from dimitra.web.intake import read_file, read_json, safe_name
from dimitra.web.page import page_routes
from dimitra.web.refusal import Refusal, respond

PAGE = Path(__file__).parent / "page"
MAX_UPLOAD_BYTES = 1_000_000_000
MAX_JSON_BYTES = 200_000


def make_app(
    studio: Studio,
    *,
    names: Collection[str] = (),
    max_upload_bytes: int = MAX_UPLOAD_BYTES,
    rate: RateLimit | None = None,
) -> Starlette:
    """The application.

    Args:
        studio: does the work.
        names: host names beside ``localhost`` and addresses.
        max_upload_bytes: of one file.
        rate: of uploads, orders and cancellations; by default 120 a minute.
    """

    async def upload(request: Request) -> Response:
        token, place = studio.place(safe_name(request.query_params.get("name", ""), "file"))
        try:
            await read_file(request, place, max_upload_bytes)
        except BaseException:
            studio.drop(token)
            raise
        return JSONResponse({"token": token}, 201)

    async def order(request: Request) -> Response:
        wanted = read_order(await read_json(request, MAX_JSON_BYTES))
        image = studio.upload(wanted.image, "photo")
        audio = studio.upload(wanted.audio, "recording")
        return JSONResponse({"token": studio.add(image, audio, wanted.wishes).token}, 202)

    async def job(request: Request) -> Response:
        own = studio.job(request.path_params["token"])
        if request.method == "DELETE":
            await studio.cancel(own)
        content = {
            "state": own.state,
            "ahead": studio.ahead(own),
            "step": own.step,
            "done": own.done,
            "total": own.total,
            "notices": own.notices,
            "error": own.error,
            "videos": len(own.videos),
            "text": own.text,
            "lip_contact": own.lip_contact,
            "name": own.name,
        }
        return JSONResponse(content)

    def result(request: Request) -> tuple[Path, str]:
        own = studio.job(request.path_params["token"])
        given = request.path_params["number"]
        places = [str(place) for place in range(1, len(own.videos) + 1)]
        if given not in places:
            raise Refusal(404, "there is no such video")
        number = int(given)
        stem, suffix = Path(own.name).stem, "" if number == 1 else f"-{number}"
        return own.folder / own.videos[number - 1], f"{stem}{suffix}.mp4"

    async def video(request: Request) -> Response:
        file, name = result(request)
        kept = "download" in request.query_params
        return FileResponse(
            file,
            media_type="video/mp4",
            filename=name,
            content_disposition_type="attachment" if kept else "inline",
        )

    async def curves(request: Request) -> Response:
        file = result(request)[0].with_suffix(".json")
        if not file.is_file():
            raise Refusal(404, "there are no curves of this face model")
        return FileResponse(file, media_type="application/json")

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        await studio.open()
        try:
            yield
        finally:
            await studio.close()

    job_route = "/api/jobs/{token}"
    return Starlette(
        routes=[
            *page_routes(PAGE),
            Route("/api/uploads", upload, methods=["POST"]),
            Route("/api/jobs", order, methods=["POST"]),
            Route(job_route, job, methods=["GET", "DELETE"]),
            Route(job_route + "/videos/{number}", video),
            Route(job_route + "/curves/{number}", curves),
        ],
        middleware=[Middleware(Guard, names=names, rate=rate or RateLimit(120, 60.0))],
        exception_handlers={Refusal: respond},
        lifespan=lifespan,
    )
