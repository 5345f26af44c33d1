"""What people look at: the last part, the parts to review, history, quality. Rendered here, no build step."""

import threading
from pathlib import Path
from typing import Annotated

from fastapi import Form, HTTPException, Request
from fastapi.responses import RedirectResponse
from fastapi.staticfiles import StaticFiles
from fastapi.templating import Jinja2Templates

from common.errors import InputError, tell
from inspection.verdict import VERDICTS, percent
from station import charts, sampling
from station.calibration import training_parts
from station.guard import COOKIE, same
from station.service import READY

HERE = Path(__file__).parent
PER_PAGE = 50
TREND = 200  # parts


def add(app, station, token):
    """Add the pages to a FastAPI application."""
    templates = Jinja2Templates(HERE / "templates")
    templates.env.filters["percent"] = lambda value: "–" if value is None else percent(value)
    templates.env.filters["short"] = lambda value: "–" if value is None else f"{value:.4g}"
    templates.env.filters["clock"] = lambda text: text[:19].replace("T", " ") + " UTC"
    templates.env.globals.update(chart_size=(charts.WIDTH, charts.HEIGHT))
    app.mount("/static", StaticFiles(directory=HERE / "static"), name="static")
    comparing: dict[str, str] = {}  # recipe → what its comparison is doing or why it ended

    def show(request, name, status=200, **values):
        known = {
            "state": station.state,
            "to_review": len(station.journal.to_review(station.store.rules.days, 100)),
            "alarms": [n for n in station.recipes.names if station.watches.of(station.recipes.get(n)).alarmed]
            if station.state == READY
            else [],
            "with_token": token is not None,
        }
        return templates.TemplateResponse(request, name, {**known, **values}, status)

    def kinds():
        rows = station.journal.rows(
            "SELECT DISTINCT json_extract(content, '$.kind') FROM (SELECT content FROM events WHERE kind = 'review' "
            "ORDER BY number DESC LIMIT 500)"
        )
        return sorted(row[0] for row in rows if row[0])

    @app.get("/", include_in_schema=False)
    def last(request: Request):
        newest = station.journal.parts(8)
        parts = [station.answer(event) for event in newest]
        return show(request, "last.html", part=parts[0] if parts else None, others=parts[1:], kinds=kinds())

    @app.get("/view/{number}", include_in_schema=False)
    def view(request: Request, number: int):
        event = station.journal.part(number)
        if event is None:
            return show(request, "message.html", 404, text="There is no part with this number.")
        history = station.journal.events("v.part = ? AND v.kind = 'review'", (number,))
        return show(request, "part.html", part=station.answer(event), history=history, kinds=kinds(), next="")

    @app.get("/review", include_in_schema=False)
    def queue(request: Request):
        waiting = [station.answer(event) for event in station.journal.to_review(station.store.rules.days, PER_PAGE)]
        part = waiting[0] if waiting else None
        return show(request, "review.html", part=part, others=waiting[1:], kinds=kinds(), next="/review")

    @app.post("/view/{number}/review", include_in_schema=False)
    def review(
        request: Request,
        number: int,
        truth: Annotated[str, Form()] = "",
        by: Annotated[str, Form(max_length=100)] = "",
        kind: Annotated[str, Form(max_length=100)] = "",
        note: Annotated[str, Form(max_length=1000)] = "",
        next: Annotated[str, Form()] = "",
    ):
        try:
            station.review(number, truth, by, kind if truth == sampling.DEFECT else "", note)
        except KeyError:
            raise HTTPException(404, "there is no part with this id") from None
        except InputError as error:
            return show(request, "message.html", 422, text=str(error))
        return RedirectResponse("/review" if next == "/review" else f"/view/{number}", 303)

    @app.get("/history", include_in_schema=False)
    def history(request: Request, search: str = "", verdict: str = "", before: int | None = None):
        wanted = verdict if verdict in VERDICTS else None
        found = station.journal.parts(PER_PAGE, wanted, text=search.strip() or None, before=before)
        values = {"search": search, "verdict": verdict, "verdicts": VERDICTS, "more": len(found) == PER_PAGE}
        lines = [(name, charts.trend(charts.recent(station.journal, name, TREND))) for name in station.recipes.names]
        return show(request, "history.html", parts=[station.answer(e) for e in found], trends=lines, **values)

    @app.get("/quality", include_in_schema=False)
    def quality(request: Request, told: str = ""):
        if station.state != READY:
            return show(request, "message.html", 503, text=f"The station is {station.state}.")
        facts = [recipe_facts(station, name, comparing.get(name, "")) for name in station.recipes.names]
        return show(request, "quality.html", recipes=facts, told=told, every=station.settings.every)

    @app.post("/quality/{recipe}/{action}", include_in_schema=False)
    def act(
        request: Request,
        recipe: str,
        action: str,
        by: Annotated[str, Form(max_length=100)] = "",
        version: Annotated[str, Form()] = "",
    ):
        if recipe not in station.recipes.names:
            raise HTTPException(404, "there is no such recipe")
        try:
            if not by.strip():
                raise InputError("your name is missing: the journal keeps who did it")
            told = change(action, recipe, version, by.strip())
        except InputError as error:
            folder = station.recipes.folder
            return show(
                request, "message.html", 409, text=str(error).replace(f"{folder}/", "").replace(str(folder), "")
            )
        return RedirectResponse(f"/quality?told={told}", 303)

    def change(action, recipe, version, by):
        """Do what a button of the page asks for; returns a word for the page."""
        recipes = station.recipes
        if action == "recalibrate":
            recipes.recalibrate(recipe, by)
        elif action == "promote":
            recipes.promote(recipe, version, by)
        elif action == "rollback":
            recipes.roll_back(recipe, by)
        elif action == "restart":
            station.watches.start(recipes.get(recipe), "a person asked for it", by)
        elif action == "compare":
            compare(recipe, version, by)
        else:
            raise InputError(f"{action!r}: no such action")
        return {"rollback": "rolled back", "compare": "comparing"}.get(action, f"{action}d".replace("tartd", "tarted"))

    def compare(recipe, version, by):
        if comparing.get(recipe) == "comparing":
            raise InputError("a comparison is running already")
        comparing[recipe] = "comparing"

        def work():
            try:
                event = station.recipes.compare(
                    recipe, version, by, station.store.files_of, lambda: station.state != READY
                )
                comparing[recipe] = ""
                if event is not None:
                    station.tell_all(event)
            except Exception as error:
                comparing[recipe] = f"the comparison failed: {error}"
                tell("station.py", f"{recipe}: the comparison failed: {error}")

        threading.Thread(target=work, name="compare", daemon=True).start()

    @app.get("/docs", include_in_schema=False)
    def docs(request: Request):
        return show(request, "docs.html", paths=app.openapi()["paths"])

    @app.get("/login", include_in_schema=False)
    def login(request: Request):
        return templates.TemplateResponse(request, "login.html", {"wrong": False})

    @app.post("/login", include_in_schema=False)
    def enter(request: Request, shown: Annotated[str, Form(alias="token")] = ""):
        if token is None or not same(shown.strip(), token):
            return templates.TemplateResponse(request, "login.html", {"wrong": True}, 401)
        answer = RedirectResponse("/", 303)
        answer.set_cookie(COOKIE, token, httponly=True, samesite="strict", max_age=30 * 86400)
        return answer


def recipe_facts(station, name, comparing):
    """What the quality page shows of a recipe."""
    model, journal = station.recipes.get(name), station.journal
    watch, sampled = station.watches.of(model), journal.sampled(name)
    versions = [
        (version, journal.last("comparison", name, version.sha256)) for version in station.recipes.versions(name)
    ]
    last = journal.last("promotion", name)
    events = charts.recent(journal, name, TREND)
    return {
        "name": name,
        "model": model,
        "rates": sampling.rates(sampled),
        "sampled": len(sampled),
        "preview": station.recipes.preview(name),
        "versions": versions,
        "judging": model.sha256,
        "before": last and last.content["before"],
        "comparing": comparing,
        "drift": sorted(watch.state().items(), key=lambda item: item[1][1] - item[1][0]),
        "alarmed": watch.alarmed,
        "watched": watch.parts,
        "shifts": charts.shift_chart(charts.shifts(journal, name)),
        "cusum": charts.cusum_text(events),
        "training": len(training_parts(journal, name)),
    }
