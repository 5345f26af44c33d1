"""What programs get over HTTP; what strangers do not get."""

import re
import threading

import pytest
from starlette.testclient import TestClient

from station.api import make_app
from station.journal import JournalError
from station.service import Settings
from tests.station.conftest import send
from tests.station.stub import part

TOKEN = "a-long-token"


def post(client, score=1.0, data=None, files=None, **more):
    rgb, xyz = part(score, **more)
    return client.post(
        "/judge", data=data or {}, files={"rgb": ("a.png", rgb), "xyz": ("a.tiff", xyz), **(files or {})}
    )


def test_judge(client, station):
    answer = post(client, 50, {"serial": "A17", "operator": "Eva", "line": "3"}, draw=True)
    told = answer.json()
    assert answer.status_code == 200 and told["verdict"] == "fail" and told["p_value"] == 0.05
    assert told["metadata"] == {"operator": "Eva", "line": "3"} and told["serial"] == "A17"
    assert told["regions"][0]["depth_mm"] == -0.8 and told["model_id"].startswith("knob:")
    assert {"id", "explanation", "milliseconds", "score", "pictures"} <= set(told)
    assert client.get(f"/parts/{told['id']}").json() == told
    for address in told["pictures"].values():
        picture = client.get(address)
        assert picture.status_code == 200 and picture.headers["content-type"] == "image/jpeg"
    assert post(client, 50, draw=True).json() == {**told, "repeated": True}
    assert client.get(f"/parts/{told['id']}/pictures/other.jpg").status_code == 404


def test_depth_instead_of_xyz(client):
    rgb, cloud = part(3)
    told = client.post("/judge", files={"rgb": ("a", rgb), "depth": ("a", cloud)}).json()
    assert told["verdict"] == "pass"
    for files in ({"rgb": ("a", rgb)}, {"rgb": ("a", rgb), "xyz": ("a", cloud), "depth": ("a", cloud)}):
        answer = client.post("/judge", files=files)
        assert answer.status_code == 422 and "xyz or depth" in answer.text


@pytest.mark.parametrize("content", [b"", b"\x89PNG broken", b"{}", b"\0" * 5000])
def test_bad_files_get_an_answer(client, content):
    answer = post(client, files={"rgb": ("a.png", content)})
    assert answer.status_code == 200 and answer.json()["verdict"] == "cannot judge"
    assert answer.json()["explanation"] and answer.json()["pictures"] == {}


@pytest.mark.parametrize(
    "data, status",
    [
        ({"model": "other"}, 404),
        ({"model": "../knob"}, 404),
        ({"serial": "x" * 201}, 422),
        ({"serial": "a\nb"}, 422),
        ({"note": "x" * 2000}, 422),
        ({f"field{i}": "x" for i in range(40)}, 422),
        ({"check": "perhaps"}, 422),
    ],
)
def test_bad_requests_are_refused(client, station, data, status):
    assert post(client, data=data).status_code == status
    assert station.journal.parts() == []


def test_no_picture_at_all(client):
    assert client.post("/judge", data={"serial": "A"}).status_code == 422
    assert client.post("/judge", content=b"nonsense", headers={"content-type": "multipart/form-data"}).status_code in (
        400,
        422,
    )


def test_names_are_text_and_nothing_else(client, station, place):
    evil = "../../../etc/passwd"
    html = "<script>alert(1)</script>'\"&"
    told = post(client, 50, {"serial": html, "name": evil, "key<b>": html}, files={"rgb": (evil, part(50)[0])}).json()
    assert told["serial"] == html and told["name"] == evil
    for page in ("/", f"/view/{told['id']}", "/history", "/review", "/history?search=%3Cscript%3E"):
        text = client.get(page).text
        assert "<script>alert" not in text and "&lt;script&gt;alert" in text and "<b>" not in text
    folder = station.store.folder_of(told["id"])
    assert sorted(p.name for p in folder.iterdir()) == ["rgb", "xyz.tiff"]
    assert not (place.models.parent / "etc").exists()
    for path in ("/parts/1/pictures/..%2f..%2frgb.jpg", "/static/..%2f..%2fapi.py", "/parts/x", "/parts/-1"):
        assert client.get(path).status_code in (404, 422)


