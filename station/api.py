"""The station over HTTP: what machines ask for. ``pages`` adds what people look at."""

import asyncio
import contextlib
import json
import re
import shutil
import time
from pathlib import Path
from typing import Annotated

import psutil
from fastapi import FastAPI, File, Form, HTTPException, Query, Request, UploadFile
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import FileResponse, JSONResponse, PlainTextResponse, StreamingResponse
from starlette.middleware import Middleware

from common.errors import InputError
from inspection.verdict import VERDICTS
from station.guard import Guard
from station.journal import JournalError, epoch_of
from station.judging import Files
from station.service import READY, Busy, Recording
from station.store import suffix_of

MIB = 2**20
MOST_FIELDS, LONGEST = 32, 1000  # of metadata: fields, and characters of each
LONGEST_NAME = 200  # characters of a serial or a recording's name
MOST_PAGES = 50  # pages that are updated at the same time
PATIENCE = 5.0  # seconds that an address of a picture waits until it is drawn
KNOWN = ("rgb", "xyz", "depth", "model", "serial", "name", "check")
CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class Live:
    """Tells the open pages of each event."""

    def __init__(self, station):
        self._station, self._pages, self._loop = station, set(), None
        station.listen(self.hear)

    def hear(self, event):
        """Pass an event on; any thread may call it."""
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop has ended
                self._loop.call_soon_threadsafe(self._put, event)

    def _put(self, event):
        for page in self._pages:
            if page.qsize() < 100:
                page.put_nowait(json.dumps({"kind": event.kind, "id": event.part or event.number}))

    async def stream(self):
        """Server-sent events until the station stops or the page goes away."""
        self._loop, page = asyncio.get_running_loop(), asyncio.Queue()
        self._pages.add(page)
        try:
            yield 'retry: 2000\ndata: {"kind": "hello"}\n\n'
            quiet = time.monotonic()
            while self._station.state == READY:
                with contextlib.suppress(asyncio.TimeoutError):
                    yield f"data: {await asyncio.wait_for(page.get(), 0.5)}\n\n"
                    quiet = time.monotonic()
                if time.monotonic() - quiet > 15:
                    quiet = time.monotonic()
                    yield ": still here\n\n"
        finally:
            self._pages.discard(page)

    @property
    def full(self):
        """Whether no more pages can be updated."""
        return len(self._pages) >= MOST_PAGES


def make_app(station, token=None, most_bytes=256 * MIB):
    """The FastAPI application of a Station.

    Args:
        token: as in ``station.guard.Guard``.
        most_bytes: of an upload.
    """
    from station import pages

    app = FastAPI(
        title="M3DM station",
        description="Judges parts: pass, fail, or cannot judge.",
        docs_url=None,  # their pages load scripts from the internet; /docs is our own
        redoc_url=None,
        middleware=[Middleware(Guard, token=token, most_bytes=most_bytes)],
    )
    live = Live(station)

    @app.exception_handler(Busy)
    async def busy(request, error):
        return JSONResponse({"detail": str(error)}, 503, {"Retry-After": str(error.seconds)})

    @app.exception_handler(JournalError)
    async def unwritten(request, error):
        text = "the verdict could not be recorded, so there is none: the journal cannot be written"
        return JSONResponse({"detail": text}, 503, {"Retry-After": "30"})

    @app.exception_handler(InputError)
    async def refused(request, error):
        return JSONResponse({"detail": _without_paths(error, station)}, 404)

    @app.post("/judge", tags=["judging"])
    async def judge(
        request: Request,
        rgb: Annotated[UploadFile, File(description="picture: PNG, JPEG, BMP or TIFF")],
        xyz: Annotated[UploadFile | None, File(description="organised cloud, TIFF, metres")] = None,
        depth: Annotated[UploadFile | None, File(description="depth picture, instead of xyz")] = None,
        model: Annotated[str | None, Form(description="recipe; may be left out where there is one")] = None,
        serial: Annotated[str | None, Form(max_length=LONGEST_NAME)] = None,
        name: Annotated[str | None, Form(max_length=LONGEST_NAME, description="of the recording")] = None,
        check: Annotated[bool, Form(description="a master part: counts in no rate")] = False,
    ) -> dict:
        """Judge one part. Further form fields are kept as its metadata. The same files again give the same event."""
        if (xyz is None) == (depth is None):
            raise HTTPException(422, "send xyz or depth, one of them")
        metadata = _metadata(await request.form())
        for text in (serial, name):
            if text and CONTROL.search(text):
                raise HTTPException(422, "a serial or name has no control characters")
        if station.state != READY:
            raise Busy(f"the station is {station.state}", 5)
        station.recipes.get(model)
        uploads = {kind: file for kind, file in (("rgb", rgb), ("xyz", xyz), ("depth", depth)) if file is not None}
        try:
            folder, files = await run_in_threadpool(_save, station, uploads)
        except OSError:
            raise Busy("the upload cannot be stored: the disk may be full", 60) from None
        recording = Recording(folder, files, name or rgb.filename, model, serial, metadata, check)
        try:
            answer = station.submit(recording)
        except Busy:
            station.store.drop(folder)
            raise
        return await asyncio.wrap_future(answer)

    @app.get("/health", tags=["state"])
    async def health():
        """200 once the models are loaded and parts are judged; 503 while loading, stopping, or stuck on a part."""
        told = {"state": station.state, "waiting": station.waiting, "models": station.recipes.names}
        return JSONResponse(told, 200 if station.state == READY else 503)

    @app.get("/models", tags=["state"])
    def models() -> list[dict]:
        """The recipes: which version judges, what it promises, its memory, whether its parts drift."""
        return [model_facts(station, name) for name in station.recipes.names]

    @app.get("/parts", tags=["journal"])
    def parts(
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
        verdict: str | None = None,
        model: str | None = None,
        since: Annotated[str | None, Query(description="2026-07-31 or 2026-07-31T06:00:00, UTC")] = None,
        search: Annotated[str | None, Query(description="beginning of a serial or name")] = None,
        before: Annotated[int | None, Query(description="only ids below it, to turn pages")] = None,
    ) -> list[dict]:
        """Judged parts, the newest first."""
        if verdict is not None and verdict not in VERDICTS:
            raise HTTPException(422, f"verdict is one of: {', '.join(VERDICTS)}")
        try:
            start = epoch_of(since) if since else None
        except InputError as error:
            raise HTTPException(422, str(error)) from None
        return [station.answer(e) for e in station.journal.parts(limit, verdict, model, start, search, before)]

    @app.get("/parts/{number}", tags=["journal"])
    def part(number: int) -> dict:
        """One judged part and its newest review."""
        return station.answer(found_part(station, number))

    @app.get("/parts/{number}/pictures/{name}.jpg", tags=["journal"], response_class=FileResponse)
    async def picture(number: int, name: str):
        """A picture of a part: part (with outlined regions), depth, or normal (a normal part)."""
        event = await run_in_threadpool(found_part, station, number)
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
    async def events():
        if live.full:
            raise Busy("too many pages are open", 60)
        return StreamingResponse(live.stream(), media_type="text/event-stream")

    pages.add(app, station, token)
    return app


