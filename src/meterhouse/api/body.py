"""The body of a request: read, unpacked, and bounded in size; `connection` bounds its time.

What a reader may rely on:

- A body is bounded by what its route takes, as it was sent and as it is unpacked.
- One that is refused is read to its end and thrown away, so that a client that sends before it
  listens hears why.
- However many come at once, those that are not small have `REQUEST_BODIES_BYTES_MAX` of memory
  together, and those of one sender `REQUEST_BODIES_SENDER_BYTES_MAX`. Others wait for their turn
  with what they have sent so far, first come, first served; each takes what it may grow to in one
  go, so none waits for another that waits.
- Nobody has any of that memory before it is known who they are.
"""

import asyncio
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from typing import NamedTuple

from meterhouse import limits
from meterhouse.errors import Refusal
from meterhouse.gone import Disconnected, Receive
from meterhouse.metrics import Metrics
from meterhouse.wire.encoding import Unpacker
from meterhouse.wire.envelope import body_too_large, overloaded

_LENGTH_DIGITS_MAX = len(str(sys.maxsize))


Admit = Callable[[], Awaitable[int]]


class Hold(NamedTuple):
    """So much of the memory for all bodies, for one of a sender."""

    sender: int
    size: int


class Body(NamedTuple):
    """A body, and what of the memory for all of them is held for it until it is released."""

    content: bytes
    held: Hold | None = None


class Bodies:
    """Reads bodies, and shares the memory for them out."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._free = limits.REQUEST_BODIES_BYTES_MAX
        self._of: Counter[int] = Counter()  # what senders hold of it
        self._waiting: dict[asyncio.Future[None], Hold] = {}  # turns, and what they are to hold

    async def read(
        self,
        receive: Receive,
        bytes_max: int,
        encoding: str | None,
        length: bytes | None,
        admit: Admit,
    ) -> Body:
        """Read a body; `encoding` and `length` are what its headers say.

        `admit` tells whose body it is, or refuses it; it is asked before one that is not small is
        kept. Refuses with 413 more than `bytes_max`, with 415 or 400 what cannot be unpacked, and
        with 429 when there has been no memory for a while. Raises `Disconnected`.
        """
        chunk, more = await _next(receive)
        if not more and encoding is None and len(chunk) <= limits.REQUEST_BODY_SMALL_BYTES:
            return Body(chunk)  # as nearly all of them
        reading = _Reading(bytes_max, encoding, length)
        try:
            await self._take(reading, chunk, admit)
            while more and reading.received <= limits.REQUEST_BODY_DISCARD_BYTES_MAX:
                chunk, more = await _next(receive)
                await self._take(reading, chunk, admit)
            return reading.end(whole=not more)
        except BaseException:
            self.release(reading.held)
            raise

    def release(self, held: Hold | None) -> None:
        """Give back what was held for a body."""
        if held is not None:
            self._free += held.size
            self._of[held.sender] -= held.size
            if not self._of[held.sender]:
                del self._of[held.sender]
            self._deal()

    def _deal(self) -> None:
        """Let those who wait have their turns, as far as there is memory."""
        for turn, wish in list(self._waiting.items()):
            if self._of[wish.sender] + wish.size > limits.REQUEST_BODIES_SENDER_BYTES_MAX:
                continue  # it waits for its own sender, and nobody for it
            if wish.size > self._free:
                return
            del self._waiting[turn]
            if not turn.done():
                self._free -= wish.size
                self._of[wish.sender] += wish.size
                turn.set_result(None)

    async def _take(self, reading: "_Reading", chunk: bytes, admit: Admit) -> None:
        """Take in what came next of a body; of one that is refused only how much it was."""
        reading.received += len(chunk)
        if reading.refusal is not None:
            return
        try:
            for size in reading.keep(chunk):
                if size > limits.REQUEST_BODY_SMALL_BYTES and reading.held is None:
                    reading.held = await self._hold(Hold(await admit(), reading.size_max))
        except Refusal as refusal:
            self.release(reading.held)
            reading.refuse(refusal)

    async def _hold(self, wish: Hold) -> Hold:
        try:
            async with asyncio.timeout(limits.REQUEST_BODY_WAIT_SECONDS_MAX):
                await self._turn(wish)
        except TimeoutError:
            self._metrics.overloads.labels("bodies").inc()
            raise overloaded() from None
        return wish

    async def _turn(self, wish: Hold) -> None:
        turn = asyncio.get_running_loop().create_future()
        self._waiting[turn] = wish
        self._deal()
        try:
            await turn
        except asyncio.CancelledError:
            self._waiting.pop(turn, None)
            if not turn.cancelled():  # it may have come in the same moment
                self.release(wish)
            raise


class _Reading:
    """A body that is being read: what there is of it, and why it is refused, if it is."""

    def __init__(self, bytes_max: int, encoding: str | None, length: bytes | None) -> None:
        self.received = 0
        self.held: Hold | None = None
        self.size_max = bytes_max
        self.refusal: Refusal | None = None
        self._size = 0
        self._bytes_max = bytes_max
        self._encoding = encoding
        self._unpacker: Unpacker | None = None
        self._pieces: list[bytes] = []
        stated = _stated(length)
        if stated > bytes_max:
            self.refusal = body_too_large(bytes_max)
        elif stated >= 0 and encoding is None:
            self.size_max = stated

    def keep(self, chunk: bytes) -> Iterator[int]:
        """Unpack a chunk and keep what comes out; yield how much there is after each piece."""
        if self.received > self._bytes_max:
            raise body_too_large(self._bytes_max)
        for piece in self._unpacked(chunk):
            self._pieces.append(piece)
            self._size += len(piece)
            yield self._size

    def refuse(self, refusal: Refusal) -> None:
        """Keep nothing of it but why."""
        self.refusal = refusal
        self.held = None
        self._pieces.clear()

    def end(self, *, whole: bool) -> Body:
        """Return the body, or raise why it is refused; one without end is too large."""
        if not whole:
            raise body_too_large(self._bytes_max)
        if self.refusal is not None:
            raise self.refusal
        if self._unpacker is not None:
            self._unpacker.end()
        return Body(b"".join(self._pieces), self.held)

    def _unpacked(self, chunk: bytes) -> Iterator[bytes]:
        if self._encoding is None or not chunk:  # nothing is valid in every encoding
            return iter((chunk,))
        if self._unpacker is None:
            self._unpacker = Unpacker(self._encoding, self._bytes_max)
        return self._unpacker.unpack(chunk)


def _stated(length: bytes | None) -> int:
    """Return how long a body is said to be, -1 where that is not said."""
    if length is None or not length.isdigit():
        return -1
    digits = length.lstrip(b"0") or b"0"  # of zeros in front there may be any number
    return int(digits) if len(digits) <= _LENGTH_DIGITS_MAX else sys.maxsize


async def _next(receive: Receive) -> tuple[bytes, bool]:
    """Return the next chunk, and whether more come."""
    message = await receive()
    if message["type"] == "http.disconnect":
        raise Disconnected
    return message.get("body", b""), message.get("more_body", False)
