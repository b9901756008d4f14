"""Left behind: blocks that a crash, a failure or another process has left between the stores."""

from collections.abc import Callable, Collection

from meterhouse.ledger import blocks
from meterhouse.stores import Stores
from meterhouse.usage import block
from meterhouse.usage.store import UsageStore


def anybodys(_: int) -> None:
    """Let blocks be brought that nobody else can bring."""


async def store_left_behind(
    stores: Stores,
    partitions: Collection[int] | None = None,
    assure: Callable[[int], None] = anybodys,
) -> dict[int, list[bytes]]:
    """Bring the blocks that were left behind into the usage store.

    Those that are kept under some `partitions` are brought, or all; `assure` raises an error unless
    a partition is still ours. Returns the digests of the identifiers among them, by day.
    """
    left = await stores.read(blocks.read, None, partitions)
    for one in left:
        assure(one.partition)
        await stores.usage(UsageStore.insert_again, one.destination, one.body, one.token)
    if left:
        await stores.usage(UsageStore.confirm)
        await stores.write(blocks.release, [one.token for one in left])
    claimed: dict[int, list[bytes]] = {}
    for one in left:
        if one.destination == "identifiers":
            for day, digests in block.claims(one.body).by_day().items():
                claimed.setdefault(day, []).extend(digests)
    return claimed
