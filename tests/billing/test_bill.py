from collections.abc import Callable, Sequence
from decimal import Decimal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterhouse.billing.bill import Bill, Catalog, Made, Usage, bill_of, item_part, made, totalled
from meterhouse.billing.invoice import Invoice, InvoiceItem, Line, Segment
from meterhouse.billing.period import Period
from meterhouse.billing.price import Option, Pricing, Recurrence, Tier, TiersMode
from tests.billing.samples import FLAT, FONTS, catalog, package, price, product, tiered, unit

MONTH = Period(0, 31 * 86_400_000)
MENDER = tiered("graduated", [(50, "0", 3200), (None, "64", None)])


def usage(price_id: str, **members: object) -> Usage:
    """A part that bills the usage of a month."""
    segment = Segment(
        place=0,
        customer="cus",
        meter="mtr",
        price=price_id,
        subscription_item=f"si_{price_id}",
        invoice_item=None,
        usage_in=MONTH,
        period=MONTH,
    )
    return Usage(segment=msgspec.structs.replace(segment, **members), subscription="sub")


def counted(bill: Bill, *totals: str) -> list[Segment]:
    """The segments of a bill with these totals, counted in any order."""
    pairs = zip(bill.segments, totals, strict=True)
    return [msgspec.structs.replace(one, usage=Decimal(total)) for one, total in pairs][::-1]


def name() -> Callable[[str], str]:
    """Names that refuse to be given twice."""
    given_: set[str] = set()

    def give(text: str) -> str:
        assert text not in given_
        given_.add(text)
        return f"il {text}"

    return give


def lines(pricing: Pricing, total: str, sold: Catalog) -> Made:
    bill = bill_of(pricing.currency, sold, [usage("it")])
    return made(bill, counted(bill, total), name())


# A price, what its product is called, a total of usage, the amounts and texts of the lines.
GITPOD = tiered("graduated", [(1000, "0", 900), (None, "3.6", 0)])
EXAMPLES: list[tuple[Pricing, str, str | None, str, list[tuple[int, str]]]] = [
    (unit("4"), "Tokens", "token", "25", [(100, "25 token × Tokens (at $0.04 / month)")]),
    (unit("4"), "Tokens", None, "-15", [(0, "0 × Tokens (at $0.04 / month)")]),
    (unit("40"), "Hours", None, "2.5", [(100, "2.5 × Hours (at $0.40 / month)")]),
    (
        package("8", 60),
        "Voice",
        None,
        "9892",
        [(1320, "9892 × Voice (at $0.08 per 60 units / month)")],
    ),
    (
        GITPOD,
        "Gitpod Usage",
        "credit",
        "1031",
        [
            (0, "1000 credit × Gitpod Usage (Tier 1 at $0.00 / month)"),
            (900, "Gitpod Usage (Tier 1 at $9.00 / month)"),
            (112, "31 credit × Gitpod Usage (Tier 2 at $0.036 / month)"),
            (0, "Gitpod Usage (Tier 2 at $0.00 / month)"),
        ],
    ),
    (
        tiered("volume", FLAT),
        "Fonts",
        None,
        "12",
        [
            (3600, "12 × Fonts (Tier 3 at $3.00 / month)"),
            (3000, "Fonts (Tier 3 at $30.00 / month)"),
        ],
    ),
    (
        tiered("graduated", FLAT),
        "Fonts",
        None,
        "0",
        [(0, "0 × Fonts (Tier 1 at $5.00 / month)"), (1000, "Fonts (Tier 1 at $10.00 / month)")],
    ),
    (unit("0.5", "jpy"), "Name", None, "3", [(2, "3 × Name (at ¥0.5 / month)")]),
]


@pytest.mark.parametrize(("pricing", "called", "label", "total", "expected"), EXAMPLES)
def test_usage_becomes_lines(
    pricing: Pricing, called: str, label: str | None, total: str, expected: list[tuple[int, str]]
) -> None:
    sold = Catalog({"it": price("it", pricing)}, {"prod_it": product("it", called, label)})
    bill = lines(pricing, total, sold)
    assert [(line.amount, line.description) for line in bill.lines] == expected
    assert bill.total == sum(amount for amount, _ in expected)
    assert [segment.amount for segment in bill.segments] == [bill.total]
    assert {(line.segment, line.period, line.subscription_item) for line in bill.lines} == {
        (0, MONTH, "si_it")
    }


