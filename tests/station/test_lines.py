"""To the line: a webhook that does not give up, MQTT with a real broker, OPC UA with a real client."""

import asyncio
import json
import shutil
import socket
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from common.errors import InputError
from station.lines import ATTEMPTS, NAMESPACE, Mqtt, OpcUa, Webhook
from tests.station.conftest import send, until

MOSQUITTO = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


@pytest.fixture
def receiver():
    """A web server that answers with ``server.code`` and keeps what it got in ``server.got``."""

    class Handler(BaseHTTPRequestHandler):
        log_message = print  # not to stderr

        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self.server.got.append((self.headers["X-M3DM-Event"], json.loads(body)))
            self.send_response(self.server.code)
            self.end_headers()

    server = HTTPServer(("127.0.0.1", 0), Handler)
    server.code, server.got = 200, []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def test_webhook(place, receiver):
    station = place.start(webhook=True)
    hook = Webhook(station, f"http://127.0.0.1:{receiver.server_port}/in", first_wait=0.05)
    receiver.code = 500
    answer = send(station, 50)
    hook.start()
    until(lambda: len(receiver.got) >= 2)
    receiver.code = 204
    until(lambda: not station.journal.rows("SELECT * FROM outbox"))
    number, told = receiver.got[-1]
    assert told["part"] == answer and told["kind"] == "verdict" and int(number) == told["event"] == answer["id"]
    review = station.review(answer["id"], "good", "Eva")
    until(lambda: receiver.got[-1][1]["kind"] == "review")
    assert receiver.got[-1][1]["event"] == review.number and receiver.got[-1][1]["part"]["review"]["by"] == "Eva"
    hook.end()


def test_waits_double_until_an_event_is_dead(place, receiver, capsys):
    station, waits = place.start(webhook=True), []
    send(station, 50)
    receiver.code = 503
    hook = Webhook(station, f"http://127.0.0.1:{receiver.server_port}/", first_wait=100.0)
    for attempt in range(1, ATTEMPTS + 1):
        hook.work()
        hook.work()  # not due yet
        ((attempts, due, dead, error),) = station.journal.rows("SELECT attempts, due, dead, error FROM outbox")
        assert (attempts, dead, len(receiver.got)) == (attempt, int(attempt == ATTEMPTS), attempt)
        waits.append(round((due - time.time()) / 100))
        station.journal.execute("UPDATE outbox SET due = 0")
    hook.work()
    assert len(receiver.got) == ATTEMPTS and waits == [2**attempt for attempt in range(ATTEMPTS)]
    assert "503" in error and "it is dead" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.skipif(MOSQUITTO is None, reason="needs mosquitto")
def test_mqtt_with_a_real_broker(place):
    paho = pytest.importorskip("paho.mqtt.client")
    port, got = free_port(), {}
    broker = subprocess.Popen([MOSQUITTO, "-p", str(port)], stderr=subprocess.DEVNULL)
    try:
        station = place.start()
        line = Mqtt(station, f"mqtt://127.0.0.1:{port}", "plant/m3dm")
        line.start()
        until(line._client.is_connected)
        answer = send(station, 50)
        until(lambda: not line._client._out_messages)  # the broker has it
        client = paho.Client(paho.CallbackAPIVersion.VERSION2)
        client.on_message = lambda _, __, message: got.update({message.topic: (message.payload, message.retain)})
        client.on_connect = lambda *_: client.subscribe("plant/#", qos=1)
        client.connect("127.0.0.1", port)
        client.loop_start()
        until(lambda: "plant/m3dm/last/knob" in got)
        assert got["plant/m3dm/status"] == (b"online", True)
        payload, retained = got["plant/m3dm/last/knob"]
        assert retained and json.loads(payload) == answer
        second = send(station, 1)
        until(lambda: "plant/m3dm/verdict" in got)
        assert json.loads(got["plant/m3dm/verdict"][0]) == second
        line._client._sock.shutdown(socket.SHUT_RDWR)  # the station is cut off: the broker itself says so
        until(lambda: got["plant/m3dm/status"][0] == b"offline")
        until(lambda: got["plant/m3dm/status"][0] == b"online")  # and it comes back by itself
        line.end()
        until(lambda: got["plant/m3dm/status"][0] == b"offline")
        client.disconnect()
        client.loop_stop()
    finally:
        broker.terminate()
        broker.wait(10)


def test_without_a_broker_the_station_judges_on(place):
    pytest.importorskip("paho.mqtt.client")
    station = place.start()
    Mqtt(station, f"mqtt://127.0.0.1:{free_port()}").start()
    assert send(station, 1)["verdict"] == "pass"


@pytest.mark.slow
def test_opcua_with_a_real_client(place):
    asyncua = pytest.importorskip("asyncua")
    station, endpoint = place.start(), f"opc.tcp://127.0.0.1:{free_port()}/"
    line = OpcUa(station, endpoint)
    line.start()
    answer = send(station, 50, serial="A17")

    async def read():
        async with asyncua.Client(endpoint) as client:
            space = await client.get_namespace_index(NAMESPACE)
            objects = client.nodes.objects

            async def node(path):
                return await objects.get_child([f"{space}:{name}" for name in f"Station/{path}".split("/")])

            while await (await node("Result/Id")).read_value() != answer["id"]:
                await asyncio.sleep(0.05)
            with pytest.raises(asyncua.ua.UaStatusCodeError):
                await (await node("State")).write_value("mine")
            results = "Verdict Serial PValue Score ModelId Time".split()
            names = ("State", "Recipe", *(f"Result/{name}" for name in results))
            return [await (await node(name)).read_value() for name in names]

    *found, when = asyncio.run(asyncio.wait_for(read(), 20))
    assert found == ["ready", "knob", "fail", "A17", *(answer[name] for name in ("p_value", "score", "model_id"))]
    assert when.replace(tzinfo=None).isoformat(timespec="milliseconds") == answer["time"].removesuffix("Z")
    line.end()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        with pytest.raises(InputError, match=r"--opcua opc.tcp://127.0.0.1:\d+/: cannot be used"):
            OpcUa(station, f"opc.tcp://127.0.0.1:{taken.getsockname()[1]}/").start()
