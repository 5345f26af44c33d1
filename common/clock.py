"""Measures how long the steps of a task take."""

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Clock(dict[str, float]):
    """{step: seconds}; ``with clock("search"):`` adds the time of a block."""

    @contextmanager
    def __call__(self, step: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            self[step] = self.get(step, 0.0) + time.perf_counter() - start
