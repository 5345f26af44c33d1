"""What programs get over HTTP; what strangers do not get."""

import re

import pytest
from starlette.testclient import TestClient

from station.api import make_app
from station.journal import JournalError
from tests.station.stub import part

TOKEN = "a-long-token"


def post(client, score=1.0, data=None, files=None, headers=None, **more):
    rgb, xyz = part(score, **more)
    files = {"rgb": ("a.png", rgb), "xyz": ("a.tiff", xyz), **(files or {})}
    files = {kind: file for kind, file in files.items() if file}
    return client.post("/judge", data=data, files=files, headers=headers)


def test_judge(client):
    answer = post(client, 50, {"serial": "A17", "operator": "Eva", "line": "3"}, draw=True)
    told = answer.json()
    assert answer.status_code == 200 and told["verdict"] == "fail" and told["p_value"] == 0.05
    assert told["metadata"] == {"operator": "Eva", "line": "3"} and told["serial"] == "A17"
    assert told["regions"][0]["area_mm2"] == 2.5 and told["model_id"].startswith("knob:")
    assert {"id", "explanation", "milliseconds", "score", "pictures"} <= set(told)
    assert client.get(f"/parts/{told['id']}").json() == told
    for address in told["pictures"].values():
        picture = client.get(address)
        assert picture.status_code == 200 and picture.headers["content-type"] == "image/jpeg"
    assert post(client, 50, draw=True).json() == {**told, "repeated": True}
    assert client.get(f"/parts/{told['id']}/pictures/other.jpg").status_code == 404
    assert post(client, 3, files={"xyz": None, "depth": ("a", b"depth")}).json()["verdict"] == "pass"


@pytest.mark.parametrize("content", [b"", b"\x89PNG broken", b"\0" * 5000])
def test_bad_files_get_an_answer(client, content):
    answer = post(client, files={"rgb": ("a.png", content)})
    assert answer.status_code == 200 and answer.json()["verdict"] == "cannot judge"
    assert answer.json()["explanation"] and answer.json()["pictures"] == {}


@pytest.mark.parametrize(
    "data, files, status",
    [
        ({"model": "../knob"}, {}, 404),
        ({"serial": "x" * 201}, {}, 422),
        ({"serial": "a\nb"}, {}, 422),
        ({"note": "x" * 2000}, {}, 422),
        ({f"field{i}": "x" for i in range(40)}, {}, 422),
        ({}, {"xyz": None}, 422),
        ({}, {"depth": ("a", b"both")}, 422),
        ({}, {"rgb": None}, 422),
    ],
)
def test_bad_requests_are_refused(client, station, data, files, status):
    assert post(client, data=data, files=files).status_code == status
    assert station.journal.parts() == []


def test_names_are_text_and_nothing_else(client, station, place):
    evil = "../../../etc/passwd"
    html = "<script>alert(1)</script>'\"&"
    told = post(client, 50, {"serial": html, "name": evil, "key<b>": html}, files={"rgb": (evil, part(50)[0])}).json()
    assert told["serial"] == html and told["name"] == evil
    for page in ("/", f"/view/{told['id']}", "/history", "/review", "/history?search=%3Cscript%3E"):
        text = client.get(page).text
        assert "<script>alert" not in text and "&lt;script&gt;alert" in text and "<b>" not in text
    assert sorted(p.name for p in station.store.folder_of(told["id"]).iterdir()) == ["rgb", "xyz.tiff"]
    assert not (place.models.parent / "etc").exists()
    for path in ("/parts/1/pictures/..%2f..%2frgb.jpg", "/static/..%2f..%2fapi.py", "/parts/x", "/parts/-1"):
        assert client.get(path).status_code in (404, 422)
    assert "organised cloud, TIFF, metres" in client.get("/docs").text


def test_no_answer_names_a_folder_of_the_server(client, place):
    told = [post(client, 50), post(client, files={"rgb": ("a", b"")}), post(client, data={"model": "x"})]
    told += [client.get(path) for path in ("/models", "/health", "/parts", "/quality", "/docs", "/openapi.json")]
    for action in ("promote", "compare", "rollback", "nonsense"):
        told.append(client.post(f"/quality/knob/{action}", data={"by": "Eva", "version": "0" * 64}))
    assert [answer.url for answer in told if str(place.models.parent) in answer.text or "/tmp" in answer.text] == []


