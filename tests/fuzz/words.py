"""What odd requests are made of: the names and paths that there are, and text that nobody expects.

The names are those of every parameter that a request may have, so a new one is known here at once.
"""

import base64
import gzip
import json
import zlib
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, quote_from_bytes

from hypothesis import strategies as st

from meterhouse.api.routes import ROUTES
from meterhouse.dashboard.site import ROWS
from meterhouse.wire.document import Document
from meterhouse.wire.params import Params
from tests.odd import IDENTIFIERS

Headers = tuple[tuple[bytes, bytes], ...]


def _fields(base: type[Any]) -> Iterator[str]:
    for one in base.__subclasses__():
        yield from one.__struct_encode_fields__
        yield from _fields(one)


NAMES = sorted({*_fields(Params), *_fields(Document)})
PATHS = sorted({row.path for row in ROUTES})
PAGES = sorted({row.path for row in ROWS})
METHODS = ["GET", "POST", "DELETE", "HEAD", "OPTIONS", "PUT", "PATCH", "TRACE", "PROPFIND"]

# No URL of anybody else: what takes one sends to it.
_KNOWN = [
    *("calls", "sum", "count", "last", "by_id", "cancel", "day", "hour", "value", "customer"),
    *("cus_x", "mtr_x", "acct_x", "evt_x", "req_x", "whsec_x", "token_x", "embed_x", "sk_test_x"),
    *("usd", "true", "false", "null", "none", "test", "live", "all", "*", "https://127.0.0.1:1/"),
    *("name:'a'", "metadata['a']:'b'", "created>1", "-name~'abc'", "a OR b", "europe/berlin"),
    *("2024-06-01T12:00:00Z", "2024-06-01", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:60Z"),
]
_NUMBERS = [
    *("0", "-0", "1", "-1", "1.5", "00", "+1", "1e3", "1e-400", "1e999999999", "NaN", "Infinity"),
    *("9" * 20, "-" + "9" * 20, "9" * 5_000, "0" * 5_000 + "1", "0." + "0" * 5_000 + "1", "٣"),
    *("1764486000", "10413791999", "10413792000", "0x10", "1_000", "9223372036854775808"),
]
_ODD = ["", "\0", "\ufffe", "\u202e", "a" * 5_001, "\N{TOP HAT}" * 300, "{{7*7}}", "%s{0}", "../"]

TEXTS = st.sampled_from([*_KNOWN, *_NUMBERS, *_ODD, *IDENTIFIERS]) | st.text(
    st.characters(exclude_categories=["Cs"]), max_size=40
)


# ---- Paths and queries ----


def paths(templates: list[str], ids: st.SearchStrategy[str]) -> st.SearchStrategy[bytes]:
    """Return paths as they are sent, with `ids` in the place of what varies, or something else."""
    parts = ids.map(lambda text: quote(text, safe="")) | st.binary(max_size=12).map(
        lambda data: quote_from_bytes(data, safe="%")
    )

    @st.composite
    def path(draw: st.DrawFn) -> bytes:
        template = draw(st.sampled_from(templates))
        split = [draw(parts) if "{" in part else part for part in template.split("/")]
        if draw(st.integers(0, 9)) == 0:
            split.insert(draw(st.integers(1, len(split))), draw(parts))
        return "/".join(split).encode()

    return path()


@st.composite
def queries(draw: st.DrawFn, values: st.SearchStrategy[str] = TEXTS) -> bytes:
    """Return a form: names that exist with values that they may have, or not; brackets, or not."""
    pairs = []
    for _ in range(draw(st.integers(0, 5))):
        name = draw(st.sampled_from(NAMES) | TEXTS)
        for _ in range(draw(st.sampled_from([0, 0, 0, 1, 2, 12]))):
            name += f"[{draw(st.sampled_from(['', '0', 'gt', *NAMES]))}]"
        value = draw(values)
        safe = draw(st.sampled_from(["", "[]", "[]%&=+;"]))
        pairs.append(f"{quote(name, safe=safe)}={quote(value, safe=safe)}")
    return draw(st.sampled_from(["&", "&", "&&", ";"])).join(pairs).encode()


# ---- Bodies ----

_LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | TEXTS
    | st.sampled_from([10**400, -(2**63), 2**64, 1e308, 5e-324])
)
_MEMBERS = st.sampled_from([*NAMES, "stripe_customer_id"]) | TEXTS
_TREES = st.recursive(
    _LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_MEMBERS, inner, max_size=5),
    max_leaves=12,
)
_EVENTS = st.fixed_dictionaries(
    {"events": st.lists(st.dictionaries(_MEMBERS, _TREES, max_size=4), max_size=3)}
)
_BROKEN = st.sampled_from(
    [
        *(b"", b"{", b"[" * 3_000, b'{"a":' * 3_000, b"[1e99999]", b'{"\\ud800": 1}', b"\xff\xfe"),
        *(b'{"include": null}', b'{"a": NaN}', b'"\\u0000"', b"\xef\xbb\xbf{}", b"9" * 5_000),
        *(b'{"timestamp": 1e400}', b'{"events": [{}]}' + b" " * 10_000, b'{"a": 1, "a": 2}'),
    ]
)
DOCUMENTS = (
    (_EVENTS | _TREES).map(lambda tree: json.dumps(tree).encode())
    | _BROKEN
    | st.binary(max_size=60)
)
_PACKED = [
    (b"gzip", gzip.compress),
    (b"deflate", zlib.compress),
    (b"gzip, gzip", lambda data: gzip.compress(gzip.compress(data))),
    (b"gzip", lambda data: gzip.compress(data)[:-5]),  # which breaks off
    (b"gzip", lambda data: gzip.compress(data + bytes(4_000_000))),  # which grows
    (b"zstd", bytes),
    (b"identity", bytes),
    (b"br", bytes),
    (b"gzip", bytes),
]


