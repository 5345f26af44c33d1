"""A day of 20,000 parts: memory stays, what is kept stays bounded, journal and pages stay fast."""

import io
import json
import os
import time

import psutil
import pytest
from starlette.testclient import TestClient

from station.api import make_app
from station.store import GIB

PARTS = int(os.environ.get("STATION_PARTS", 20_000))
BYTES = 100_000  # of a recording


@pytest.mark.slow
def test_a_days_load(place):
    station = place.start(sample=50, keep_passed=200, keep_gib=10**9 / GIB)
    process, memory, slowest = psutil.Process(), {}, 0.0
    cloud = os.urandom(BYTES)
    with TestClient(make_app(station)) as client:
        begun = time.perf_counter()
        for number in range(PARTS):
            score = number % 17 + number / PARTS if number % 100 else 50 + number
            rgb = json.dumps({"score": score, "light": number % 97 / 97}).encode()
            start = time.perf_counter()
            recording = station.store.take({"rgb": io.BytesIO(rgb), "xyz": io.BytesIO(cloud)}, serial=f"S{number}")
            station.submit(recording).result(10)
            slowest = max(slowest, time.perf_counter() - start)
            if number % (PARTS // 20) == 0:
                station.store.tidy()
                memory[number] = process.memory_info().rss / 2**20
        spent = time.perf_counter() - begun
        times = {}
        for path in ("/", "/review", "/history", "/history?search=S1234", "/quality", "/parts?limit=100", "/metrics"):
            start = time.perf_counter()
            assert client.get(path).status_code == 200
            times[path] = time.perf_counter() - start
        start = time.perf_counter()
        station.watches.forget(station.recipes.get())
        station.watches.of(station.recipes.get())
        times["drift taken up again"] = time.perf_counter() - start
    station.store.tidy()
    kept, values = sum(row[0] for row in station.journal.rows("SELECT bytes FROM kept")), list(memory.values())
    found = {"ms per part": 1000 * spent / PARTS, "slowest": slowest, "MiB": values, "kept": kept, "seconds": times}
    assert values[-1] < values[len(values) // 4] + 40 and kept < 6e8 and max(times.values()) < 3, found
    assert station.journal.rows("SELECT COUNT(*) FROM events WHERE kind = 'verdict'") == [(PARTS,)]
