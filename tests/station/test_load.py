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
    process, memory, times, cloud = psutil.Process(), [], {}, os.urandom(BYTES)
    for number in range(PARTS):
        score = number % 17 + number / PARTS if number % 100 else 50 + number
        rgb = json.dumps({"score": score, "light": number % 97 / 97}).encode()
        recording = station.store.take({"rgb": io.BytesIO(rgb), "xyz": io.BytesIO(cloud)}, serial=f"S{number}")
        station.submit(recording).result(10)
        if number % (PARTS // 20) == 0:
            station.store.tidy()
            memory.append(process.memory_info().rss / 2**20)
    with TestClient(make_app(station)) as client:
        for path in ("/", "/review", "/history", "/history?search=S1234", "/quality", "/parts?limit=100", "/metrics"):
            start = time.perf_counter()
            assert client.get(path).status_code == 200
            times[path] = time.perf_counter() - start
    start = time.perf_counter()
    station.watches.forget(station.recipes.get())
    station.watches.of(station.recipes.get())
    times["drift taken up again"] = time.perf_counter() - start
    station.store.tidy()
    kept = sum(row[0] for row in station.journal.rows("SELECT bytes FROM kept"))
    assert memory[-1] < memory[len(memory) // 4] + 40 and kept < 6e8 and max(times.values()) < 3, (memory, kept, times)
    assert station.journal.rows("SELECT COUNT(*) FROM events WHERE kind = 'verdict'") == [(PARTS,)]
