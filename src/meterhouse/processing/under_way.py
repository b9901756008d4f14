"""Under way: the requests that were received and may put something into the journal yet."""

import asyncio

from meterhouse.clock import Clock


class Receiving:
    """A request that is under way, from when it was received until it is answered."""

    __slots__ = ("_all", "instant")

    def __init__(self, every: "UnderWay", instant: int) -> None:
        self._all = every
        self.instant = instant

    def __enter__(self) -> None:
        self._all.begin(self)

    def __exit__(self, *_: object) -> None:
        self._all.end(self)


class UnderWay:
    """All of this process."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._requests: set[Receiving] = set()
        self._awaited: set[Receiving] = set()
        self._answered = asyncio.Event()

    def receiving(self, instant: int) -> Receiving:
        """Tell, for as long as a `with` block lasts, that what was received then is under way."""
        return Receiving(self, instant)

    def begin(self, request: Receiving) -> None:
        """Take up a request."""
        self._requests.add(request)

    def end(self, request: Receiving) -> None:
        """Forget a request that is answered."""
        self._requests.remove(request)
        if request in self._awaited:
            self._awaited.remove(request)
            if not self._awaited:
                self._answered.set()

    def oldest(self) -> int:
        """Return an instant before which nothing was received that is not answered yet."""
        return min((one.instant for one in self._requests), default=self._clock.now())

    async def answered(self) -> None:
        """Wait until every request that is under way now is answered."""
        self._awaited = set(self._requests)
        if self._awaited:
            self._answered.clear()
            await self._answered.wait()
