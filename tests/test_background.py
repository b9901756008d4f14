import asyncio

from meterhouse.background import Background, Worker, is_set_within


class Waiter(Worker):
    """Waits to be woken, for a while at a time, and never does anything."""

    async def _run(self) -> None:
        while True:
            if await is_set_within(self._work, 60):
                self._work.clear()


def test_a_task_ends_even_when_it_is_stopped_as_it_is_woken() -> None:
    """Python 3.11's `wait_for` takes the cancellation for what it waits for, and goes on."""

    async def body() -> None:
        for passes in range(8):
            waiter = Waiter()
            waiter.start()
            for _ in range(passes):
                await asyncio.sleep(0)
            waiter.wake()
            async with asyncio.timeout(60):
                await waiter.stop()

    asyncio.run(body())


def test_what_never_began_can_be_stopped() -> None:
    class Idle(Background):
        async def _run(self) -> None:
            raise AssertionError

    asyncio.run(Idle().stop())


def test_whether_an_event_happens() -> None:
    async def body() -> tuple[bool, bool]:
        event = asyncio.Event()
        before = await is_set_within(event, 0.001)
        event.set()
        return before, await is_set_within(event, 60)

    assert asyncio.run(body()) == (False, True)
