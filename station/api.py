"""The station over HTTP: what machines ask for. ``pages`` adds what people look at."""

import asyncio
import json
import shutil
import time
from datetime import datetime
from typing import Annotated, Literal

import psutil
from fastapi import FastAPI, File, Form, HTTPException, Query, Request, UploadFile
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import FileResponse, JSONResponse, PlainTextResponse, StreamingResponse
from starlette.formparsers import MultiPartParser
from starlette.middleware import Middleware

from common.errors import InputError
from inspection.verdict import VERDICTS
from station import pages
from station.guard import Guard
from station.journal import JournalError, epoch_of
from station.service import READY, Busy
from station.store import MIB

MOST_FIELDS, LONGEST = 32, 1000  # of metadata: fields, and characters of each
PATIENCE = 5.0  # seconds that an address of a picture waits until it is drawn
MultiPartParser.spool_max_size = 16 * MIB  # beyond it each block of an upload costs a change of threads
KNOWN = ("rgb", "xyz", "depth", "model", "serial", "name", "check")
Text = Annotated[str | None, Form(max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")]


def make_app(station, token=None, most_bytes=256 * MIB):
    """The FastAPI application of a Station; ``token``, ``most_bytes``: as in ``station.guard.Guard``."""
    app = FastAPI(
        title="M3DM station",
        description="Judges parts: pass, fail, or cannot judge.",
        docs_url=None,  # their pages load scripts from the internet; /docs is our own
        redoc_url=None,
        middleware=[Middleware(Guard, token=token, most_bytes=most_bytes)],
    )

    @app.exception_handler(Busy)
    async def busy(request, error):
        return JSONResponse({"detail": str(error)}, 503, {"Retry-After": str(error.seconds)})

    @app.exception_handler(JournalError)
    async def unwritten(request, error):
        text = "the verdict could not be recorded, so there is none: the journal cannot be written"
        return JSONResponse({"detail": text}, 503, {"Retry-After": "30"})

    @app.exception_handler(InputError)
    async def refused(request, error):
        return JSONResponse({"detail": station.without_folders(error)}, 404)

    def found_part(number):
        found = station.journal.part(number)
        if found is None:
            raise HTTPException(404, "there is no part with this id")
        return found

    @app.post("/judge", tags=["judging"])
    async def judge(
        request: Request,
        rgb: Annotated[UploadFile, File(description="picture: PNG, JPEG, BMP or TIFF")],
        xyz: Annotated[UploadFile | None, File(description="organised cloud, TIFF, metres")] = None,
        depth: Annotated[UploadFile | None, File(description="depth picture, instead of xyz")] = None,
        model: Annotated[str | None, Form(description="recipe; may be left out where there is one")] = None,
        serial: Text = None,
        name: Text = None,
        check: Annotated[bool, Form(description="a master part: counts in no rate")] = False,
    ) -> dict:
        """Judge one part. Further form fields are kept as its metadata. The same files again give the same event."""
        if (xyz is None) == (depth is None):
            raise HTTPException(422, "send xyz or depth, one of them")
        fields = (await request.form()).multi_items()
        metadata = {key: value for key, value in fields if key not in KNOWN and isinstance(value, str)}
        if len(metadata) > MOST_FIELDS or any(len(key) + len(value) > LONGEST for key, value in metadata.items()):
            raise HTTPException(422, f"at most {MOST_FIELDS} further fields of {LONGEST} characters")
        if station.state != READY:
            raise Busy(f"the station is {station.state}", 5)
        station.recipes.get(model)
        uploads = {kind: upload.file for kind, upload in (("rgb", rgb), ("xyz", xyz), ("depth", depth)) if upload}
        facts = {"name": name or rgb.filename, "recipe": model, "serial": serial, "metadata": metadata, "check": check}
        try:
            recording = await run_in_threadpool(station.store.take, uploads, **facts)
        except OSError:
            raise Busy("the upload cannot be stored: the disk may be full", 60) from None
        for upload in uploads.values():
            upload.close()  # its memory, while the part waits
        return await asyncio.wrap_future(station.submit(recording))

    @app.get("/health", tags=["state"])
    async def health():
        """200 once the models are loaded and parts are judged; 503 while loading, stopping, or stuck on a part."""
        told = {"state": station.state, "waiting": station.waiting, "models": station.recipes.names}
        return JSONResponse(told, 200 if station.state == READY else 503)

    @app.get("/models", tags=["state"])
    def models() -> list[dict]:
        """The recipes: which version judges, what it promises, its memory, whether its parts drift."""
        return [
            {
                "model": model.recipe,
                "model_id": model.id,
                "sha256": model.sha256,
                "false_alarm": model.alpha,
                "promise": model.promise,
                "calibration_parts": len(model.scores),
                "memory_bytes": model.memory,
                "drift": {"alarm": list(watch.alarmed), "parts": watch.parts},
            }
            for model, watch in station.judging
        ]

    @app.get("/parts", tags=["journal"])
    def parts(
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
        verdict: Literal[VERDICTS] | None = None,
        model: str | None = None,
        since: Annotated[datetime | None, Query(description="2026-07-31 or 2026-07-31T06:00:00, UTC")] = None,
        search: Annotated[str | None, Query(description="beginning of a serial or name")] = None,
        before: Annotated[int | None, Query(description="only ids below it, to turn pages")] = None,
    ) -> list[dict]:
        """Judged parts, the newest first."""
        start = since and epoch_of(since)
        return [station.answer(e) for e in station.journal.parts(limit, verdict, model, start, search, before)]

    @app.get("/parts/{number}", tags=["journal"])
    def part(number: int) -> dict:
        """One judged part and its newest review."""
        return station.answer(found_part(number))

    @app.get("/parts/{number}/pictures/{name}.jpg", tags=["journal"], response_class=FileResponse)
    async def picture(number: int, name: str):
        """A picture of a part: part (with outlined regions), depth, or normal (a normal part)."""
        event = await run_in_threadpool(found_part, number)
        end = time.monotonic() + PATIENCE
        while (path := station.store.picture(number, name)) is None:
            if name not in station.pictures(event) or time.monotonic() > end:
                raise HTTPException(404, "there is no such picture, or it is not kept any more")
            await asyncio.sleep(0.05)
        return FileResponse(path, media_type="image/jpeg")

    @app.get("/metrics", tags=["state"], response_class=PlainTextResponse)
    def metrics():
        """Counters and gauges as Prometheus reads them."""
        return PlainTextResponse(metrics_text(station), media_type="text/plain; version=0.0.4")

    @app.get("/live", include_in_schema=False)
    async def live():
        return StreamingResponse(_live(station), media_type="text/event-stream")

    pages.add(app, station, token)
    return app


async def _live(station):
    """Server-sent events until the station stops: one after each event of the journal that concerns a page."""
    told, silent = None, 0
    while station.state == READY:
        if told != station.events or silent > 50:  # also now and then, so that what lies between knows it is alive
            told, silent = station.events, 0
            yield f"retry: 2000\ndata: {told}\n\n"
        silent += 1
        await asyncio.sleep(0.3)


def metrics_text(station):
    """Prometheus' text format."""
    quoted = lambda text: json.dumps(text, ensure_ascii=False)  # its escapes are those of Prometheus
    names = station.recipes.names
    counts = {f'{{model={quoted(m)},verdict="{v}"}}': station.counts[m, v] for m in names for v in VERDICTS}
    alarms = {f"{{model={quoted(m.recipe)}}}": int(bool(watch.alarmed)) for m, watch in station.judging}
    told = []
    for name, kind, values in (
        ("parts_total", "counter", counts),
        ("seconds_total", "counter", {"": station.seconds_spent}),
        ("ready", "gauge", {"": int(station.state == READY)}),
        ("waiting_parts", "gauge", {"": station.waiting}),
        ("memory_bytes", "gauge", {"": psutil.Process().memory_info().rss}),
        ("disk_free_bytes", "gauge", {"": shutil.disk_usage(station.journal.path.parent).free}),
        ("drift_alarm", "gauge", alarms),
    ):
        told.append(f"# TYPE m3dm_station_{name} {kind}")
        told += [f"m3dm_station_{name}{labels} {value}" for labels, value in values.items()]
    return "\n".join(told) + "\n"
