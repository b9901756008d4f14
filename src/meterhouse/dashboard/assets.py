"""Styles, scripts and plotly's library, each under a name that holds a digest of its bytes.

So a browser may keep them for a year, and a new version is another name. They are compressed once.
"""

import gzip
from functools import cache
from hashlib import sha256
from importlib.resources import files
from typing import NamedTuple

from starlette.requests import Request
from starlette.responses import Response

_TYPES = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
_FOREVER = "public, max-age=31536000, immutable"
_PLOTLY = "plotly.js"


class Asset(NamedTuple):
    """A file as it is, and compressed."""

    name: str
    plain: bytes
    zipped: bytes


@cache
def asset(name: str) -> Asset:
    """Return a file; raises `FileNotFoundError`."""
    if name == _PLOTLY:
        source = files("plotly") / "package_data" / "plotly.min.js"
    else:
        source = files(__package__) / "static" / name
    plain = source.read_bytes()
    return Asset(name, plain, gzip.compress(plain, mtime=0))


@cache
def url(name: str) -> str:
    """Return where a file is served; scripts import each other under their plain names."""
    digest = sha256(asset(name).plain).hexdigest()[:12]
    return f"/dashboard/static/{name}?v={digest}"


NAMES = ("site.css", "site.js", "theme.js", "chart.js", "icon.svg", _PLOTLY)


async def serve(request: Request) -> Response:
    """Answer with one file."""
    name = request.path_params["name"]
    if name not in NAMES:
        return Response("There is no such file.", 404)
    found = asset(name)
    zipped = "gzip" in request.headers.get("accept-encoding", "")
    headers = {"cache-control": _FOREVER, "vary": "accept-encoding"}
    if zipped:
        headers["content-encoding"] = "gzip"
    media = _TYPES[name.rpartition(".")[2]]
    return Response(found.zipped if zipped else found.plain, 200, headers, media)
