"""To the line: verdicts by webhook, MQTT and OPC UA. Each line hears the station's events and runs by itself."""

import contextlib
import json
import logging
import math
import queue
import threading
import time
import urllib.request
from datetime import datetime, timezone
from urllib.parse import urlsplit

from common.errors import InputError, tell

ATTEMPTS = 10  # then an event is dead: after some 17 minutes
FIRST_WAIT = 1.0  # seconds until the second attempt; doubled with each attempt
TIMEOUT = 10.0  # seconds for one attempt
ONLINE, OFFLINE = "online", "offline"
NAMESPACE = "urn:m3dm:station"
LOOK_SECONDS = 0.2  # between two looks at the state
NODES = {  # {name: (its kind, its value before the first part and of a part that has none)}; Id changes last
    **{name: ("String", "") for name in ("State", "Recipe", "Verdict", "Serial", "ModelId")},
    "PValue": ("Double", -1.0),
    "Score": ("Double", math.nan),
    "Time": ("DateTime", datetime(1970, 1, 1, tzinfo=timezone.utc)),
    "Id": ("Int64", 0),
}


def address_of(option, text, schemes, wanted):
    """The parts of an address; refused unless it has one of these schemes, a host, and a port that is right."""
    with contextlib.suppress(ValueError):  # a port that is no number up to 65535
        parts = urlsplit(text)
        if parts.scheme in schemes and parts.hostname and parts.port != 0:
            return parts
    raise InputError(f"{option} {text}: write {wanted}")


class Line:
    """A thread that calls ``work`` with each event of a station, and with None after ``seconds`` without one."""

    def __init__(self, station, seconds):
        self.station, self._seconds, self._events, self._ending = station, seconds, queue.Queue(), False
        self._thread = threading.Thread(target=self._run, daemon=True)
        station.listen(self._events.put)

    def start(self):
        """Begin."""
        self._thread.start()

    def end(self):
        """Stop after the events that have come; what a webhook has not taken yet is sent after the next start."""
        self._ending = True
        self._events.put(None)
        self._thread.join(5)

    def _run(self):
        while not self._ending or not self._events.empty():
            event = None
            with contextlib.suppress(queue.Empty):
                event = self._events.get(timeout=self._seconds)
            try:
                self.work(event)
            except Exception as error:  # what a line cannot do once must not end it
                tell("station.py", f"{type(self).__name__}: {error}")


class Webhook(Line):
    """Posts each verdict and review of a journal opened with ``webhook=True`` until it is taken; what is never taken is
    kept as dead. The outbox is filled in the same transaction as the journal, so that nothing is lost by a kill. An
    event can arrive twice, so the receiver goes by its number, which is also the header ``X-M3DM-Event``."""

    def __init__(self, station, address, first_wait=FIRST_WAIT):
        address_of("--webhook", address, ("http", "https"), "http://HOST/... or https://HOST/...")
        super().__init__(station, min(1.0, first_wait))
        self._address, self._first_wait = address, first_wait

    def work(self, _=None):
        """Send all events that are due, the oldest first."""
        journal = self.station.journal
        due = "SELECT event, attempts FROM outbox WHERE dead = 0 AND due <= ? ORDER BY event LIMIT 100"
        for number, attempts in journal.rows(due, (time.time(),)):
            if self._ending:
                return
            try:
                self._send(number)
            except OSError as error:
                dead = attempts + 1 >= ATTEMPTS
                if dead:
                    tell("station.py", f"webhook: event {number} was not taken {ATTEMPTS} times ({error}); it is dead")
                values = attempts + 1, time.time() + self._first_wait * 2**attempts, str(error), int(dead), number
                journal.execute("UPDATE outbox SET attempts = ?, due = ?, error = ?, dead = ? WHERE event = ?", values)
            else:
                journal.execute("DELETE FROM outbox WHERE event = ?", (number,))

    def _send(self, number):
        journal = self.station.journal
        (event,) = journal.events("v.number = ?", (number,))
        about = event if event.kind == "verdict" else journal.part(event.part)
        told = {"event": number, "kind": event.kind, "time": event.time, "part": self.station.answer(about)}
        headers = {"Content-Type": "application/json", "X-M3DM-Event": str(number)}
        request = urllib.request.Request(self._address, json.dumps(told).encode(), headers, method="POST")
        urllib.request.urlopen(request, timeout=TIMEOUT).close()