def test_health_models_and_metrics(station, client):
    assert client.get("/health").json() == {"state": "ready", "waiting": 0, "models": ["knob"]}
    (model,) = client.get("/models").json()
    assert model["calibration_parts"] == 19 and model["memory_bytes"] == 1000 and len(model["sha256"]) == 64
    post(client, 1)
    text = client.get("/metrics").text
    assert 'parts_total{model="knob",verdict="pass"} 1' in text and 'verdict="cannot judge"} 0' in text
    line = r"# TYPE \w+ (counter|gauge)|\w+(\{\w+=\"[^\"]*\"(,\w+=\"[^\"]*\")*\})? [-+.\de]+"
    assert all(re.fullmatch(line, found) for found in text.splitlines())
    station.state = "loading"
    assert client.get("/health").status_code == 503
    answer = post(client)
    assert answer.status_code == 503 and int(answer.headers["retry-after"]) >= 1


def test_parts_are_listed_by_what_is_asked(client):
    for i in range(30):
        post(client, i * 2, {"serial": f"A{i}" if i % 2 else f"B{i}"})
    get = lambda query: [p["id"] for p in client.get(f"/parts?{query}").json()]
    ids = get("limit=1000")
    assert len(ids) == 30 and ids == sorted(ids, reverse=True) and get("limit=5") == ids[:5]
    assert get(f"limit=5&before={ids[4]}") == ids[5:10] and len(get("search=B")) == 15
    assert {p["verdict"] for p in client.get("/parts?verdict=fail").json()} == {"fail"}
    assert get("model=other") == get("since=2999-01-01") == [] and get("since=2020-01-01T00:00:00Z") == ids
    for query in ("verdict=good", "since=now", "limit=0", "limit=x", "before=x"):
        assert client.get(f"/parts?{query}").status_code == 422
    assert client.get("/parts/123456").status_code == 404


def test_what_cannot_be_recorded_is_not_answered(client, station, monkeypatch):
    monkeypatch.setattr(station.journal, "append", lambda *_, **__: (_ for _ in ()).throw(JournalError("full")))
    answer = post(client, 50)
    assert answer.status_code == 503 and "no" in answer.json()["detail"] and "verdict" not in answer.json()


def test_uploads_are_limited(station):
    with TestClient(make_app(station, most_bytes=2000)) as client:
        assert post(client).status_code == 200
        answer = post(client, files={"xyz": ("a", b"x" * 5000)})
        assert answer.status_code == 413 and "2000 bytes" in answer.text
        assert client.post("/judge", content=iter([b"no Content-Length"])).status_code == 411


def test_without_a_token_only_this_machine_is_served(client):
    for host, status in (("evil.example", 403), ("[bad", 403), ("", 403), ("localhost:8000", 200)):
        assert client.get("/parts", headers={"host": host}).status_code == status
    assert post(client, headers={"origin": "http://evil.example"}).status_code == 403
    assert client.get("/").headers["content-security-policy"].startswith("default-src 'self'")


def test_the_token(station):
    with TestClient(make_app(station, TOKEN), base_url="http://plant:8000") as client:
        assert client.get("/health").status_code == 200 and post(client).status_code == 401
        for shown in ("", "Bearer wrong", "Bearer ", TOKEN, f"Bearer {TOKEN.upper()}", "Basic x", "Basic !"):
            answer = client.get("/parts", headers={"authorization": shown})
            assert (answer.status_code, answer.headers["www-authenticate"][:5]) == (401, "Basic")  # a browser asks
        assert client.get("/parts", headers={"authorization": f"Bearer {TOKEN}"}).status_code == 200
        assert [client.get("/", auth=("Eva", word)).status_code for word in ("wrong", TOKEN)] == [401, 200]


def test_the_page_and_its_reviews(client):
    assert "No part yet" in client.get("/").text and "Nothing to review" in client.get("/review").text
    told = post(client, 50, {"serial": "A17"}).json()
    post(client, 51, {"check": "true"})  # a master part that fails, as it should, waits for nobody
    assert "FAIL" in client.get("/").text and "1 to review" in client.get("/review").text
    address, go = f"/view/{told['id']}/review", {"follow_redirects": False}
    form = {"truth": "defect", "by": "Eva", "kind": "dent", "note": "small", "next": "/review"}
    answer = client.post(address, data=form, **go)
    assert answer.status_code == 303 and answer.headers["location"] == "/review"
    evil = client.post(address, data={**form, "next": "//evil.example"}, **go)
    assert evil.headers["location"].startswith("/view/")
    assert "dent" in client.get(f"/view/{told['id']}").text and "Nothing to review" in client.get("/review").text
    assert client.get(f"/parts/{told['id']}").json()["review"]["kind"] == "dent"
    for wrong in ({"truth": "good", "by": " "}, {"truth": "fine", "by": "Eva"}):
        assert client.post(address, data=wrong).status_code == 422
    assert client.post("/view/999/review", data=form).status_code == 404 == client.get("/view/999").status_code
