"""The parts of the journal that this process has, which are processed together.

A partition that was another process's is let in once nothing of it is half-way. Its newest blocks
may be kept under another partition (`ledger.partitions`), which a third process may have by now:
then that one brings them to the usage store, and we wait for it. What waits for nobody are the
blocks that are kept under a partition of ours, so nobody waits in a circle.

What a reader may rely on: of a partition that is a member, all that is kept is known here, or is
kept under a member.
"""

import logging
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping

import sqlalchemy as sa

from meterhouse.errors import OvertakenError
from meterhouse.identifiers.index import Identifiers
from meterhouse.ledger import blocks, leases, partitions
from meterhouse.processing.lease import Epochs, Lease
from meterhouse.processing.left_behind import store_left_behind
from meterhouse.stores import Stores
from meterhouse.usage.store import UsageStore

log = logging.getLogger("meterhouse.parts")


class Part:
    """A partition, from when this process has it until it is somebody else's.

    Where the ledger is shared, `lease` is the right to process it, and `admits` tells whether that
    may begin. All that was committed up to `as_of`, an instant of the database's clock, is stored;
    `backlog_events` are those that wait, as the last look at the journal has shown. Once it is
    `closing`, no step begins until it has left.
    """

    def __init__(
        self,
        number: int,
        lease: Lease | None = None,
        admits: Callable[[], Awaitable[bool]] | None = None,
    ) -> None:
        self.number = number
        self.lease = lease
        self.fence = lease.fence() if lease else None
        self.admits = admits
        self.as_of = 0
        self.backlog_events = 0
        self.closing = False
        self.awaited: list[str] | None = None  # blocks that others bring; None while not known


class Parts:
    """Those that are processed, the `members`, and those that are `coming`."""

    def __init__(
        self, stores: Stores, identifiers: Identifiers, arrived: Callable[[], None]
    ) -> None:
        """Call `arrived` when one has become a member, of which nothing is known here yet."""
        self.members: list[Part] = []  # by their numbers
        self.coming: list[Part] = []
        self._stores = stores
        self._identifiers = identifiers
        self._arrived = arrived

    def __bool__(self) -> bool:
        """Tell whether there are any."""
        return bool(self.members or self.coming)

    @property
    def numbers(self) -> list[int]:
        """The numbers of the members, the smallest first."""
        return [one.number for one in self.members]

    @property
    def closing(self) -> bool:
        """Whether one of the members is about to leave."""
        return any(one.closing for one in self.members)

    def begin(self, parts: Collection[Part]) -> None:
        """Have members of which nothing is left behind that this process does not know."""
        self.members = sorted([*self.members, *parts], key=lambda one: one.number)

    def remove(self, part: Part) -> None:
        """Have a part no more."""
        for some in (self.members, self.coming):
            if part in some:
                some.remove(part)

    def writing(self, numbers: Collection[int] | None = None) -> Stores:
        """Return the stores, written by the right of all members, or of some of them."""
        return self._by(one for one in self.members if numbers is None or one.number in numbers)

    def assure(self, number: int) -> None:
        """Make sure that a partition is ours still, before something of it is inserted."""
        for one in (*self.members, *self.coming):
            if one.number == number:
                if one.lease is not None:
                    one.lease.assure()
                return
        raise OvertakenError(f"Partition {number} is processed here no more.")

    async def recover(self) -> None:
        """Learn what is committed and was not noted here; leave nothing of it behind."""
        await self._lose()
        await self._catch_up()
        await self._identifiers.recover(self.writing(), self.numbers)
        await self.bring()

    async def bring(self) -> None:
        """Let the ledger keep no block of the members at all."""
        await self._lose()
        left = await store_left_behind(self.writing(), self.numbers, self.assure)
        self._identifiers.stored(left)

    async def let_in(self, drain: Callable[[], Awaitable[None]]) -> bool:
        """Make members of those who are coming, as far as possible; tell whether there are any.

        `drain` ends all that is half-way of the members before.
        """
        ready = [one for one in self.coming if not one.closing and await self._is_ready(one)]
        if not ready:
            return False
        await drain()
        await self._catch_up()
        for one in ready:
            self._identifiers.begin(one.number)
        numbers = [one.number for one in ready]
        await self._identifiers.recover(self._by(ready), numbers)
        await self._by(ready).write(partitions.part, numbers)
        self.coming = [one for one in self.coming if one not in ready]
        self.begin(ready)
        self._arrived()
        return True

    async def part(self) -> None:
        """Tell that nothing of the members is half-way, so each may go its own way."""
        if self.members and self._stores.shared:
            await self.writing().write(partitions.part, self.numbers)

    async def is_clean(self, part: Part) -> bool:
        """Store what was left behind of one who is coming; tell whether nothing of it is left."""
        await store_left_behind(self._by([part]), [part.number], self.assure)
        if part.awaited is None:
            part.awaited = await self._stores.read(_kept_elsewhere, part.number)
        return not part.awaited or not await self._stores.read(blocks.are_kept, part.awaited)

    async def _is_ready(self, part: Part) -> bool:
        try:
            return (part.admits is None or await part.admits()) and await self.is_clean(part)
        except OvertakenError:
            _tell_lost(part)
            self.remove(part)
            return False

    async def _lose(self) -> None:
        """Part with the members that others have by now, and with those whose blocks they have."""
        if not any(one.lease for one in self.members):
            return
        epochs, under = await self._stores.read(_held, self.numbers)
        lost = [one for one in self.members if not _is_ours(one, epochs)]
        for one in lost:
            _tell_lost(one)
            self.members.remove(one)
        while astray := [one for one in self.members if under[one.number] not in self.numbers]:
            for one in astray:
                self.members.remove(one)
                one.awaited = None
            self.coming += astray

    async def _catch_up(self) -> None:
        """See what former owners have stored: answers have to hold it."""
        if self._stores.shared:
            await self._stores.usage(UsageStore.sync)

    def _by(self, parts: Iterable[Part]) -> Stores:
        """Return the stores, written by the right of some parts."""
        epochs: dict[str, int | None] = {}
        for one in parts:
            epochs |= one.fence.of if one.fence else {}
        return self._stores.fenced(Epochs(epochs)) if epochs else self._stores


def _tell_lost(part: Part) -> None:
    log.info("partition %d is processed no more: another process has it", part.number)


def _is_ours(part: Part, epochs: Mapping[str, int]) -> bool:
    if part.lease is None or part.fence is None:
        return True
    return part.fence.of == {part.lease.name: epochs.get(part.lease.name)}


def _held(
    connection: sa.Connection, numbers: Collection[int]
) -> tuple[dict[str, int], dict[int, int]]:
    """Read the epochs of leases that somebody has, and under which partitions blocks are kept."""
    epochs = {name: one.epoch for name, one in leases.held(connection).items()}
    return epochs, partitions.kept_under(connection, numbers)


def _kept_elsewhere(connection: sa.Connection, number: int) -> list[str]:
    """Return the tokens of blocks that may be of a partition and are kept under another one."""
    under = partitions.kept_under(connection, [number])[number]
    return [] if under == number else blocks.tokens(connection, [under])