def test_a_day_has_its_own_word() -> None:
    basic = tiered("graduated", [(100_000, None, 999), (None, "0.02", None)])
    daily = price("it", basic, every=Recurrence("day"))
    sold = Catalog({"it": daily}, {"prod_it": product("it", "Basic", "character")})
    assert [(line.amount, line.description) for line in lines(basic, "0", sold).lines] == [
        (0, "0 character × Basic (Tier 1 at $0.00 / day)"),
        (999, "Basic (Tier 1 at $9.99 / day)"),
    ]


def test_the_line_of_a_flat_amount_has_no_quantity() -> None:
    bill = lines(MENDER, "50", catalog(price("it", MENDER)))
    assert [(str(one.quantity), str(one.unit_amount), one.flat) for one in bill.lines] == [
        ("50", "0", False),
        ("0", "3200", True),
    ]


@pytest.mark.parametrize(
    ("mode", "text"),
    [("flexible", "Free trial for 10 × It"), ("classic", "10 × It (Free trial)")],
)
def test_usage_in_a_trial_costs_nothing(mode: str, text: str) -> None:
    part = msgspec.structs.replace(usage("it", free=True), mode=mode)
    bill = bill_of("usd", catalog(price("it", tiered("graduated", FLAT))), [part])
    one = made(bill, counted(bill, "10"), name())
    assert [(line.amount, line.description) for line in one.lines] == [(0, text)]
    assert one.lines[0].quantity == 10


def test_what_earlier_invoices_charged_is_taken_off() -> None:
    """Volume tiers may give money back: worked example 39."""
    volume = tiered("volume", [(10_000, "50", None), (None, "40", None)])
    part = usage("it", billed_before=500_000)
    bill = bill_of("usd", catalog(price("it", volume)), [part])
    one = made(bill, counted(bill, "10001"), name())
    assert [(line.amount, line.description) for line in one.lines] == [
        (400_040, "10001 × It (Tier 2 at $0.40 / month)"),
        (-500_000, "Amount previously billed"),
    ]
    assert (one.total, one.segments[0].amount) == (-99_960, -99_960)
    draft = totalled(invoice(), one.lines)
    assert (draft.subtotal, draft.total, draft.amount_due) == (-99_960, -99_960, 0)


def test_parts_keep_their_order_and_lines_their_ids() -> None:
    """What was counted since changes amounts; ids and what was written onto lines stay."""
    sold = catalog(price("tokens", GITPOD), price("calls", unit("2")))
    fixed = Line(
        id="il_fixed",
        amount=7,
        description="Setup",
        period=MONTH,
        quantity=Decimal(1),
        unit_amount=Decimal(7),
    )
    unnamed = msgspec.structs.replace(fixed, id="")
    bill = bill_of("usd", sold, [fixed, usage("calls"), unnamed, usage("tokens")])
    assert [segment.place for segment in bill.segments] == [0, 1]
    early = made(bill, counted(bill, "1", "1"), name())
    marked = {early.lines[1].id: {"seen": "yes"}}
    late = made(bill, counted(bill, "5", "1031"), name(), marked)
    assert [line.amount for line in early.lines] == [7, 2, 7, 0, 900]
    assert [line.amount for line in late.lines] == [7, 10, 7, 0, 900, 112, 0]
    assert [line.id for line in late.lines[:5]] == [line.id for line in early.lines]
    assert late.lines[1].metadata == {"seen": "yes"}
    assert late.lines[3].metadata == {}


def test_a_price_is_billed_in_the_currency_of_the_bill() -> None:
    both = msgspec.structs.replace(
        price("it", unit("4")), options={"eur": Option(pricing=unit("3", "eur"))}
    )
    bill = bill_of("eur", catalog(both), [usage("it")])
    one = made(bill, counted(bill, "10"), name())
    assert [(line.amount, line.description) for line in one.lines] == [
        (30, "10 × It (at €0.03 / month)")
    ]


