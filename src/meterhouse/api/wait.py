"""Wait a moment for what goes on after an answer, by asking the ledger: any process may do it."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from meterhouse import limits

T = TypeVar("T")


async def found_when(
    find: Callable[[], Awaitable[T]], done: Callable[[T], bool], seconds: float
) -> T:
    """Return what `find` finds as soon as that is `done`, or when the time is up."""
    loop = asyncio.get_running_loop()
    until = loop.time() + seconds
    while not done(found := await find()) and loop.time() < until:  # noqa: ASYNC110 - the ledger tells nobody
        await asyncio.sleep(limits.ANSWER_POLL_MILLISECONDS / 1000)
    return found
