"""A stop that was asked for is not lost, even where Python ignores the exception that asks for it."""

import os
import signal
import sys
import time

import pytest

from utils.progress import track
from utils.signals import first_signal_stops, raise_if_stopping


class Swallows:
    """Ends as a loader's worker may: it is interrupted where Python ignores exceptions."""

    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.2)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("terminal", [False, True])
def test_a_swallowed_stop_ends_the_loop_at_the_next_item(monkeypatch, terminal):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal, raising=False)
    seen = []
    with first_signal_stops("here"):
        with pytest.raises(KeyboardInterrupt):
            for number in track(range(9), 9, "parts"):
                seen.append(number)
                if number == 3:
                    Swallows()
    assert seen == [0, 1, 2, 3]


def test_a_stop_is_forgotten_with_the_command_that_it_ended():
    with pytest.raises(KeyboardInterrupt):
        with first_signal_stops("here"):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.2)
    raise_if_stopping()
    with first_signal_stops("here"):
        raise_if_stopping()
