"""A client that goes away before it has its answer, or is sent away: what is done for it ends."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import asynccontextmanager
from typing import Any, TypeVar

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]

T = TypeVar("T")

BREAK_OFF = "meterhouse.break_off"  # the extension of ASGI that ends a connection


class Disconnected(Exception):  # noqa: N818 - not an error: the client went away
    """The client went away before its request was complete, or answered."""


async def until_gone(receive: Receive | None, work: Awaitable[T]) -> T:
    """Run `work`, and end it with `Disconnected` when the client goes away, where that is told.

    What `receive` raises ends it, too.
    """
    if receive is None:
        return await work
    async with first_of(work, _gone(receive)) as (working, going):
        if not working.done():
            going.result()
            raise Disconnected
        return working.result()


@asynccontextmanager
async def first_of(
    one: Awaitable[T], other: Awaitable[object]
) -> AsyncIterator[tuple[asyncio.Future[T], asyncio.Future[object]]]:
    """Wait until one of two is done; with the block both have ended."""
    both = asyncio.ensure_future(one), asyncio.ensure_future(other)
    try:
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        yield both
    finally:
        for each in both:
            each.cancel()
        await asyncio.wait(both)


async def _gone(receive: Receive) -> None:
    """Wait until the client has gone away; its request has been read before."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def break_off(scope: MutableMapping[str, Any], receive: Receive) -> None:
    """End the connection at once, so that a client that has a part of its answer sees that."""
    end = scope.get("extensions", {}).get(BREAK_OFF)
    if end is not None:  # else it is a question from within the process
        end()
        await _gone(receive)
