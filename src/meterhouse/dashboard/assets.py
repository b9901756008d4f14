"""Styles, scripts and plotly's library, each under a name that holds a digest of its bytes.

So a browser may keep them for a year, and a new version is another name. They are compressed once.
"""

import gzip
import re
from base64 import b64encode
from functools import cache
from hashlib import sha256
from importlib.resources import files

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

_TYPES = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
_FOREVER = "public, max-age=31536000, immutable"
_PLOTLY = "plotly.js"
_BOLD = b"font-weight:bold"  # the style of a number under the mouse
_MAPS = re.compile(rb"'(\.maplibregl-map\{[^']*)'")  # the styles of its maps, added on load


@cache
def asset(name: str) -> bytes:
    """Return a file; raises `FileNotFoundError`."""
    if name == _PLOTLY:
        source = files("plotly") / "package_data" / "plotly.min.js"
    else:
        source = files(__package__) / "static" / name
    return source.read_bytes()


@cache
def _zipped(name: str) -> bytes:
    return gzip.compress(asset(name), mtime=0)


@cache
def url(name: str) -> str:
    """Return where a file is served; scripts import each other under their plain names."""
    digest = sha256(asset(name)).hexdigest()[:12]
    return f"/dashboard/static/{name}?v={digest}"


def plotly_styles() -> str:
    """Return what lets the styles that plotly writes into a page through its security policy."""
    styles = [_BOLD, *_MAPS.findall(asset(_PLOTLY))]
    digests = [b64encode(sha256(style).digest()).decode() for style in styles]
    return " ".join(f"'sha256-{digest}'" for digest in digests)


NAMES = ("site.css", "site.js", "theme.js", "chart.js", "icon.svg", _PLOTLY)


async def serve(request: Request) -> Response:
    """Answer with one file."""
    name = request.path_params["name"]
    if name not in NAMES:
        return PlainTextResponse("There is no such file.", 404)
    zipped = "gzip" in request.headers.get("accept-encoding", "")
    headers = {"cache-control": _FOREVER, "vary": "accept-encoding"}
    if zipped:
        headers["content-encoding"] = "gzip"
    media = _TYPES[name.rpartition(".")[2]]
    return Response(_zipped(name) if zipped else asset(name), 200, headers, media)
