"""Whatever happens to a subscription with a threshold, nothing is billed twice and nothing lost."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from meterhouse.billing.subscription import Threshold
from meterhouse.ledger.engine import Ledger, open_ledger
from meterhouse.metering.model import Scope
from tests.blank import blank_ledger
from tests.invoicing.lives import PRICINGS, Life, stocked

NAMES = st.sampled_from(sorted(PRICINGS))
STEPS = st.one_of(
    st.tuples(st.just("use"), st.integers(-40, 300), st.integers(0, 100_000)),
    st.tuples(st.just("go_on"), st.integers(0, 500)),
    st.tuples(st.just("change_price"), NAMES, st.booleans()),
    st.tuples(st.just("void")),
)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Ledger, Scope]]:
    folder: Path = tmp_path_factory.mktemp("lives")
    with open_ledger(blank_ledger(folder)) as ledger:
        yield ledger, stocked(ledger)


# To shrink a life takes minutes, and a life is short enough to be read.
@settings(max_examples=50, deadline=None, phases=[Phase.generate])
@given(
    price=NAMES,
    amount_gte=st.integers(130, 1_500),
    resets=st.booleans(),
    steps=st.lists(STEPS, max_size=15),
)
def test_all_invoices_come_to_what_all_usage_costs(
    world: tuple[Ledger, Scope],
    price: str,
    amount_gte: int,
    resets: bool,
    steps: list[tuple[object, ...]],
) -> None:
    life = Life(*world, price, Threshold(amount_gte=amount_gte, resets=resets))
    for name, *details in steps:
        if name == "change_price":
            life.change_price(str(details[0]), at_once=bool(details[1]))
        elif name == "void" and not resets:
            life.void()
        elif name == "use":
            life.use(*map(int, map(str, details)))
        elif name == "go_on":
            life.go_on(int(str(details[0])))
    life.end()
    assert life.billed() == life.owed()


def test_several_who_look_at_once_make_one_invoice(ledger: Ledger) -> None:
    """Given workers that each think that they are alone, then the ledger tells them apart."""
    life = Life(ledger, stocked(ledger), "unit", Threshold(amount_gte=700))
    life.used.append((life.now, 100))
    with ThreadPoolExecutor(4) as threads:
        for look in [threads.submit(life.look) for _ in range(4)]:
            look.result()
    assert [one.total for one in life.invoices()] == [700]
