"""What stands before every request: the token, the host and the origin, and the size of what is uploaded."""

import hmac
from http.cookies import CookieError, SimpleCookie
from urllib.parse import urlsplit

COOKIE = "m3dm_station"
OPEN = ("/login", "/static/", "/health")  # also without the token
LOCAL = ("127.0.0.1", "localhost", "[::1]", "testserver")
HEADERS = [
    (b"content-security-policy", b"default-src 'self'; frame-ancestors 'none'; form-action 'self'; base-uri 'none'"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
]


class Guard:
    """ASGI middleware.

    Args:
        token: what callers show as ``Authorization: Bearer``, or the page as a cookie; None: nothing is asked for, and
            only requests to this machine's own name are taken, so that no web page elsewhere can reach the station.
        most_bytes: of a request's body.
    """

    def __init__(self, app, token, most_bytes):
        self.app, self.token, self.most_bytes = app, token, most_bytes

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        refused = self._refusal(scope, headers)
        if refused:
            await _answer(send, *refused)
            return
        received, over = 0, False

        async def counted():
            nonlocal received, over
            message = await receive()
            received += len(message.get("body", b""))
            if received > self.most_bytes:
                over = True
                raise ConnectionError("the upload is too large")
            return message

        async def with_headers(message):
            if over:  # whatever the application makes of it
                return
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *HEADERS]
            await send(message)

        try:
            await self.app(scope, counted, with_headers)
        except ConnectionError:
            if not over:
                raise
        if over:
            await _answer(send, 413, self._too_large())

    def _too_large(self):
        return f"the upload has more than {self.most_bytes} bytes"

    def _refusal(self, scope, headers):
        """(status, text) for a request that is not let through; None for one that is."""
        length = headers.get("content-length", "0")
        if length.isdecimal() and int(length) > self.most_bytes:
            return 413, self._too_large()
        host = headers.get("host", "")
        if self.token is None and host.rsplit(":", 1)[0] not in LOCAL and host not in LOCAL:
            return 403, "this station serves its own machine only"
        origin = headers.get("origin")
        if scope["method"] not in ("GET", "HEAD") and origin and urlsplit(origin).netloc != host:
            return 403, "a page of another origin may not do this"
        if self.token is not None and not scope["path"].startswith(OPEN) and not self._known(headers):
            if "text/html" in headers.get("accept", ""):
                return 303, "/login"
            return 401, "show the station's token: Authorization: Bearer TOKEN"
        return None

    def _known(self, headers):
        shown = headers.get("authorization", "").removeprefix("Bearer ").strip()
        try:
            cookie = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
        except CookieError:
            cookie = None
        return any(same(text, self.token) for text in (shown, cookie.value if cookie else ""))


def same(text, token):
    """Whether two texts are the same, in a time that does not tell how much of them is."""
    return hmac.compare_digest(text.encode(), token.encode())


async def _answer(send, status, text):
    import json

    headers = [*HEADERS, (b"content-type", b"application/json")]
    headers += {401: [(b"www-authenticate", b"Bearer")], 303: [(b"location", text.encode())]}.get(status, [])
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps({"detail": text}).encode()})
