"""The log of requests on its way: from the gate into the usage store, in a block now and then.

What a reader may rely on:

- To note a request costs the event loop next to nothing: what has to be made of it is made later,
  in another thread.
- No more than `REQUEST_LOG_WAITING_ROWS_MAX` wait for the next block. What is beyond that is not
  kept, and neither is a block that the store does not take; a metric counts both.
- A block is made a second after the one before, where somebody asks, listens, or there are
  `REQUEST_LOG_HELD_ROWS_MAX`; else after `REQUEST_LOG_HELD_SECONDS_MAX`. Who asks or listens at
  another server on the same ledger is heard of by a signal (`hurry`).
- What looks like a secret is masked in it (`masking`), in a path and in what an error says.
- `tell` is called with each block's logs before they are stored.
"""

import asyncio
import logging
import secrets
from collections.abc import Callable, Sequence
from typing import NamedTuple

import msgspec

from meterhouse import limits
from meterhouse.background import Background
from meterhouse.logs import AnsweredRequest
from meterhouse.masking import masked
from meterhouse.metrics import Metrics
from meterhouse.stores import Stores
from meterhouse.usage import request_logs
from meterhouse.usage.request_logs import RequestLog
from meterhouse.usage.store import UsageStore

log = logging.getLogger("meterhouse.request_logs")


class _Noted(NamedTuple):
    request: AnsweredRequest
    version: str
    ip: str
    refused: bytes  # the body of an answer that is an error, else empty


class _Refused(msgspec.Struct):
    error: msgspec.Raw


_REFUSED = msgspec.json.Decoder(_Refused)


class RequestLogs(Background):
    """Gathers the log between `start()` and `stop()`; `heard` tells if somebody listens."""

    def __init__(
        self,
        stores: Stores,
        metrics: Metrics,
        tell: Callable[[Sequence[RequestLog]], None],
        heard: Callable[[], bool],
    ) -> None:
        super().__init__()
        self._stores = stores
        self._dropped = metrics.dropped.labels("request_logs")
        self._tell = tell
        self._heard = heard
        self._waiting: list[_Noted] = []
        self._storing = asyncio.Lock()
        self._seconds = 0  # since the block before
        self._hurry = False

    def note(self, request: AnsweredRequest, version: str, ip: str, refused: bytes) -> None:
        """Note a request of a known account; `refused` is the answer's body if it is an error."""
        if len(self._waiting) < limits.REQUEST_LOG_WAITING_ROWS_MAX:
            self._waiting.append(_Noted(request, version, ip, refused))
        else:
            self._dropped.inc()

    def hurry(self) -> None:
        """Tell that somebody wants to read what waits."""
        self._hurry = True

    async def stop(self) -> None:
        """Store what waits, and no more."""
        await super().stop()
        await self.store()

    async def reach(self, *, strong: bool) -> None:
        """Wait until a question may be answered: a `strong` one sees all that was noted before it.

        Any other sees what was noted more than a second or two ago.
        """
        if strong or self._seconds > 0:
            await self.store()

    async def store(self) -> None:
        """Store what was noted before this call, so that it can be read."""
        async with self._storing:
            self._seconds, self._hurry = 0, False
            noted, self._waiting = self._waiting, []
            if not noted:
                return
            try:
                await self._store(noted)
            except Exception:
                log.exception("the log of %d requests was not stored", len(noted))
                self._dropped.inc(len(noted))

    async def look(self) -> None:
        """Make a block if it is time: asked once a second."""
        self._seconds += 1
        if (
            self._seconds >= limits.REQUEST_LOG_HELD_SECONDS_MAX
            or len(self._waiting) >= limits.REQUEST_LOG_HELD_ROWS_MAX
            or self._heard()
            or self._hurry
        ):
            await self.store()

    async def _store(self, noted: list[_Noted]) -> None:
        logs, body = await asyncio.to_thread(_make, noted)
        self._tell(logs)
        token = f"{request_logs.TABLE}-{secrets.token_hex(8)}"
        await self._stores.usage(UsageStore.insert, request_logs.TABLE, body, token)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(1)
            await self.look()


def _make(noted: list[_Noted]) -> tuple[list[RequestLog], bytes]:
    logs = [_log(one) for one in noted]
    return logs, request_logs.pack(logs)


def _log(noted: _Noted) -> RequestLog:
    request = noted.request
    return RequestLog(
        account=request.account,
        livemode=bool(request.livemode),
        created=request.now,
        request=request.request,
        method=request.method,
        path=masked(request.path[: limits.LOG_PATH_CHARS_MAX]),
        status=request.status,
        microseconds=int(request.seconds * 1_000_000),
        version=noted.version,
        ip=noted.ip,
        error=_error(noted.refused) if noted.refused else "",
    )


def _error(refused: bytes) -> str:
    return masked(bytes(_REFUSED.decode(refused).error).decode())
