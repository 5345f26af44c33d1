"""What people look at: the last part, the parts to review, history, quality. Rendered here, no build step."""

from pathlib import Path
from typing import Annotated

from fastapi import BackgroundTasks, Form, HTTPException, Request
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
COMPARING = "comparing: please look again later"
By = Annotated[str, Form(max_length=100)]


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
        if station.state == READY:
            values["alarms"] = [name for name in recipes.names if station.watches.of(recipes.get(name)).alarmed]
        values |= {"state": station.state, "to_review": len(journal.to_review())}
        return templates.TemplateResponse(request, name, values, status)

    def part_page(request, name, event, others=(), **values):
        kinds = journal.rows(
            "SELECT DISTINCT json_extract(content, '$.kind') FROM (SELECT content FROM events WHERE kind = 'review' "
            "ORDER BY number DESC LIMIT 500) ORDER BY 1"
        )
        values["kinds"] = [kind for (kind,) in kinds if kind]
        part, others = event and station.answer(event), [station.answer(other) for other in others]
        return show(request, name, part=part, others=others, **values)

    @app.get("/", include_in_schema=False)
    def last(request: Request):
        newest, *others = [*journal.parts(8), None]
        return part_page(request, "last.html", newest, others[:-1])

    @app.get("/view/{number}", include_in_schema=False)
    def view(request: Request, number: int):
        event = journal.part(number)
        if event is None:
            return show(request, "message.html", 404, text="There is no part with this number.")
        history = journal.events("v.part = ? AND v.kind = 'review'", (number,))
        return part_page(request, "part.html", event, history=history)

    @app.get("/review", include_in_schema=False)
    def queue(request: Request):
        first, *others = [*journal.to_review(PER_PAGE), None]
        return part_page(request, "review.html", first, others[:-1])

    @app.post("/view/{number}/review", include_in_schema=False)
    def review(
        request: Request,
        number: int,
        truth: Annotated[str, Form()] = "",
        by: By = "",
        kind: By = "",
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
        found = journal.parts(PER_PAGE, verdict if verdict in VERDICTS else None, text=search.strip(), before=before)
        values = {"search": search, "verdict": verdict, "verdicts": VERDICTS, "more": len(found) == PER_PAGE}
        trends = [(name, charts.trend(journal.parts(TREND, recipe=name)[::-1])) for name in recipes.names]
        return show(request, "history.html", parts=[station.answer(e) for e in found], trends=trends, **values)

    @app.get("/quality", include_in_schema=False)
    def quality(request: Request, told: str = ""):
        if station.state != READY:
            return show(request, "message.html", 503, text=f"The station is {station.state}.")
        facts = [recipe_facts(station, name, comparing.get(name, "")) for name in recipes.names]
        return show(request, "quality.html", recipes=facts, told=told, every=station.settings.every)

    @app.post("/quality/{recipe}/{action}", include_in_schema=False)
    def act(
        request: Request,
        background: BackgroundTasks,
        recipe: str,
        action: str,
        by: By = "",
        version: Annotated[str, Form()] = "",
    ):
        """Do what a button of the page asks for."""
        actions = {
            "recalibrate": ("recalibrated", lambda: recipes.recalibrate(recipe, by)),
            "promote": ("promoted", lambda: recipes.promote(recipe, version, by)),
            "rollback": ("rolled back", lambda: recipes.roll_back(recipe, by)),
            "restart": ("drift starts anew", lambda: station.watches.start(recipes.get(recipe), "asked for", by)),
            "compare": ("comparing", lambda: background.add_task(compare, recipe, version, by)),
        }
        if recipe not in recipes.names or action not in actions:
            raise HTTPException(404, "there is no such recipe or action")
        told, work = actions[action]
        try:
            if not by.strip():
                raise InputError("your name is missing: the journal keeps who did it")
            if action == "compare" and comparing.get(recipe) == COMPARING:
                raise InputError("a comparison is running already")
            work()
        except InputError as error:
            return show(request, "message.html", 409, text=station.without_folders(error))
        if action == "compare":
            comparing[recipe] = COMPARING
        return RedirectResponse(f"/quality?told={told}", 303, background=background)

    def compare(recipe, version, by):
        try:
            event = recipes.compare(recipe, version, by, station.store.files_of, lambda: station.state != READY)
            comparing[recipe] = ""
            if event is not None:
                station.tell_all(event)
        except Exception as error:
            comparing[recipe] = f"the comparison failed: {station.without_folders(error)}"
            tell("station.py", f"{recipe}: the comparison failed: {error}")

    @app.get("/docs", include_in_schema=False)
    def docs(request: Request):
        about = app.openapi()
        return show(request, "docs.html", paths=about["paths"], schemas=about["components"]["schemas"])

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
    versions = station.recipes.versions(name)
    last = journal.last("promotion", name)
    return {
        "name": name,
        "model": model,
        "rates": sampling.rates(sampled),
        "sampled": len(sampled),
        "preview": station.recipes.preview(name),
        "versions": [(version, journal.last("comparison", name, version.sha256)) for version in versions],
        "before": last and last.content["before"],
        "comparing": comparing,
        "drift": sorted(watch.state().items(), key=lambda item: item[1][1] - item[1][0]),
        "watch": watch,
        "shifts": charts.shifts(journal, name),
        "cusum": charts.cusum_text(journal.parts(TREND, recipe=name)[::-1]),
        "training": len(training_parts(journal, name)),
    }
