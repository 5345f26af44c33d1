"""Sends each verdict and review to an address, again and again until it is taken; what is never taken is kept as dead.

The outbox is filled in the same transaction as the journal, so that nothing is lost by a kill. An event can arrive
twice, so the receiver goes by its ``event``, which is also the header ``X-M3DM-Event``.
"""

import json
import sqlite3
import threading
import time
import urllib.request

from common.errors import tell
from station.journal import JournalError

ATTEMPTS = 10  # then an event is dead: after some 17 minutes
FIRST_WAIT = 1.0  # seconds; doubled with each attempt
TIMEOUT = 10.0  # seconds for one attempt


class Webhook:
    """A thread that empties the outbox.

    Args:
        station: ``station.service.Station``, whose journal was opened with ``webhook=True``.
        address: http or https.
        first_wait: seconds between the first and the second attempt.
    """

    def __init__(self, station, address, first_wait=FIRST_WAIT):
        self._station, self._address, self._first_wait = station, address, first_wait
        self._new, self.stop = threading.Event(), threading.Event()
        station.listen(lambda event: self._new.set())

    def start(self):
        """Begin to send."""
        threading.Thread(target=self._run, name="webhook", daemon=True).start()

    def end(self):
        """Stop to send; what is left is sent after the next start."""
        self.stop.set()

    def _run(self):
        while not self.stop.is_set():
            self._new.clear()
            try:
                self.send_due()
            except (JournalError, sqlite3.Error) as error:
                tell("station.py", f"webhook: {error}")
            self._new.wait(min(1.0, self._first_wait))

    def send_due(self):
        """Send all events that are due, the oldest first."""
        journal = self._station.journal
        due = "SELECT event, attempts FROM outbox WHERE dead = 0 AND due <= ? ORDER BY event LIMIT 100"
        for number, attempts in journal.rows(due, (time.time(),)):
            if self.stop.is_set():
                return
            try:
                self._send(number)
            except OSError as error:
                problem = str(error)
                dead, wait = attempts + 1 >= ATTEMPTS, self._first_wait * 2**attempts
                if dead:
                    tell(
                        "station.py", f"webhook: event {number} was not taken {ATTEMPTS} times ({problem}); it is dead"
                    )
                values = attempts + 1, time.time() + wait, problem, int(dead), number
                journal.execute("UPDATE outbox SET attempts = ?, due = ?, error = ?, dead = ? WHERE event = ?", values)
            else:
                journal.execute("DELETE FROM outbox WHERE event = ?", (number,))

    def _send(self, number):
        (event,) = self._station.journal.events("v.number = ?", (number,), review=True)
        about = event if event.kind == "verdict" else self._station.journal.part(event.part)
        told = {"event": number, "kind": event.kind, "time": event.time, "part": self._station.answer(about)}
        headers = {"Content-Type": "application/json", "X-M3DM-Event": str(number)}
        request = urllib.request.Request(self._address, json.dumps(told).encode(), headers, method="POST")
        with urllib.request.urlopen(request, timeout=TIMEOUT):
            pass
