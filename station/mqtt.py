"""Verdicts over MQTT, and a retained status that the broker itself sets to offline when the station is gone.

Topics, below the prefix: ``status`` (retained: online or offline), ``verdict`` (each verdict as JSON), ``last/RECIPE``
(the newest one, retained), ``alarm`` (drift). All with quality of service 1.
"""

import json
from urllib.parse import urlsplit

from common.errors import InputError

ONLINE, OFFLINE = "online", "offline"


class Mqtt:
    """A connection to a broker, which it finds again by itself.

    Args:
        station: ``station.service.Station``.
        address: ``mqtt://host:1883``, or ``mqtts://host:8883`` with TLS.
        prefix: of the topics.
        login: (user, password) or None.

    Raises:
        InputError: the address is of another kind.
    """

    def __init__(self, station, address, prefix="m3dm", login=None):
        import paho.mqtt.client as paho

        parts = urlsplit(address)
        if parts.scheme not in ("mqtt", "mqtts") or not parts.hostname:
            raise InputError(f"--mqtt {address}: write mqtt://HOST:1883, or mqtts://HOST:8883")
        self._station, self._prefix = station, prefix
        self._client = client = paho.Client(paho.CallbackAPIVersion.VERSION2)
        if login:
            client.username_pw_set(*login)
        if parts.scheme == "mqtts":
            client.tls_set()
        client.will_set(f"{prefix}/status", OFFLINE, qos=1, retain=True)
        client.on_connect = lambda *_: client.publish(f"{prefix}/status", ONLINE, qos=1, retain=True)
        client.max_queued_messages_set(1000)  # while the broker is away
        client.connect_async(parts.hostname, parts.port or (8883 if parts.scheme == "mqtts" else 1883))
        station.listen(self.hear)

    def start(self):
        """Begin to connect."""
        self._client.loop_start()

    def hear(self, event):
        """Publish an event."""
        if event.kind == "verdict":
            text = json.dumps(self._station.answer(event))
            self._client.publish(f"{self._prefix}/verdict", text, qos=1)
            self._client.publish(f"{self._prefix}/last/{event.recipe}", text, qos=1, retain=True)
        elif event.kind == "drift alarm":
            told = {"model": event.recipe, "time": event.time, **event.content}
            self._client.publish(f"{self._prefix}/alarm", json.dumps(told), qos=1)

    def end(self):
        """Say goodbye."""
        if self._client.is_connected():
            self._client.publish(f"{self._prefix}/status", OFFLINE, qos=1, retain=True).wait_for_publish(2)
        self._client.disconnect()
        self._client.loop_stop()
