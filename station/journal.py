"""The journal: every verdict, review, calibration, promotion and alarm as an event in one SQLite file.

Events are only ever appended; triggers refuse changes. A commit is on the disk before ``append`` returns. Three more
tables do change: ``kept``, which scans and pictures are still there; ``open``, which parts wait for a review; and
``outbox``, which events a webhook has not taken yet.
"""

import contextlib
import json
import secrets
import sqlite3
import threading
import time
from collections import namedtuple
from datetime import datetime, timezone
from pathlib import Path

from common.errors import InputError
from inspection.verdict import CANNOT_JUDGE, FAIL

VERSION = 2
# the column "chain" is empty: earlier programs wrote a hash there
SCHEMA = f"""
PRAGMA user_version = {VERSION};
CREATE TABLE IF NOT EXISTS events (
    number INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, epoch REAL NOT NULL, part INTEGER, recipe TEXT,
    model TEXT, serial TEXT, name TEXT, recording TEXT, key TEXT, verdict TEXT, p_value REAL, score REAL, chance REAL,
    ranked INTEGER NOT NULL DEFAULT 0, content TEXT NOT NULL, chain TEXT NOT NULL);
CREATE UNIQUE INDEX IF NOT EXISTS of_key ON events(key) WHERE key IS NOT NULL;
CREATE INDEX IF NOT EXISTS of_recording ON events(recording, recipe) WHERE recording IS NOT NULL;
CREATE INDEX IF NOT EXISTS of_kind ON events(kind, number);
CREATE INDEX IF NOT EXISTS of_time ON events(kind, epoch, recipe, verdict);
CREATE INDEX IF NOT EXISTS of_verdict ON events(verdict, number) WHERE verdict IS NOT NULL;
CREATE INDEX IF NOT EXISTS of_part ON events(part, number) WHERE part IS NOT NULL;
CREATE INDEX IF NOT EXISTS of_serial ON events(serial, number) WHERE serial IS NOT NULL;
CREATE INDEX IF NOT EXISTS of_name ON events(name, number) WHERE name IS NOT NULL;
CREATE INDEX IF NOT EXISTS sampled ON events(recipe, number) WHERE chance IS NOT NULL;
CREATE INDEX IF NOT EXISTS of_ranked ON events(recipe, number, ranked) WHERE ranked > 0;
CREATE TRIGGER IF NOT EXISTS no_update BEFORE UPDATE ON events BEGIN SELECT RAISE(ABORT, 'append only'); END;
CREATE TRIGGER IF NOT EXISTS no_delete BEFORE DELETE ON events BEGIN SELECT RAISE(ABORT, 'append only'); END;
CREATE TABLE IF NOT EXISTS kept (part INTEGER PRIMARY KEY, class TEXT NOT NULL, epoch REAL NOT NULL, bytes INTEGER);
CREATE TABLE IF NOT EXISTS open (part INTEGER PRIMARY KEY, drawn INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS of_drawn ON open(drawn, part);
CREATE TABLE IF NOT EXISTS outbox (event INTEGER PRIMARY KEY, attempts INTEGER NOT NULL DEFAULT 0,
    due REAL NOT NULL DEFAULT 0, error TEXT, dead INTEGER NOT NULL DEFAULT 0);
CREATE INDEX IF NOT EXISTS waiting ON outbox(due) WHERE dead = 0;
CREATE TABLE IF NOT EXISTS secret (key TEXT NOT NULL);
"""
REVIEW = "(SELECT content FROM events r WHERE r.part = v.number AND r.kind = 'review' ORDER BY r.number DESC LIMIT 1)"
COLUMNS = (
    *("kind", "epoch", "part", "recipe", "model", "serial", "name", "recording", "key"),
    *("verdict", "p_value", "score", "chance", "ranked", "content"),
)
MOST_DRAWN = 5000  # drawn parts that rates and calibration look back on


class JournalError(Exception):
    """An event could not be written, so nothing may be answered: the disk is full or the file is not writable."""


class Event(namedtuple("Event", ("number", *COLUMNS, "review"), defaults=(None,))):
    """One event. ``part``: number of the verdict that it is about; ``recording``: SHA-256 over the files; ``chance``:
    the sampling probability of a part that was drawn for review; ``ranked``: 1 if it was ranked for drift, 2 if it was
    only counted; ``content``: dict; ``review``: the newest review's content."""

    @property
    def time(self):
        """The time as ISO 8601 in UTC, to the millisecond."""
        return iso(self.epoch)


def iso(epoch):
    """Seconds since 1970 as ISO 8601 in UTC."""
    return datetime.fromtimestamp(epoch, timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def epoch_of(moment):
    """Seconds since 1970 of a datetime; without a zone it is UTC."""
    return (moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)).timestamp()