@st.composite
def bodies(
    draw: st.DrawFn, contents: st.SearchStrategy[bytes]
) -> tuple[Headers, tuple[bytes, ...]]:
    """Return a body in the pieces in which it arrives, packed or not, and its headers."""
    content, headers = draw(contents), []
    if draw(st.integers(0, 4)) == 0:
        encoding, pack = draw(st.sampled_from(_PACKED))
        content = pack(content)
        headers.append((b"content-encoding", encoding))
    cuts = sorted(draw(st.lists(st.integers(0, len(content)), max_size=3)))
    pieces = [
        content[start:end] for start, end in zip([0, *cuts], [*cuts, len(content)], strict=True)
    ]
    return tuple(headers), tuple(pieces)


# ---- Headers ----

_HEADER_BYTES = st.binary(max_size=30).map(
    lambda data: data.translate(None, delete=b"\0\r\n").strip(b" \t")
)
_HEADER_TEXTS = TEXTS.map(
    lambda text: text.encode().translate(None, delete=b"\0\r\n").strip(b" \t")
)
_HEADER_NAMES = [
    *(b"accept", b"accept-encoding", b"access-control-request-method", b"content-type", b"cookie"),
    *(b"expect", b"forwarded", b"host", b"idempotency-key", b"if-none-match", b"last-event-id"),
    *(b"meterhouse-consistency", b"meterhouse-exact", b"meterhouse-livemode", b"origin", b"range"),
    *(b"sec-fetch-site", b"stripe-account", b"stripe-context", b"stripe-version", b"x-csrf-token"),
    *(b"stripe-livemode", b"user-agent", b"via", b"x-forwarded-for", b"x-forwarded-host"),
    *(b"x-fragment", b"x-forwarded-proto", b"x-real-ip", b"content-length", b"x-stripe-client"),
]
_HEADER_VALUES = [
    *(b"application/json", b"application/x-www-form-urlencoded", b"multipart/form-data", b",;=,;="),
    *(b"text/csv;q=nan, */*;q=inf", b"text/event-stream", b"text/html", b"text/csv", b"[", b"]"),
    *(b"application/vnd.apache.parquet", b"2026-10-28.endive", b"2026-10-28.preview", b"strong"),
    *(b"2025-03-31.basil", b"eventual", b"true", b"null", b"http://[", b"[::1]:99999", b"unix"),
    *(b"127.0.0.1", b"localhost", b"same-origin", b"1.1.1.1, " * 50, b"0" * 5_000 + b"1"),
    *(b"::1%" * 20, b"https://a.example.com"),
]
HEADERS: st.SearchStrategy[Headers] = st.lists(
    st.tuples(
        st.sampled_from(_HEADER_NAMES),
        st.sampled_from(_HEADER_VALUES) | _HEADER_TEXTS | _HEADER_BYTES,
    ),
    max_size=4,
).map(tuple)


# ---- Who asks ----


def almost(good: str) -> st.SearchStrategy[str]:
    """Return texts that are nearly `good`: one piece of it is left out, doubled or replaced."""

    @st.composite
    def broken(draw: st.DrawFn) -> str:
        start = draw(st.integers(0, len(good)))
        end = min(len(good), start + draw(st.integers(0, 3)))
        middle = draw(
            st.sampled_from(
                ["", "A", "=", "-", "_", ".", "!!!!", "éé", "====", good[start:end] * 2]
            )
        )
        return good[:start] + middle + good[end:]

    return broken().filter(lambda text: text != good)


def credentials(secrets: st.SearchStrategy[str]) -> st.SearchStrategy[Headers]:
    """Return the header `Authorization` with some secret, in one of the ways there are."""
    values = st.one_of(
        secrets.map(lambda secret: b"Bearer " + secret.encode()),
        secrets.map(lambda secret: b"Basic " + _base64(f"{secret}:".encode())),
        _HEADER_BYTES.map(lambda data: b"Basic " + _base64(data)),
        _HEADER_BYTES.map(lambda data: b"Basic " + data),
        _HEADER_BYTES,
    )
    return st.just(()) | values.map(
        lambda value: ((b"authorization", value.translate(None, delete=b"\0\r\n")),)
    )


def _base64(data: bytes) -> bytes:
    return base64.b64encode(data)