def test_a_pending_item_is_a_line_or_usage() -> None:
    """Worked example 33: what was used before a price changed is billed at the old price."""
    sold = catalog(price("a", package("10", 100)), price("b", package("15", 100)))
    item = InvoiceItem(
        id="ii_1",
        scope=1,
        customer="cus",
        subscription="sub",
        subscription_item="si_b",
        invoice=None,
        test_clock=None,
        currency="usd",
        description="Setup",
        amount=300,
        quantity=Decimal(3),
        unit_amount=Decimal(100),
        price=None,
        period=MONTH,
        metadata={"of": "item"},
        created=0,
    )
    used = msgspec.structs.replace(item, id="ii_2", price="a", usage_in=MONTH)
    parts = [item_part(one, sold, "flexible") for one in (used, item)]
    bill = bill_of("usd", sold, [*parts, usage("b")])
    one = made(bill, counted(bill, "1000", "500"), name())
    assert [(line.amount, line.invoice_item, line.metadata) for line in one.lines] == [
        (100, "ii_2", {"of": "item"}),
        (300, "ii_1", {"of": "item"}),
        (75, None, {}),
    ]
    assert [line.subscription_item for line in one.lines] == ["si_b"] * 3


AMOUNTS = st.decimals(0, 10_000, places=6).map(str)
TOTALS = st.decimals(-1_000, 100_000, places=6)


@st.composite
def tier_tables(draw: st.DrawFn) -> list[tuple[int | None, str | None, int | None]]:
    bounds = draw(st.lists(st.integers(1, 100_000), unique=True, max_size=5).map(sorted))
    flat = st.none() | st.integers(0, 10_000)
    return [(bound, draw(AMOUNTS), draw(flat)) for bound in (*bounds, None)]


@given(tier_tables(), st.lists(TOTALS, min_size=1, max_size=4))
def test_lines_add_up(
    table: list[tuple[int | None, str | None, int | None]], totals: Sequence[Decimal]
) -> None:
    """What a bill comes to is the sum of its lines, its segments' amounts, and the quantities."""
    for mode in ("graduated", "volume"):
        sold = catalog(price("it", tiered(mode, table)))
        bill = bill_of("usd", sold, [usage("it") for _ in totals])
        one = made(bill, counted(bill, *map(str, totals)), name())
        assert one.total == sum(line.amount for line in one.lines)
        assert one.total == sum(segment.amount for segment in one.segments)
        for segment, total in zip(one.segments, totals, strict=True):
            units = [line.quantity for line in one.lines if line.segment == segment.place]
            assert sum(units) == max(total, 0)


@given(tier_tables(), TOTALS)
def test_a_bill_is_what_the_tiers_say(
    table: list[tuple[int | None, str | None, int | None]], total: Decimal
) -> None:
    """Reckoned unit range by unit range, or all at the tier of the last unit."""
    used = max(total, Decimal(0))
    for mode in ("graduated", "volume"):
        pricing = tiered(mode, table)
        bill = bill_of("usd", catalog(price("it", pricing)), [usage("it")])
        one = made(bill, counted(bill, str(total)), name())
        due = _reckon(pricing.tiers, used, graduated=mode == "graduated")
        assert abs(one.total - due) <= Decimal("0.5") * len(one.lines)


def _reckon(tiers: Sequence[Tier], used: Decimal, *, graduated: bool) -> Decimal:
    below, due = Decimal(0), Decimal(0)
    for number, tier in enumerate(tiers):
        upper = used if tier.up_to is None else min(used, Decimal(tier.up_to))
        last = tier.up_to is None or used <= tier.up_to
        reached = number == 0 or used > below
        if graduated and reached:
            due += (upper - below) * (tier.unit_amount or 0) + (tier.flat_amount or 0)
        if last:
            if not graduated:
                due = used * (tier.unit_amount or 0) + (tier.flat_amount or 0)
            return due
        below = upper
    raise AssertionError("the last tier has no end")


def test_fonts_cost_less_by_volume() -> None:
    """Worked examples 1 and 2."""
    examples: list[tuple[TiersMode, list[int]]] = [
        ("volume", [700, 3500, 3900, 12_000, 15_000]),
        ("graduated", [700, 3500, 4150, 12_750, 15_750]),
    ]
    for mode, totals in examples:
        pricing = tiered(mode, FONTS)
        sold = catalog(price("it", pricing))
        assert [lines(pricing, used, sold).total for used in ("1", "5", "6", "20", "25")] == totals


def invoice() -> Invoice:
    return Invoice(
        id="in_1",
        scope=1,
        customer="cus",
        subscription="sub",
        test_clock=None,
        status="draft",
        reason="subscription_cycle",
        currency="usd",
        period=MONTH,
        created=0,
    )
