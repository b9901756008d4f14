"""Searches of customers, one by one, and twelve at once while another key reads.

The customers are written straight into the ledger. What is searched for is rare where it can be:
then whoever has to look at each customer looks at all of them.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Iterable
from itertools import cycle
from pathlib import Path

from benchmarks import traffic
from benchmarks.bench import Bench, House
from benchmarks.load import MakeRequest, Sample, load
from benchmarks.processes import KEY, Server, meterhouse
from benchmarks.result import Row, refusals, times
from meterhouse.ledger.accounts import default_account, scopes_of
from meterhouse.ledger.customers import Customer, create_customer
from meterhouse.ledger.engine import open_ledger
from meterhouse.wire.ids import new_id

_OTHER_KEY = "sk_test_benchmarks"
_SEARCH = "/v1/customers/search"
_CALLED = "/meterhouse/v1/customers"
_AT_ONCE = 12
_SHARE_OF_A_MEASUREMENT = 0.2  # of its length for each form
_WRITTEN_AT_ONCE = 1_000
_CREATED = 1_700_000_000  # of the first customer; each is created a second after the one before
_FIRST = ("Ada", "Alan", "Barbara", "Donald", "Edsger", "Grace", "Hedy", "Ken", "Margaret", "Radia")
_LAST = (
    "Cerf",
    "Dijkstra",
    "Hamilton",
    "Hopper",
    "Knuth",
    "Lamarr",
    "Liskov",
    "Lovelace",
    "Turing",
)
_FORMS = {
    "an email": 'email:"ada.hopper.77@example.com"',
    "a part of emails, all have it": 'email~"example"',
    "a part of emails, few have it": 'email~"hopper.777"',
    "a part of emails, nobody has it": 'email~"nobody"',
    "words of names, nobody has them": 'name:"ada nobody"',
    "metadata, one has it": "metadata['number']:'77'",
    "metadata, nobody has it": "metadata['plan']:'none'",
    "metadata, all but nobody": "-metadata['plan']:'none'",
    "metadata, all have the key": "metadata['plan']:null",
    "no phone, all": "phone:null",
    "a phone, nobody": "-phone:null",
    "created, the oldest": f"created<{_CREATED + 5}",
    "created, the newest": "created>{newest}",
    "a part of emails, of the oldest": f'email~"example" AND created<{_CREATED + 5}',
    "one of two, nobody": "email~'nobody' OR metadata['plan']:'none'",
    "not a part of emails, all have it": '-email~"example"',
}


async def measure(bench: Bench) -> AsyncIterator[Row]:
    """Search in every form, then in all of them at once."""
    customers = bench.sizes.searched
    with House(_start) as house:
        house.server.stop()
        bench.say(f"search: {customers:,} customers")
        await asyncio.to_thread(_write, house.folder, customers)
        house.start()
        forms = {
            name: traffic.get(
                _SEARCH, KEY, {"query": query.format(newest=_CREATED + customers - 5)}
            )
            for name, query in _FORMS.items()
        }
        forms["called so, few"] = traffic.get(_CALLED, KEY, {"text": "hopper.777"})
        forms["called so, nobody"] = traffic.get(_CALLED, KEY, {"text": "nobody"})
        url = house.server.url
        seconds = bench.sizes.seconds * _SHARE_OF_A_MEASUREMENT
        for name, request in forms.items():
            bench.say(f"search: {name}")
            asked = await load(url, _taking([request]), connections=1, seconds=seconds)
            yield _row(f"search: {name}", asked)
        read = traffic.get("/v1/customers?limit=1", _OTHER_KEY)
        bench.say("search: another key alone")
        alone = await load(url, _taking([read]), connections=1, seconds=seconds)
        yield _row("another key reads, alone", alone)
        bench.say(f"search: {_AT_ONCE} at once")
        searched, beside = await asyncio.gather(
            load(url, _taking(forms.values()), connections=_AT_ONCE, seconds=bench.sizes.seconds),
            load(url, _taking([read]), connections=1, seconds=bench.sizes.seconds),
        )
        yield _row(f"all forms, {_AT_ONCE} at once", searched)
        yield _row("another key reads meanwhile", beside)


def _start(folder: Path) -> Server:
    return meterhouse(folder, environment={"METERHOUSE_API_KEYS": f"{KEY},{_OTHER_KEY}"})


def _taking(requests: Iterable[bytes]) -> MakeRequest:
    return cycle(list(requests)).__next__


def _write(folder: Path, customers: int) -> None:
    chance = random.Random(3)  # noqa: S311 - the same in every run
    with open_ledger(f"sqlite:///{folder / 'ledger.db'}") as ledger:
        with ledger.write() as connection:
            _, live = scopes_of(connection, default_account(connection, now=1).id)
        for start in range(0, customers, _WRITTEN_AT_ONCE):
            with ledger.write() as connection:
                for number in range(start, min(start + _WRITTEN_AT_ONCE, customers)):
                    create_customer(connection, _customer(live.id, number, chance))


def _customer(scope: int, number: int, chance: random.Random) -> Customer:
    first, last = chance.choice(_FIRST), chance.choice(_LAST)
    return Customer(
        id=new_id("cus"),
        scope=scope,
        email=f"{first}.{last}.{number}@example.com".lower(),
        metadata={"plan": chance.choice(("free", "gold", "silver")), "number": str(number)},
        details={"name": f"{first} {last}"},
        created=(_CREATED + number) * 1_000,
        deleted_at=None,
    )


def _row(name: str, asked: Sample) -> Row:
    p50, p99 = times(asked)
    return Row(name=name, rate=asked.rate, p50=p50, p99=p99, note=refusals(asked))
