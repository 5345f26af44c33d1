"""A station with a stub judge, real in everything else."""

import io
import time

import pytest
from starlette.testclient import TestClient

from common.files import sha256_of
from station.api import make_app
from station.journal import Journal
from station.recipes import Recipes
from station.service import Station
from station.store import Settings, Store
from tests.station.stub import StubModel, part


class Place:
    """A station's folders, from which it can be started again."""

    def __init__(self, folder):
        self.models, self.journal_path = folder / "models", folder / "station.db"
        self.models.mkdir()
        self.running, self.offsets = [], {}
        self.add_model("knob.m3dm")

    def add_model(self, file, content="first", offset=0.0):
        """Write a model's file; returns its SHA-256."""
        (self.models / file).write_text(content)
        sha256 = sha256_of(self.models / file)
        self.offsets[sha256] = offset
        return sha256

    def start(self, webhook=False, **settings):
        """A started Station; without settings of its own it draws no part for review and needs no room on the disk."""
        journal = Journal(self.journal_path, webhook=webhook)
        settings = Settings(**{"sample": 0, "free_gib": 0, **settings})
        load = lambda path, recipe, sha256: StubModel(recipe, sha256, offset=self.offsets.get(sha256, 0.0))
        station = Station(journal, Recipes(self.models, journal, load), Store(journal, settings), settings)
        station.start()
        self.running.append(station)
        return station

    def stop(self, station):
        assert station.finish(10)
        station.journal.close()
        self.running.remove(station)


@pytest.fixture
def place(tmp_path):
    made = Place(tmp_path)
    yield made
    for station in list(made.running):
        made.stop(station)


@pytest.fixture
def station(place):
    return place.start()


@pytest.fixture
def client(station):
    with TestClient(make_app(station)) as made:
        yield made


def send(station, score, wait=True, **more):
    """Have a station judge a part of this score; the answer, or its Future."""
    fields = {name: more.pop(name) for name in ("serial", "name", "recipe", "check") if name in more}
    sources = dict(zip(("rgb", "xyz"), map(io.BytesIO, part(score, **more))))
    future = station.submit(station.store.take(sources, **fields))
    return future.result(60) if wait else future


def until(condition, seconds=60.0):
    """Wait for a condition; returns its value."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, "did not happen"
        time.sleep(0.01)
    return value