class Journal:
    """An open journal, which any thread may use. Without ``write`` the file has to be there; with ``webhook`` verdicts
    and reviews also go into the outbox. Refuses what is no journal, of another version, or cannot be opened."""

    def __init__(self, path, write=True, webhook=False):
        self.path, self.webhook, self._lock = Path(path), webhook, threading.Lock()
        try:
            if write:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self._db = sqlite3.connect(self.path, timeout=30, check_same_thread=False)
                self._db.executescript("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;")
            elif not self.path.is_file():
                raise InputError(f"{path}: no such journal")
            version = self.rows("PRAGMA user_version")[0][0]
            if version not in (0, VERSION):
                raise InputError(f"{path}: is a journal of version {version}; this program uses version {VERSION}")
            if write:
                self._db.executescript(SCHEMA)
                once = "INSERT INTO secret SELECT ? WHERE NOT EXISTS (SELECT * FROM secret)"
                self.execute(once, (secrets.token_hex(32),))
            self.secret = bytes.fromhex(self.rows("SELECT key FROM secret")[0][0])
        except (sqlite3.Error, OSError, JournalError, IndexError) as error:
            raise InputError(f"{path}: cannot be used as journal ({error}); name another file with --journal") from None

    def close(self):
        """Close the connection that writes."""
        self._db.close()

    def append(self, kind, content, kept=None, **columns):
        """Write an event and return it once it is on the disk. JournalError: it could not be written, or one with this
        ``key`` is there already.

        Args:
            kind: verdict, review, calibration, comparison, promotion, drift start, drift alarm or start.
            kept: (class, bytes) of the files that will be kept of this part, for the index.
        """
        row = dict.fromkeys(COLUMNS) | {"ranked": 0, **columns, "kind": kind, "epoch": time.time()}
        with self._writing() as db:
            (before,) = db.execute("SELECT epoch FROM events ORDER BY number DESC LIMIT 1").fetchone() or (0.0,)
            if row["epoch"] < before - 1:
                content = {**content, "clock": f"set back by {before - row['epoch']:.0f} s"}
            row["content"] = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
            statement = f"INSERT INTO events ({', '.join(row)}, chain) VALUES ({'?, ' * len(row)} '')"
            number = db.execute(statement, tuple(row.values())).lastrowid
            if kept is not None:
                db.execute("INSERT INTO kept VALUES (?, ?, ?, ?)", (number, kept[0], row["epoch"], kept[1]))
            drawn = row["chance"] is not None
            if kind == "verdict" and (drawn or row["verdict"] in (FAIL, CANNOT_JUDGE)) and not content.get("check"):
                db.execute("INSERT INTO open VALUES (?, ?)", (number, drawn))
            elif kind == "review":
                db.execute("DELETE FROM open WHERE part = ?", (row["part"],))
            if self.webhook and kind in ("verdict", "review"):
                db.execute("INSERT INTO outbox (event) VALUES (?)", (number,))
        return Event(number, **{**row, "content": json.loads(row["content"])})

    def execute(self, statement, values=()):
        """Change ``kept``, ``open`` or ``outbox``."""
        with self._writing() as db:
            db.execute(statement, values)

    @contextlib.contextmanager
    def _writing(self):
        try:
            with self._lock, self._db:
                self._db.execute("BEGIN IMMEDIATE")
                yield self._db
        except sqlite3.Error as error:
            raise JournalError(f"the journal cannot be written ({error})") from None

    def query(self, statement, values=()):
        """The cursor of a SELECT, for more rows than memory should hold."""
        address = f"{self.path.resolve().as_uri()}?mode=ro"
        return sqlite3.connect(address, uri=True, check_same_thread=False).execute(statement, values)

    def rows(self, statement, values=()):
        """The rows of a SELECT."""
        cursor = self.query(statement, values)
        with contextlib.closing(cursor.connection):
            return cursor.fetchall()

    def events(self, where, values=(), order="v.number", limit=-1):
        """[Event] for an SQL condition on the table ``v``, each with its newest review."""
        chosen = ", ".join(f"v.{name}" for name in ("number", *COLUMNS))
        statement = f"SELECT {chosen}, {REVIEW} FROM events v WHERE {where} ORDER BY {order} LIMIT ?"
        found = self.rows(statement, (*values, limit))
        return [Event(*row, json.loads(content), review and json.loads(review)) for *row, content, review in found]

    def newest(self, where, values=()):
        """The newest event of those that :meth:`events` would give, or None."""
        return next(iter(self.events(where, values, "v.number DESC", 1)), None)

    def part(self, number):
        """The verdict with this number, or None."""
        return self.newest("v.number = ? AND v.kind = 'verdict'", (number,)) if 0 < number < 2**63 else None

    def last(self, kind, recipe=None, model=None):
        """The newest event of a kind, of a recipe and model where these are given; or None."""
        where = "v.kind = ?1 AND (?2 IS NULL OR v.recipe = ?2) AND (?3 IS NULL OR v.model = ?3)"
        return self.newest(where, (kind, recipe, model))

    def parts(self, limit=100, verdict=None, recipe=None, since=None, text=None, before=None):
        """Verdicts with reviews, the newest first: at or after the epoch ``since``, with serial or name that begins
        with ``text``, with a number below ``before``."""
        asked = {"v.verdict = ?": verdict, "v.recipe = ?": recipe, "v.epoch >= ?": since, "v.number < ?": before}
        asked = {condition: value for condition, value in asked.items() if value is not None}
        where, values = " AND ".join(["v.kind = 'verdict'", *asked]), [*asked.values()]
        if text:
            begins = "SELECT number FROM events WHERE {0} >= ? AND {0} < ?".format
            where += f" AND v.number IN ({begins('serial')} UNION {begins('name')})"
            values += [text, text + "\U0010ffff"] * 2
        return self.events(where, values, "v.number DESC", limit)

    def to_review(self, limit=100):
        """Verdicts that wait for a review: drawn ones first, then fails and cannot-judges, but for master parts."""
        chosen = "v.number IN (SELECT part FROM open WHERE drawn = ? ORDER BY part {} LIMIT ?)".format
        drawn = self.events(chosen("ASC"), (1, limit))
        return drawn + self.events(chosen("DESC"), (0, limit - len(drawn)), "v.number DESC")

    def sampled(self, recipe):
        """The newest MOST_DRAWN parts of a recipe that were drawn for review, with reviews, in the order of judging."""
        return self.events("v.recipe = ? AND v.chance IS NOT NULL", (recipe,), "v.number DESC", MOST_DRAWN)[::-1]
