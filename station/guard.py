"""What stands before every request: its size, the host and the origin, and the token."""

import base64
import hmac
from urllib.parse import urlsplit

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import JSONResponse

OPEN = "/health"  # also without the token
LOCAL = ("127.0.0.1", "localhost", "testserver")
HEADERS = {
    "content-security-policy": "default-src 'self'; frame-ancestors 'none'; form-action 'self'; base-uri 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cache-control": "no-store",
}


class Guard:
    """ASGI middleware. Programs show the token as ``Authorization: Bearer``, people as the password that the browser
    asks for. Without one, only requests to this machine's own name are taken, so that no web page elsewhere can reach
    the station. A body has at most ``most_bytes``, which has to be told in advance."""

    def __init__(self, app, token, most_bytes):
        self.app, self.token, self.most_bytes = app, token, most_bytes

    async def __call__(self, scope, receive, send):
        async def with_headers(message):
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        refused = self._refusal(Request(scope)) if scope["type"] == "http" else None
        await (refused or self.app)(scope, receive, with_headers)

    def _refusal(self, request):
        """The response to a request that is not let through; None for one that is."""
        refused = lambda status, text, more=None: JSONResponse({"detail": text}, status, more)
        headers, path = request.headers, request.scope["path"]
        host, origin, length = headers.get("host", ""), headers.get("origin"), headers.get("content-length", "0")
        if "transfer-encoding" in headers or not length.isdecimal():
            return refused(411, "say the upload's size: Content-Length")
        if int(length) > self.most_bytes:
            return refused(413, f"the upload has more than {self.most_bytes} bytes")
        if self.token is None and host.rsplit(":", 1)[0] not in LOCAL and host not in LOCAL:
            return refused(403, "this station serves its own machine only")
        if request.method not in ("GET", "HEAD") and origin and urlsplit(origin).netloc != host:
            return refused(403, "a page of another origin may not do this")
        if self.token is None or path == OPEN or hmac.compare_digest(_shown(headers), self.token.encode()):
            return None
        words = "show the station's token: Authorization: Bearer TOKEN"
        return refused(401, words, {"www-authenticate": 'Basic realm="station: any name, and the token"'})


def _shown(headers):
    """The token that a request shows, as bytes."""
    scheme, _, shown = headers.get("authorization", "").partition(" ")
    if scheme != "Basic":
        return shown.strip().encode() if scheme == "Bearer" else b""
    try:
        return base64.b64decode(shown).partition(b":")[2]
    except ValueError:
        return b""
