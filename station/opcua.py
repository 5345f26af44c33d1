"""The last verdict over OPC UA. Nodes of our own, read-only; conformance to a companion specification is not claimed.

Namespace ``urn:m3dm:station``, below Objects:

    Station/State            String   loading, ready, stopping or stuck
    Station/Recipe           String   of the last part
    Station/Result/Id        Int64    of the last part; it changes last, so a client subscribes to it
    Station/Result/Verdict   String   pass, fail, cannot judge
    Station/Result/Serial    String
    Station/Result/PValue    Double   -1 if the part cannot be judged
    Station/Result/Score     Double   not a number if the part cannot be judged
    Station/Result/Time      DateTime UTC
    Station/Result/ModelId   String
"""

import math
import queue
import threading
from datetime import datetime, timezone

NAMESPACE = "urn:m3dm:station"
LOOK_SECONDS = 0.2  # between two looks at the state
UNKNOWN = {  # before the first part, and of a part that has no such value
    **dict.fromkeys(("State", "Recipe", "Verdict", "Serial", "ModelId"), ""),
    **{"PValue": -1.0, "Score": math.nan, "Time": datetime(1970, 1, 1, tzinfo=timezone.utc), "Id": 0},
}


class OpcUa:
    """The server.

    Args:
        station: ``station.service.Station``.
        endpoint: such as ``opc.tcp://127.0.0.1:4840``. There is no encryption and no login, so name an address that
            only the line can reach.
    """

    def __init__(self, station, endpoint):
        self._station, self._endpoint = station, endpoint
        self._stop, self._new = threading.Event(), queue.Queue()
        station.listen(lambda event: self._new.put(event) if event.kind == "verdict" else None)

    def start(self):
        """Begin to serve.

        Raises:
            OSError: the address cannot be used.
        """
        from asyncua import ua
        from asyncua.sync import Server

        self._server = Server()
        self._server.set_endpoint(self._endpoint)
        self._server.set_server_name("M3DM station")
        self._server.set_security_policy([ua.SecurityPolicyType.NoSecurity])
        space = self._server.register_namespace(NAMESPACE)
        station = self._server.nodes.objects.add_object(space, "Station")
        result, kinds = station.add_object(space, "Result"), ua.VariantType
        add = lambda parent, name, kind: parent.add_variable(space, name, ua.Variant(UNKNOWN[name], kind))
        self._nodes = {name: add(station, name, kinds.String) for name in ("State", "Recipe")}
        self._nodes |= {name: add(result, name, kinds.String) for name in ("Verdict", "Serial", "ModelId")}
        self._nodes |= {name: add(result, name, kinds.Double) for name in ("PValue", "Score")}
        self._nodes |= {"Time": add(result, "Time", kinds.DateTime), "Id": add(result, "Id", kinds.Int64)}
        self._types = {"Time": kinds.DateTime, "Id": kinds.Int64}
        try:
            self._server.start()
        except OSError as error:
            self._server.tloop.stop()
            raise OSError(f"--opcua {self._endpoint}: {error.strerror or error}") from None
        self._thread = threading.Thread(target=self._show, name="opcua", daemon=True)
        self._thread.start()

    def end(self):
        """Stop to serve."""
        self._stop.set()
        self._thread.join(5)
        self._server.stop()

    def _show(self):
        while not self._stop.is_set():
            self._nodes["State"].write_value(self._station.state)
            try:
                event = self._new.get(timeout=LOOK_SECONDS)
            except queue.Empty:
                continue
            told = {"Recipe": event.recipe, "Verdict": event.verdict, "Serial": event.serial}
            told |= {"PValue": event.p_value, "Score": event.score, "ModelId": f"{event.recipe}:{event.model[:12]}"}
            told |= {"Time": datetime.fromtimestamp(event.epoch, timezone.utc), "Id": event.number}
            for name, value in told.items():
                self._nodes[name].write_value(UNKNOWN[name] if value is None else value, self._types.get(name))
