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

import asyncio
import math
import threading
from datetime import datetime, timezone

NAMESPACE = "urn:m3dm:station"
KINDS = {"Time": "DateTime", "Id": "Int64"}  # of nodes whose OPC UA type their value does not tell
LOOK_SECONDS = 0.2  # between two looks at the state


class OpcUa:
    """A server in a thread of its own.

    Args:
        station: ``station.service.Station``.
        endpoint: such as ``opc.tcp://127.0.0.1:4840``. There is no encryption and no login, so name an address that
            only the line can reach.
    """

    def __init__(self, station, endpoint):
        self._station, self._endpoint = station, endpoint
        self._stop, self._new, self._loop = threading.Event(), None, None
        self.started, self.problem = threading.Event(), None
        station.listen(self.hear)

    def start(self):
        """Begin to serve; returns once clients can connect.

        Raises:
            OSError: the address cannot be used.
        """
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name="opcua", daemon=True)
        self._thread.start()
        self.started.wait(20)
        if self.problem:
            raise OSError(f"--opcua {self._endpoint}: {self.problem}")

    def hear(self, event):
        """Show a verdict."""
        if event.kind == "verdict" and self._loop is not None:
            self._loop.call_soon_threadsafe(self._new.put_nowait, event)

    def end(self):
        """Stop to serve."""
        self._stop.set()
        self._thread.join(5)

    async def _serve(self):
        from asyncua import Server, ua

        server = Server()
        try:
            await server.init()
            server.set_endpoint(self._endpoint)
            server.set_server_name("M3DM station")
            server.set_security_policy([ua.SecurityPolicyType.NoSecurity])
            space = await server.register_namespace(NAMESPACE)
            station = await server.nodes.objects.add_object(space, "Station")
            result, nodes = await station.add_object(space, "Result"), {}
            for name, value in _values(None).items():
                parent = station if name in ("State", "Recipe") else result
                nodes[name] = await parent.add_variable(
                    space, name, value, KINDS.get(name) and ua.VariantType[KINDS[name]]
                )
            self._loop, self._new = asyncio.get_running_loop(), asyncio.Queue()
            async with server:
                self.started.set()
                await self._show(nodes, ua)
        except OSError as error:
            self.problem = error.strerror or str(error)
        finally:
            self.started.set()

    async def _show(self, nodes, ua):
        while not self._stop.is_set():
            await nodes["State"].write_value(self._station.state)
            try:
                event = await asyncio.wait_for(self._new.get(), LOOK_SECONDS)
            except asyncio.TimeoutError:
                continue
            for name, value in _values(event).items():
                if name != "State":
                    await nodes[name].write_value(value, KINDS.get(name) and ua.VariantType[KINDS[name]])


def _values(event):
    """{node: value} of a verdict's event, or before the first one; Id is the last."""
    if event is None:
        never = datetime(1970, 1, 1, tzinfo=timezone.utc)
        values = "loading", "", "", "", -1.0, math.nan, "", never, 0
    else:
        model, when = f"{event.recipe}:{event.model[:12]}", datetime.fromtimestamp(event.epoch, timezone.utc)
        p_value = -1.0 if event.p_value is None else event.p_value
        score = math.nan if event.score is None else event.score
        values = "", event.recipe, event.verdict, event.serial or "", p_value, score, model, when, event.number
    names = "State", "Recipe", "Verdict", "Serial", "PValue", "Score", "ModelId", "Time", "Id"
    return dict(zip(names, values))
