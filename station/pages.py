"""What people look at: the last part, the parts to review, history, quality. Rendered here, no build step."""

import threading
from pathlib import Path
from typing import Annotated, Literal

from fastapi import Form, HTTPException, Request
from fastapi.responses import RedirectResponse
from fastapi.staticfiles import StaticFiles
from fastapi.templating import Jinja2Templates

from common.errors import InputError, tell
from inspection.verdict import VERDICTS, percent
from station import charts, sampling
from station.service import READY

HERE = Path(__file__).parent
PER_PAGE = 50
TREND = 200  # parts
COMPARING = "comparing: please look again later"
By = Annotated[str, Form(max_length=100, pattern=r"\S")]
Words = Annotated[str, Form(max_length=1000)]
Truth = Annotated[Literal[sampling.TRUTHS], Form()]


def add(app, station, token):
    """Add the pages to a FastAPI application."""
    journal, recipes = station.journal, station.recipes
    templates = Jinja2Templates(HERE / "templates")
    templates.env.filters["percent"] = lambda value: "–" if value is None else percent(value)
    templates.env.filters["short"] = lambda value: "–" if value is None else f"{value:.4g}"
    templates.env.filters["clock"] = lambda text: text[:19].replace("T", " ") + " UTC"
    templates.env.globals.update(chart_size=(charts.WIDTH, charts.HEIGHT), with_token=token is not None)
    app.mount("/static", StaticFiles(directory=HERE / "static"), name="static")
    comparing: dict[str, str] = {}  # recipe → what its comparison is doing or why it ended

    def show(request, name, status=200, **values):
        alarms = [model.recipe for model, watch in station.judging if watch.alarmed]
        values |= {"alarms": alarms, "state": station.state, "to_review": len(journal.to_review())}
        return templates.TemplateResponse(request, name, values, status)

    def parts_page(request, name, events, **values):
        """A page of parts; the first of them is shown large."""
        return show(request, name, parts=[station.answer(event) for event in events], **values)

    @app.get("/", include_in_schema=False)
    def last(request: Request):
        return parts_page(request, "last.html", journal.parts(8))

    @app.get("/review", include_in_schema=False)
    def queue(request: Request):
        return parts_page(request, "review.html", journal.to_review(PER_PAGE))

    @app.get("/view/{number}", include_in_schema=False)
    def view(request: Request, number: int):
        event = journal.part(number)
        if event is None:
            return show(request, "message.html", 404, text="There is no part with this number.")
        return parts_page(request, "last.html", [event], chosen=True)

    @app.post("/view/{number}/review", include_in_schema=False)
    def review(number: int, truth: Truth, by: By, kind: Words = "", note: Words = "", next: Words = ""):
        kind = kind.strip() if truth == sampling.DEFECT else ""
        station.review(number, truth, by.strip(), kind, note.strip())
        return RedirectResponse("/review" if next == "/review" else f"/view/{number}", 303)

    @app.get("/history", include_in_schema=False)
    def history(request: Request, search: str = "", verdict: str = "", before: int | None = None):
        found = journal.parts(PER_PAGE, verdict if verdict in VERDICTS else None, text=search.strip(), before=before)
        values = {"search": search, "verdict": verdict, "verdicts": VERDICTS, "more": len(found) == PER_PAGE}
        trends = [(name, charts.trend(journal.parts(TREND, recipe=name)[::-1])) for name in recipes.names]
        return parts_page(request, "history.html", found, trends=trends, **values)

    @app.get("/quality", include_in_schema=False)
    def quality(request: Request, told: str = ""):
        facts = [{**_facts(station, *of), "comparing": comparing.get(of[0].recipe, "")} for of in station.judging]
        return show(request, "quality.html", recipes=facts, told=told, every=station.settings.sample)

    @app.post("/quality/{recipe}/{action}", include_in_schema=False)
    def act(request: Request, recipe: str, action: str, by: By, version: Words = ""):
        """Do what a button of the page asks for."""
        actions = {
            "recalibrate": ("recalibrated", lambda: recipes.recalibrate(recipe, by)),
            "promote": ("promoted", lambda: recipes.promote(recipe, version, by)),
            "rollback": ("rolled back", lambda: recipes.roll_back(recipe, by)),
            "restart": ("drift starts anew", lambda: station.watches.start(recipes.get(recipe), "asked for", by)),
            "compare": ("comparing", lambda: compare(recipe, version, by)),
        }
        if recipe not in recipes.names or action not in actions:
            raise HTTPException(404, "there is no such recipe or action")
        told, work = actions[action]
        try:
            work()
        except InputError as error:
            return show(request, "message.html", 409, text=station.without_folders(error))
        return RedirectResponse(f"/quality?told={told}", 303)

    def compare(recipe, version, by):
        def kept_files(number):
            if station.state != READY:
                raise InputError(f"the station is {station.state}")
            return station.store.files_of(number)

        def work():
            try:
                event = recipes.compare(recipe, version, by, kept_files)
                comparing[recipe] = ""
                station.tell_all(event)
            except Exception as error:
                comparing[recipe] = f"the comparison failed: {station.without_folders(error)}"
                tell("station.py", f"{recipe}: the comparison failed: {error}")

        if comparing.get(recipe) == COMPARING:
            raise InputError("a comparison is running already")
        comparing[recipe] = COMPARING
        threading.Thread(target=work, daemon=True).start()

    @app.get("/docs", include_in_schema=False)
    def docs(request: Request):
        about = app.openapi()
        return show(request, "docs.html", paths=about["paths"], schemas=about["components"]["schemas"])


def _facts(station, model, watch):
    """What the quality page shows of a recipe."""
    journal, name = station.journal, model.recipe
    sampled, last = journal.sampled(name), journal.last("promotion", name)
    return {
        "name": name,
        "model": model,
        "rates": sampling.rates(sampled),
        "sampled": len(sampled),
        "preview": station.recipes.preview(name),
        "versions": [(v, journal.last("comparison", name, v.sha256)) for v in station.recipes.versions(name)],
        "before": last and last.content["before"],
        "watch": watch,
        "shifts": charts.shifts(journal, name),
        "cusum": charts.cusum([event.p_value for event in journal.parts(TREND, recipe=name)[::-1]])[1],
    }
