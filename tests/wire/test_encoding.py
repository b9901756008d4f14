import gzip
import sys
import tracemalloc
import zlib
from collections.abc import Callable, Iterable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterhouse import limits
from meterhouse.errors import Refusal
from meterhouse.wire.encoding import Unpacker

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

MEGABYTE = 1_048_576
TEXT = b'{"events": [' + b'{"event_name": "calls"}, ' * 4_000 + b"]}"


def bare(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


def without_size(data: bytes, window_bits: int = 20) -> bytes:
    packer = zstd.ZstdCompressor(options={zstd.CompressionParameter.window_log: window_bits})
    return packer.compress(data, zstd.ZstdCompressor.FLUSH_BLOCK) + packer.flush()


PACKED: list[tuple[str, Callable[[bytes], bytes]]] = [
    ("gzip", gzip.compress),
    ("X-GZip", gzip.compress),
    ("deflate", zlib.compress),
    ("deflate", lambda data: zlib.compress(data, 0)),
    ("deflate", bare),
    ("zstd", zstd.compress),
    ("zstd", without_size),
    ("identity", bytes),
    ("", bytes),
    (" , identity ,, ", bytes),
    ("gzip, zstd", lambda data: zstd.compress(gzip.compress(data))),
    ("zstd,gzip", lambda data: gzip.compress(zstd.compress(data))),
    ("deflate, identity, GZIP , zstd", lambda d: zstd.compress(gzip.compress(zlib.compress(d)))),
    ("gzip", lambda data: gzip.compress(data[:7]) + gzip.compress(b"") + gzip.compress(data[7:])),
    ("zstd", lambda data: zstd.compress(data[:7]) + zstd.compress(data[7:])),
    ("zstd", lambda data: b"\x50\x2a\x4d\x18\x03\0\0\0any" + zstd.compress(data)),  # skipped
]
ENCODED = [row for row in PACKED if row[1] is not bytes]


def unpack(header: str, chunks: Iterable[bytes], bytes_max: int = 4 * MEGABYTE) -> bytes:
    unpacker = Unpacker(header, bytes_max)
    found = b"".join(piece for chunk in chunks for piece in unpacker.unpack(chunk))
    unpacker.end()
    return found


def refused(header: str, chunks: Iterable[bytes], bytes_max: int = 4 * MEGABYTE) -> Refusal:
    with pytest.raises(Refusal) as caught:
        unpack(header, chunks, bytes_max)
    return caught.value


@pytest.mark.parametrize(("header", "pack"), PACKED)
@pytest.mark.parametrize("text", [b"", b"x", TEXT])
def test_what_was_packed_comes_out(
    header: str, pack: Callable[[bytes], bytes], text: bytes
) -> None:
    packed = pack(text)
    assert unpack(header, [packed]) == text
    assert unpack(header, [packed[at : at + 1] for at in range(len(packed))]) == text


@given(
    row=st.sampled_from(PACKED),
    text=st.binary(max_size=1_000).map(lambda seed: seed * 200),
    cuts=st.lists(st.integers(0, 2_000), max_size=20),
)
def test_however_it_is_cut(
    row: tuple[str, Callable[[bytes], bytes]], text: bytes, cuts: list[int]
) -> None:
    header, pack = row
    packed = pack(text)
    edges = [0, *sorted(min(cut, len(packed)) for cut in cuts), len(packed)]
    chunks = [packed[start:end] for start, end in pairwise(edges)]
    assert unpack(header, chunks) == text


@pytest.mark.parametrize(("header", "pack"), ENCODED)
def test_nothing_at_all_is_an_empty_body(header: str, pack: Callable[[bytes], bytes]) -> None:
    assert unpack(header, []) == unpack(header, [b"", b""]) == b""
    assert pack(b"") != b""


@pytest.mark.parametrize(("header", "pack"), ENCODED)
def test_a_body_that_breaks_off(header: str, pack: Callable[[bytes], bytes]) -> None:
    packed = pack(TEXT)
    ends_between = {len(pack(TEXT[:7])), len(gzip.compress(TEXT[:7]) + gzip.compress(b""))}
    for length in {1, 2, 5, len(packed) // 2, len(packed) - 1} - ends_between:
        sentence = refused(header, [packed[:length]]).message
        assert sentence.startswith("Invalid request: the body is not valid ")
        assert sentence.endswith(", which the header Content-Encoding says it is.")


@pytest.mark.parametrize(
    ("header", "body", "named"),
    [
        ("gzip", b'{"events": []}', "gzip"),
        ("gzip", zlib.compress(TEXT), "gzip"),
        ("gzip", gzip.compress(TEXT)[:-8] + bytes(8), "gzip"),
        ("gzip", gzip.compress(TEXT) + b"behind it", "gzip"),
        ("gzip", gzip.compress(TEXT) + b"\0", "gzip"),
        ("deflate", zlib.compress(TEXT) + b"x", "deflate"),
        ("deflate", zlib.compress(TEXT) * 2, "deflate"),
        ("deflate", zlib.compress(TEXT)[:-1] + b"x", "deflate"),
        ("deflate", b"event_name=calls", "deflate"),
        ("deflate", gzip.compress(TEXT), "deflate"),
        ("zstd", gzip.compress(TEXT), "zstd"),
        ("zstd", zstd.compress(TEXT) + b"behind it", "zstd"),
        ("zstd", without_size(TEXT, limits.REQUEST_ZSTD_WINDOW_BITS + 1), "zstd"),
        ("gzip, zstd", gzip.compress(zstd.compress(TEXT)), "zstd"),
        ("gzip, zstd", zstd.compress(TEXT), "gzip"),
        ("gzip", gzip.compress(b"") * (limits.REQUEST_ENCODED_PARTS_MAX + 1), "gzip"),
    ],
)
def test_a_body_that_is_something_else(header: str, body: bytes, named: str) -> None:
    for chunks in ([body], [body[at : at + 7] for at in range(0, len(body), 7)]):
        refusal = refused(header, chunks)
        assert refusal.status == 400
        assert f"not valid {named}," in refusal.message


def test_as_many_parts_as_may_be() -> None:
    assert unpack("gzip", [gzip.compress(b"x") * limits.REQUEST_ENCODED_PARTS_MAX]) == (
        b"x" * limits.REQUEST_ENCODED_PARTS_MAX
    )


@pytest.mark.parametrize(
    "header",
    ["br", "compress", "gzip, br", "gzip;q=1", "utf-8", "aws-chunked", "*", "gzip, " * 4, "é"],
)
def test_an_encoding_that_is_not_known(header: str) -> None:
    with pytest.raises(Refusal) as caught:
        Unpacker(header, MEGABYTE)
    assert caught.value.status == 415
    assert caught.value.message == (
        f"Invalid Content-Encoding: {header}; must be identity, or up to 3 of gzip, deflate, zstd"
    )
    assert caught.value.headers == {"Accept-Encoding": "gzip, deflate, zstd"}


@pytest.mark.parametrize(("header", "pack"), ENCODED)
def test_the_bound_is_that_of_what_comes_out(header: str, pack: Callable[[bytes], bytes]) -> None:
    packed = pack(TEXT)
    assert unpack(header, [packed], len(TEXT)) == TEXT
    assert refused(header, [packed], len(TEXT) - 1).status == 413


@pytest.mark.parametrize(
    ("header", "bomb"),
    [
        ("gzip", gzip.compress(bytes(64 * MEGABYTE))),
        ("zstd", zstd.compress(bytes(64 * MEGABYTE))),
        ("gzip, zstd", zstd.compress(gzip.compress(bytes(64 * MEGABYTE)))),
        # What comes out at last is small; what lies between is not.
        ("gzip, gzip", gzip.compress(gzip.compress(b"x") + bytes(64 * MEGABYTE))),
        ("zstd, zstd", zstd.compress(zstd.compress(b"x", 22) + bytes(64 * MEGABYTE))),
    ],
)
def test_what_grows_without_end_costs_no_memory(header: str, bomb: bytes) -> None:
    tracemalloc.start()
    try:
        assert refused(header, [bomb], MEGABYTE).status in {400, 413}
        assert tracemalloc.get_traced_memory()[1] < 4 * MEGABYTE
    finally:
        tracemalloc.stop()