class Mqtt:
    """Publishes to a broker, which it finds again by itself. Topics, below the prefix: ``status`` (retained: online or
    offline, which the broker itself sets when the station is gone), ``verdict``, ``last/RECIPE`` (the newest one,
    retained), ``alarm`` (drift). All with quality of service 1; ``login``: (user, password)."""

    def __init__(self, station, address, prefix="m3dm", login=None):
        import paho.mqtt.client as paho

        parts = address_of("--mqtt", address, ("mqtt", "mqtts"), "mqtt://HOST:1883, or mqtts://HOST:8883")
        secure = parts.scheme == "mqtts"
        self._station, self._prefix, self._client = station, prefix, paho.Client(paho.CallbackAPIVersion.VERSION2)
        if login:
            self._client.username_pw_set(*login)
        if secure:
            self._client.tls_set()
        self._client.will_set(f"{prefix}/status", OFFLINE, qos=1, retain=True)
        self._client.on_connect = lambda *_: self._publish("status", ONLINE, retain=True)
        self._client.max_queued_messages_set(1000)  # while the broker is away
        self._client.connect_async(parts.hostname, parts.port or (8883 if secure else 1883))
        station.listen(self._hear)

    def start(self):
        """Begin to connect."""
        self._client.loop_start()

    def _publish(self, topic, text, retain=False):
        return self._client.publish(f"{self._prefix}/{topic}", text, qos=1, retain=retain)

    def _hear(self, event):
        """The client sends it in its own thread."""
        if event.kind == "verdict":
            text = json.dumps(self._station.answer(event))
            self._publish("verdict", text)
            self._publish(f"last/{event.recipe}", text, retain=True)
        elif event.kind == "drift alarm":
            self._publish("alarm", json.dumps({"model": event.recipe, "time": event.time, **event.content}))

    def end(self):
        """Say goodbye."""
        if self._client.is_connected():
            self._publish("status", OFFLINE, retain=True).wait_for_publish(2)
        self._client.disconnect()
        self._client.loop_stop()


class OpcUa(Line):
    """Serves the last verdict over OPC UA, read-only, in nodes of our own, see docs/station.md. There is no encryption
    and no login, so name an endpoint that only the line can reach."""

    def __init__(self, station, endpoint):
        address_of("--opcua", endpoint, ("opc.tcp",), "opc.tcp://HOST:4840")
        super().__init__(station, LOOK_SECONDS)
        self._endpoint, self._kinds, self._nodes = endpoint, {}, {}

    def start(self):
        """Begin to serve; refuses an address that cannot be used."""
        from asyncua import ua
        from asyncua.sync import Server

        logging.getLogger("asyncua").setLevel(logging.CRITICAL)  # it would tell of a busy address by a traceback
        self._server = Server()
        self._server.set_endpoint(self._endpoint)
        self._server.set_server_name("M3DM station")
        self._server.set_security_policy([ua.SecurityPolicyType.NoSecurity])
        space = self._server.register_namespace(NAMESPACE)
        top = self._server.nodes.objects.add_object(space, "Station")
        result = top.add_object(space, "Result")
        for name, (kind, value) in NODES.items():
            place, self._kinds[name] = top if name in ("State", "Recipe") else result, ua.VariantType[kind]
            self._nodes[name] = place.add_variable(space, name, ua.Variant(value, self._kinds[name]))
        try:
            self._server.start()
        except OSError as error:
            self._server.tloop.stop()
            raise InputError(f"--opcua {self._endpoint}: cannot be used ({error.strerror or error})") from None
        super().start()

    def work(self, event):
        """Show the state, and a verdict."""
        told = {"State": self.station.state}
        if event is not None and event.kind == "verdict":
            told |= {"Recipe": event.recipe, "Verdict": event.verdict, "Serial": event.serial}
            told |= {"PValue": event.p_value, "Score": event.score, "ModelId": f"{event.recipe}:{event.model[:12]}"}
            told |= {"Time": datetime.fromtimestamp(event.epoch, timezone.utc), "Id": event.number}
        for name, value in told.items():
            self._nodes[name].write_value(NODES[name][1] if value is None else value, self._kinds[name])

    def end(self):
        """Stop to serve."""
        super().end()
        self._server.stop()