def test_no_answer_names_a_folder_of_the_server(client, station, place):
    told = [post(client, 50).text, post(client, files={"rgb": ("a", b"")}).text, post(client, data={"model": "x"}).text]
    told += [client.get(path).text for path in ("/models", "/health", "/parts", "/quality", "/docs", "/openapi.json")]
    place.add_model("knob@2.m3dm", "second")
    (place.models / "knob@2.m3dm").chmod(0)
    for action in ("promote", "compare", "rollback", "nonsense"):
        told.append(client.post(f"/quality/knob/{action}", data={"by": "Eva", "version": "0" * 64}).text)
    for text in told:
        assert str(place.models.parent) not in text and "/tmp" not in text


def test_health_and_models(place, station, client):
    assert client.get("/health").json() == {"state": "ready", "waiting": 0, "models": ["knob"]}
    (model,) = client.get("/models").json()
    assert model["calibration_parts"] == 19 and model["memory_bytes"] == 1000 and len(model["sha256"]) == 64
    station.state = "loading"
    assert client.get("/health").status_code == 503
    answer = post(client)
    assert answer.status_code == 503 and int(answer.headers["retry-after"]) >= 1
    station.state = "ready"


def test_parts_are_listed_by_what_is_asked(client, station):
    for i in range(30):
        post(client, i * 2, {"serial": f"A{i}" if i % 2 else f"B{i}"})
    ids = [p["id"] for p in client.get("/parts?limit=1000").json()]
    assert len(ids) == 30 and ids == sorted(ids, reverse=True)
    assert [p["id"] for p in client.get("/parts?limit=5").json()] == ids[:5]
    assert [p["id"] for p in client.get(f"/parts?limit=5&before={ids[4]}").json()] == ids[5:10]
    assert {p["verdict"] for p in client.get("/parts?verdict=fail").json()} == {"fail"}
    assert len(client.get("/parts?search=B").json()) == 15 and client.get("/parts?model=other").json() == []
    assert (
        client.get("/parts?since=2999-01-01").json() == [] and len(client.get("/parts?since=2020-01-01").json()) == 30
    )
    for query in ("verdict=good", "since=now", "limit=0", "limit=x", "before=x"):
        assert client.get(f"/parts?{query}").status_code == 422
    assert client.get("/parts/123456").status_code == 404


