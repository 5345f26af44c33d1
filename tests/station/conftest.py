"""A station with a stub judge, real in everything else."""

import io
import os
import time

import pytest
from starlette.testclient import TestClient

from common.files import sha256_of
from station.api import make_app
from station.journal import Journal
from station.recipes import Recipes
from station.service import Station
from tests.station.stub import load, part
from tools.station import build_parser


class Place:
    """A station's folders, from which it can be started again."""

    def __init__(self, folder):
        self.models, self.journal_path = folder / "models", folder / "station.db"
        self.models.mkdir()
        self.running = []
        self.add_model("knob.m3dm")

    def add_model(self, file, offset=0.0):
        """Write the file of a model that adds an offset to the scores; returns its SHA-256."""
        (self.models / file).write_text(str(offset))
        return sha256_of(self.models / file)

    def start(self, webhook=False, **settings):
        """A started Station; without settings of its own it draws no part for review and needs no room on the disk."""
        journal = Journal(self.journal_path, webhook=webhook)
        args = build_parser().parse_args(["--models", str(self.models), "--journal", str(self.journal_path)])
        vars(args).update({"sample": 0, "free_gib": 0, **settings})
        station = Station(journal, Recipes(self.models, journal, load), args)
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
    while made.running:
        made.stop(made.running[0])


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


def write(incoming, name, score=1.0, when=None, pattern=("{}_rgb.png", "{}_xyz.tiff")):
    """Write a pair into a watched folder; with ``when`` as if it had come so many seconds after the others."""
    for file, content in zip(pattern, part(score)):
        path = incoming / file.format(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        if when is not None:
            os.utime(path, (1e9 + when, 1e9 + when))


def until(condition, seconds=60.0):
    """Wait for a condition; returns its value."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, "did not happen"
        time.sleep(0.01)
    return value