def found_part(station, number):
    """The verdict with this number; 404 if there is none."""
    found = station.journal.part(number)
    if found is None:
        raise HTTPException(404, "there is no part with this id")
    return found


def model_facts(station, name):
    """A recipe as JSON."""
    model = station.recipes.get(name)
    watch = station.watches.of(model)
    return {
        "model": name,
        "model_id": model.id,
        "sha256": model.sha256,
        "false_alarm": model.alpha,
        "promise": model.promise,
        "gate": model.gate_promise,
        "calibration_parts": len(model.scores),
        "memory_bytes": model.memory,
        "drift": {"alarm": list(watch.alarmed), "parts": watch.parts},
    }


def _metadata(form):
    found = {key: value for key, value in form.multi_items() if key not in KNOWN and isinstance(value, str)}
    if len(found) > MOST_FIELDS or any(len(key) + len(value) > LONGEST for key, value in found.items()):
        raise HTTPException(422, f"at most {MOST_FIELDS} further fields of {LONGEST} characters")
    return found


def _save(station, uploads):
    """(folder, Files) of uploads {kind: UploadFile}, written under names of our own."""
    folder, paths = station.store.new_folder(), {}
    try:
        for kind, upload in uploads.items():
            plain = folder / kind
            with open(plain, "wb") as file:
                shutil.copyfileobj(upload.file, file, MIB)
            paths[kind] = plain.rename(folder / f"{kind}{suffix_of(plain)}")
    except OSError:
        station.store.drop(folder)
        raise
    return folder, Files(paths["rgb"], paths.get("xyz"), paths.get("depth"))


def _without_paths(error, station):
    """An error's text without folders of this machine."""
    text = str(error)
    for folder in (station.journal.path.parent.resolve(), station.recipes.folder.resolve(), Path.cwd()):
        text = text.replace(f"{folder}/", "").replace(str(folder), "")
    return re.sub(r"/\S+/", "", text)


def metrics_text(station):
    """Prometheus' text format."""
    process = psutil.Process()
    lines = ["# TYPE m3dm_station_parts_total counter"]
    lines += [
        f'm3dm_station_parts_total{{model="{_label(name)}",verdict="{verdict}"}} {count}'
        for (name, verdict), count in sorted(station.numbers().items())
    ]
    gauges = {
        "ready": int(station.state == READY),
        "waiting_parts": station.waiting,
        "memory_bytes": process.memory_info().rss,
        "disk_free_bytes": station.disk_free,
    }
    lines += [f"# TYPE m3dm_station_{name} gauge\nm3dm_station_{name} {value}" for name, value in gauges.items()]
    lines += ["# TYPE m3dm_station_seconds_total counter", f"m3dm_station_seconds_total {station.seconds_spent:.6f}"]
    lines += ["# TYPE m3dm_station_drift_alarm gauge"]
    for name in station.recipes.names:
        alarmed = bool(station.watches.of(station.recipes.get(name)).alarmed)
        lines.append(f'm3dm_station_drift_alarm{{model="{_label(name)}"}} {int(alarmed)}')
    return "\n".join(lines) + "\n"


def _label(text):
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
