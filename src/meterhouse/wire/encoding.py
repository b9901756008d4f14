"""Content encodings of bodies (RFC 9110, section 8.4): gzip, deflate, zstd, one inside another.

What a reader may rely on:

- A body is unpacked as it comes, in pieces of at most `REQUEST_UNPACKED_PIECE_BYTES`, so what a
  small one grows to costs no memory before somebody has looked at its size.
- What each encoding unpacks to is bounded by the size that the body may have.
- An encoding that is not known is refused with 415; bytes that are not what the header says, that
  break off, or that go on behind their end, with 400. Nothing raises but a `Refusal`.

`deflate` means the format of zlib; the bare one, which some send by that name, is read as well.
"""

import sys
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from meterhouse import limits
from meterhouse.wire.envelope import body_too_large, broken_encoding, unknown_encoding

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_GZIP, _ZLIB, _BARE = 31, 15, -15  # what zlib calls the formats
_WINDOW: int = zstd.DecompressionParameter.window_log_max
_FIRST = 2  # bytes that tell the formats of `deflate` apart
_ALIASES = {"x-gzip": "gzip"}  # RFC 9110, section 8.4.1.3


class _Reader(Protocol):
    """Reads one compressed stream, piece by piece."""

    @property
    def eof(self) -> bool:
        """Whether the stream has come to its end."""

    @property
    def unused_data(self) -> bytes:
        """What came behind the end."""

    def decompress(self, data: bytes, max_length: int) -> bytes:
        """Return the next piece; an empty one where more `data` is needed, or at the end."""


class _Inflater:
    """zlib's reader, which keeps what it has not read yet, as that of zstd does."""

    def __init__(self, format_: int) -> None:
        self._zlib = zlib.decompressobj(format_)

    @property
    def eof(self) -> bool:
        return self._zlib.eof

    @property
    def unused_data(self) -> bytes:
        return self._zlib.unused_data

    def decompress(self, data: bytes, max_length: int) -> bytes:
        return self._zlib.decompress(self._zlib.unconsumed_tail + data, max_length)


def _gzip(_: bytes) -> _Reader:
    return _Inflater(_GZIP)


def _deflate(beginning: bytes) -> _Reader:
    method = beginning[0] & 15
    checked = int.from_bytes(beginning[:_FIRST], "big") % 31 == 0  # RFC 1950, section 2.2
    return _Inflater(_ZLIB if method == zlib.DEFLATED and checked else _BARE)


def _zstd(_: bytes) -> _Reader:
    return zstd.ZstdDecompressor(options={_WINDOW: limits.REQUEST_ZSTD_WINDOW_BITS})


_READERS: dict[str, Callable[[bytes], _Reader]] = {
    "gzip": _gzip,
    "deflate": _deflate,
    "zstd": _zstd,
}
_ENDLESS = frozenset({"gzip", "zstd"})  # of which one stream may follow another


class Unpacker:
    """Unpacks one body, as the header `Content-Encoding` says."""

    def __init__(self, header: str, bytes_max: int) -> None:
        """Refuse what the header names where it cannot be unpacked."""
        words = [word.strip().lower() for word in header.split(",")]
        names = [_ALIASES.get(word, word) for word in words if word not in {"", "identity"}]
        if len(names) > limits.REQUEST_ENCODINGS_ITEMS_MAX or not _READERS.keys() >= set(names):
            raise unknown_encoding(header, tuple(_READERS))
        # What was applied last comes off first.
        self._layers = [_Layer(name, bytes_max) for name in reversed(names)]

    def unpack(self, data: bytes) -> Iterator[bytes]:
        """Take the next bytes of the body and yield what they unpack to."""
        return _through(self._layers, data)

    def end(self) -> None:
        """Refuse a body that broke off."""
        for layer in self._layers:
            layer.end()


def _through(layers: Sequence["_Layer"], data: bytes) -> Iterator[bytes]:
    if not layers:
        yield data
        return
    for piece in layers[0].unpack(data):
        yield from _through(layers[1:], piece)


class _Layer:
    """One encoding of a body, and how far it is unpacked."""

    def __init__(self, name: str, bytes_max: int) -> None:
        self._name = name
        self._bytes_max = bytes_max
        self._bytes = 0
        self._parts = 0  # streams that have come to their end
        self._reader: _Reader | None = None  # of the stream that has not
        self._held = b""  # what is too short to make a reader of

    def unpack(self, data: bytes) -> Iterator[bytes]:
        """Take the next bytes and yield what they unpack to."""
        data, self._held = self._held + data, b""
        while data:
            if self._reader is None:
                if len(data) < _FIRST:
                    self._held = data
                    return
                self._reader = self._next_reader(data)
            yield from self._pieces(self._reader, data)
            if not self._reader.eof:
                return
            data, self._reader = self._reader.unused_data, None
            self._parts += 1

    def end(self) -> None:
        """Refuse a body that broke off."""
        if self._held or self._reader is not None:
            raise broken_encoding(self._name)

    def _next_reader(self, data: bytes) -> _Reader:
        more = self._name in _ENDLESS and self._parts < limits.REQUEST_ENCODED_PARTS_MAX
        if self._parts and not more:
            raise broken_encoding(self._name)
        return _READERS[self._name](data)

    def _pieces(self, reader: _Reader, data: bytes) -> Iterator[bytes]:
        while not reader.eof:
            try:
                piece = reader.decompress(data, limits.REQUEST_UNPACKED_PIECE_BYTES)
            except (zlib.error, zstd.ZstdError):
                raise broken_encoding(self._name) from None
            if not piece:
                return
            self._bytes += len(piece)
            if self._bytes > self._bytes_max:
                raise body_too_large(self._bytes_max)
            yield piece
            data = b""