def test_a_full_queue_says_when_to_come_again(place):
    station = place.start(Settings(every=0, waiting=1))
    with TestClient(make_app(station)) as client:
        codes = []
        ask = lambda i: codes.append(post(client, i, sleep=0.2))
        threads = [threading.Thread(target=ask, args=(i,)) for i in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    busy = [c for c in codes if c.status_code == 503]
    assert busy and len(busy) < 8 and all(int(c.headers["retry-after"]) >= 1 for c in busy)
    done = [c.json()["id"] for c in codes if c.status_code == 200]
    assert len(done) == len(station.journal.parts()) == 8 - len(busy)
    assert not list(station.store._arriving.iterdir())


def test_what_cannot_be_recorded_is_not_answered(client, station, monkeypatch):
    monkeypatch.setattr(station.journal, "append", lambda *_, **__: (_ for _ in ()).throw(JournalError("full")))
    answer = post(client, 50)
    assert answer.status_code == 503 and "no" in answer.json()["detail"] and "verdict" not in answer.json()


def test_uploads_are_limited(station):
    with TestClient(make_app(station, most_bytes=2000)) as client:
        assert post(client).status_code == 200
        answer = post(client, files={"xyz": ("a", b"x" * 5000)})
        assert answer.status_code == 413 and "2000 bytes" in answer.text

        def drip():  # no Content-Length
            yield b'--b\r\nContent-Disposition: form-data; name="rgb"; filename="a"\r\n\r\n'
            for _ in range(50):
                yield b"x" * 100

        headers = {"content-type": "multipart/form-data; boundary=b"}
        assert client.post("/judge", content=drip(), headers=headers).status_code == 413
        assert len(station.journal.parts()) == 1 and client.get("/health").status_code == 200


def test_without_a_token_only_this_machine_is_served(client):
    assert client.get("/parts", headers={"host": "evil.example"}).status_code == 403
    assert client.get("/parts", headers={"host": "localhost:8000"}).status_code == 200
    foreign = {"origin": "http://evil.example"}
    assert client.post("/judge", headers=foreign, files={"rgb": b"", "xyz": b""}).status_code == 403
    assert client.get("/").headers["content-security-policy"].startswith("default-src 'self'")


def test_the_token(station):
    with TestClient(make_app(station, TOKEN), base_url="http://plant:8000", follow_redirects=False) as client:
        assert client.get("/parts").status_code == 401 and client.get("/health").status_code == 200
        assert client.post("/judge", files={"rgb": b"", "xyz": b""}).status_code == 401
        for shown in ("Bearer wrong", "Bearer ", TOKEN.upper()):
            assert client.get("/parts", headers={"authorization": shown}).status_code == 401
        assert client.get("/parts", headers={"authorization": f"Bearer {TOKEN}"}).status_code == 200
        page = client.get("/", headers={"accept": "text/html"})
        assert page.status_code == 303 and page.headers["location"] == "/login"
        assert client.post("/login", data={"token": "wrong"}).status_code == 401
        entered = client.post("/login", data={"token": TOKEN})
        assert entered.status_code == 303 and "HttpOnly" in entered.headers["set-cookie"]
        assert client.get("/", headers={"accept": "text/html"}).status_code == 200


def test_metrics(client):
    for score in (1, 2, 50):
        post(client, score)
    text = client.get("/metrics").text
    assert 'm3dm_station_parts_total{model="knob",verdict="pass"} 2' in text
    assert 'm3dm_station_parts_total{model="knob",verdict="cannot judge"} 0' in text
    for line in text.splitlines():
        assert re.fullmatch(r"# TYPE \w+ (counter|gauge)|\w+(\{\w+=\"[^\"]*\"(,\w+=\"[^\"]*\")*\})? [-+.\de]+", line), (
            line
        )


def test_the_page_and_its_reviews(client, station):
    assert "No part yet" in client.get("/").text and "Nothing to review" in client.get("/review").text
    told = post(client, 50, {"serial": "A17"}).json()
    assert "FAIL" in client.get("/").text and "Good after all" in client.get("/review").text
    address = f"/view/{told['id']}/review"
    form = {"truth": "defect", "by": "Eva", "kind": "dent", "note": "small", "next": "/review"}
    answer = client.post(address, data=form, follow_redirects=False)
    assert answer.status_code == 303 and answer.headers["location"] == "/review"
    assert (
        client.post(address, data={**form, "next": "//evil.example"}, follow_redirects=False).headers["location"][0:6]
        == "/view/"
    )
    assert "dent" in client.get(f"/view/{told['id']}").text and "Nothing to review" in client.get("/review").text
    assert client.get(f"/parts/{told['id']}").json()["review"]["kind"] == "dent"
    assert client.post(address, data={"truth": "good"}).status_code == 422
    assert client.post("/view/999/review", data=form).status_code == 404 == client.get("/view/999").status_code


def test_quality_page(place):
    station = place.start(Settings(every=1))
    for i in range(40):
        station.review(send(station, i / 2)["id"], "good", "Eva")
    place.add_model("knob@2.m3dm", "second", -1.0)
    with TestClient(make_app(station)) as client:
        text = client.get("/quality").text
        assert "1 in 1 parts" in text and "knob@2.m3dm" in text and "Promote" not in text
        assert client.post("/quality/knob/recalibrate", data={"by": " "}).status_code == 409
        assert client.post("/quality/other/recalibrate", data={"by": "Eva"}).status_code == 404
        assert "recalibrated" in client.post("/quality/knob/recalibrate", data={"by": "Eva"}).text
        assert len(station.recipes.get("knob").scores) > 30
        sha256 = next(v.sha256 for v in station.recipes.versions("knob") if v.file == "knob@2.m3dm")
        client.post("/quality/knob/compare", data={"by": "Eva", "version": sha256})
        from tests.station.conftest import until

        until(lambda: station.journal.last("comparison"))
        until(lambda: "Promote" in client.get("/quality").text)
        assert "promoted" in client.post("/quality/knob/promote", data={"by": "Eva", "version": sha256}).text
        assert station.recipes.get("knob").sha256 == sha256
        assert "rolled back" in client.post("/quality/knob/rollback", data={"by": "Eva"}).text
        assert "restarted" in client.post("/quality/knob/restart", data={"by": "Eva"}).text
        assert "/judge" in client.get("/docs").text
