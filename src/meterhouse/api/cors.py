"""CORS: pages of the setting `embed_origins` may ask with an embed token, and with nothing else.

It is for the routes alone that take such a token, and for requests that bring one or are to: what a
secret key may read is shared with no page. No answer allows credentials that a browser adds by
itself. https://fetch.spec.whatwg.org/#http-cors-protocol
"""

import re
from collections.abc import Mapping

from meterhouse import limits
from meterhouse.errors import Refusal
from meterhouse.wire.credentials import read_authorization
from meterhouse.wire.embed import is_embed_token

_METHODS = "GET, HEAD"
_REQUEST_HEADERS = "Authorization, Stripe-Version, Meterhouse-Consistency, Meterhouse-Exact"
_ANSWER_HEADERS = "Request-Id"
_DEFAULT_PORTS = {"http": ":80", "https": ":443"}


class Cors:
    """The origins of the setting, as a security policy reads them: `https://*.example.com:*`."""

    def __init__(self, origins: str) -> None:
        self._every = "*" in origins.split()
        self._patterns = [_pattern(one) for one in origins.split() if one != "*"]

    def preflight(self, headers: Mapping[bytes, bytes]) -> Mapping[str, str] | None:
        """Return what a browser is told before it asks; None where it may not ask."""
        allowed = self._allowed(headers)
        if allowed is None:
            return None
        return {
            **allowed,
            "Access-Control-Allow-Methods": _METHODS,
            "Access-Control-Allow-Headers": _REQUEST_HEADERS,
            "Access-Control-Max-Age": str(limits.CORS_PREFLIGHT_SECONDS),
        }

    def headers(self, headers: Mapping[bytes, bytes]) -> Mapping[str, str]:
        """Return the headers of an answer, so that the page that asked may read it."""
        if not (self._every or self._patterns):
            return {}
        allowed = self._allowed(headers) if _with_embed_token(headers) else None
        if allowed is None:
            return {"Vary": "Origin"}
        return {**allowed, "Access-Control-Expose-Headers": _ANSWER_HEADERS}

    def _allowed(self, headers: Mapping[bytes, bytes]) -> Mapping[str, str] | None:
        origin = headers.get(b"origin", b"").decode("latin-1")
        if not origin or not (self._every or any(one.fullmatch(origin) for one in self._patterns)):
            return None
        return {"Access-Control-Allow-Origin": "*" if self._every else origin, "Vary": "Origin"}


def _with_embed_token(headers: Mapping[bytes, bytes]) -> bool:
    try:
        return is_embed_token(read_authorization(headers.get(b"authorization", b"").decode()))
    except (Refusal, UnicodeDecodeError):
        return False


def _pattern(origin: str) -> re.Pattern[str]:
    """Return what matches an origin as browsers name it: in small letters, no port by default.

    A `*` stands for any number of subdomains, or for any port; anywhere else for nothing.
    """
    scheme, _, rest = origin.lower().partition("://")
    rest = rest.removesuffix(_DEFAULT_PORTS[scheme])
    subdomains, any_port = rest.startswith("*."), rest.endswith(":*")
    named = re.escape(rest.removeprefix("*.").removesuffix(":*"))
    before = r"(?:[\w-]+\.)+" if subdomains else ""
    return re.compile(f"{scheme}://{before}{named}" + (r"(?::\d+)?" if any_port else ""))
