"""A client that goes away before it has its answer: whatever is done for it is ended."""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeVar

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]

T = TypeVar("T")


class Disconnected(Exception):  # noqa: N818 - not an error: the client went away
    """The client went away before its request was complete, or answered."""


async def until_gone(receive: Receive | None, work: Awaitable[T]) -> T:
    """Run `work`, and end it with `Disconnected` when the client goes away, where that is told.

    What `receive` raises ends it, too.
    """
    if receive is None:
        return await work
    working, going = asyncio.ensure_future(work), asyncio.ensure_future(_gone(receive))
    try:
        await asyncio.wait({working, going}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            going.result()
            raise Disconnected
        return working.result()
    finally:
        going.cancel()
        working.cancel()
        await asyncio.wait({working, going})


async def _gone(receive: Receive) -> None:
    """Wait until the client has gone away; its request has been read before."""
    while (await receive())["type"] != "http.disconnect":
        pass
