"""Where the dashboard is, as a browser sees it: behind proxies, and below a path.

A change comes from our own pages if the browser says so in `Sec-Fetch-Site`, which no page can
write. Browsers send it over TLS and to their own machine; without it the origin of the page must
be the host that was asked, as `Host` or a trusted proxy names it.
"""

from starlette.requests import Request

from meterhouse.proxies import Front, Proxies, comes_straight

_OURS = ("same-origin", "none")  # none: a person, by a bookmark or the bar of addresses
_FOREIGN = "This request came from another site, so nothing was done."


class Address:
    """Says where things are; `base` is the path that all of them are below, empty for none."""

    def __init__(self, proxies: Proxies, base: str) -> None:
        self._proxies = proxies
        self._base = base
        self.home = base + "/dashboard"

    def below(self, path: str) -> str:
        """Return where a browser finds one of our paths."""
        return self._base + path

    def url(self, request: Request) -> str:
        """Return the URL of the API, as whoever asks can reach it; without a slash at its end."""
        scheme, host = self._front(request)
        return f"{scheme}://{host}{self._base}"

    def secure(self, request: Request) -> bool:
        """Tell whether the browser speaks TLS."""
        return self._front(request).scheme == "https"

    def local(self, request: Request) -> bool:
        """Tell whether the browser is on this machine, with no proxy in between."""
        headers, version = dict(request.scope["headers"]), request.scope["http_version"]
        return comes_straight(headers, _peer(request), version)

    def client(self, request: Request) -> str:
        """Return the address of the browser; empty where only the Unix socket is known."""
        forwarded = ", ".join(request.headers.getlist("x-forwarded-for"))
        return self._proxies.client(forwarded, _peer(request))

    def foreign(self, request: Request) -> str:
        """Say why a request is not taken for one of our own pages'; empty where it is."""
        site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
        if site is not None:
            return "" if site in _OURS else _FOREIGN
        front = self._front(request).host
        asked = {request.headers.get("host") or front, front}
        if origin is None or origin.partition("://")[2] in asked:
            return ""
        return (
            f"{_FOREIGN} Its page is of {origin}, and the server was asked as "
            f"{' and '.join(sorted(asked))}. A proxy in between has to pass on the header Host as "
            "it came, or X-Forwarded-Host from an address of the setting trusted_proxies."
        )

    def _front(self, request: Request) -> Front:
        return self._proxies.front(dict(request.scope["headers"]), _peer(request))


def _peer(request: Request) -> str:
    return request.client.host if request.client else ""
