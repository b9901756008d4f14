from decimal import Decimal
from typing import Any

import pytest

from meterhouse.dashboard.statement import Entry, Part, state
from tests.dashboard.samples import at

NOVEMBER = (at("2026-11-01") // 1000, at("2026-12-01") // 1000)
DECEMBER = (NOVEMBER[1], at("2027-01-01") // 1000)
ADA = {"id": "cus_1", "name": "Ada", "email": "ada@example.com", "address": None}


def invoice(**more: Any) -> dict[str, Any]:
    """Return what matters here of an invoice as the API shows it."""
    nothing = dict.fromkeys(("customer_name", "customer_email", "customer_address", "due_date"))
    moments = dict.fromkeys(("finalized_at", "paid_at", "voided_at"))
    return {
        **nothing,
        "account_name": "House",
        "number": "DF67D6F2-0001",
        "billing_reason": "subscription_cycle",
        "status": "open",
        "currency": "usd",
        "effective_at": NOVEMBER[1] + 3_600,
        "subtotal": 1_012,
        "total": 1_012,
        "amount_due": 1_012,
        "description": None,
        "footer": None,
        "status_transitions": moments,
    } | more


def line(
    id_: str, amount: int, quantity: str, period: tuple[int, int] = NOVEMBER
) -> dict[str, Any]:
    start, end = period
    return {
        "id": id_,
        "amount": amount,
        "description": f"line {id_}",
        "quantity_decimal": quantity,
        "period": {"start": start, "end": end},
    }


def test_lines_stand_below_their_periods() -> None:
    lines = [line("a", 0, "1000"), line("b", 900, "0"), line("c", 5, "0.5", DECEMBER)]
    said = state(invoice(), lines, customer=ADA, more=3)
    assert said.parts == [
        Part(
            "1 Nov 2026 \N{EN DASH} 1 Dec 2026",
            [Entry("a", "line a", Decimal(1000), 0), Entry("b", "line b", None, 900)],
        ),
        Part("1 Dec 2026 \N{EN DASH} 1 Jan 2027", [Entry("c", "line c", Decimal("0.5"), 5)]),
    ]
    assert (said.more, said.seller, said.title) == (3, "House", "DF67D6F2-0001")
    assert said.facts == [("Issued", "1 Dec 2026")]


@pytest.mark.parametrize(
    ("more", "sums"),
    [
        ({}, {"Subtotal": 1_012, "Total": 1_012, "Due": 1_012}),
        (
            {"total": 412, "amount_due": 412},
            {"Subtotal": 1_012, "From credits": -600, "Total": 412, "Due": 412},
        ),
        ({"amount_due": 512}, {"Total": 1_012, "From the balance": -500, "Due": 512}),
        ({"amount_due": 1_212}, {"To the balance": 200, "Due": 1_212}),
        ({"total": -30, "amount_due": 0}, {"Total": -30, "To the balance": 30, "Due": 0}),
        ({"status": "paid"}, {"Total": 1_012, "Paid": 1_012}),
        ({"status": "void"}, {"Total": 1_012, "Due": 1_012}),
    ],
)
def test_what_is_due(more: dict[str, Any], sums: dict[str, int]) -> None:
    said = state(invoice(**more), [], customer=ADA)
    assert sums.items() <= dict(said.sums).items()
    assert said.sums[-1][0] in {"Due", "Paid"}


@pytest.mark.parametrize(
    ("of_invoice", "now", "told"),
    [
        ({}, ADA, ["Ada", "ada@example.com"]),
        ({}, {"id": "cus_1", "deleted": True}, ["cus_1"]),
        (
            {
                "customer_name": "Ada then",
                "customer_address": {"line1": "1 Main St", "city": "Ulm", "postal_code": ""},
            },
            ADA,
            ["Ada then", "1 Main St", "Ulm"],
        ),
    ],
)
def test_who_pays_is_as_the_invoice_has_it(
    of_invoice: dict[str, Any], now: dict[str, Any], told: list[str]
) -> None:
    assert state(invoice(**of_invoice), [], customer=now).customer == told


@pytest.mark.parametrize(
    ("more", "title"),
    [({"number": None}, "Draft"), ({"number": None, "billing_reason": "upcoming"}, "Upcoming")],
)
def test_what_has_no_number_yet(more: dict[str, Any], title: str) -> None:
    assert state(invoice(**more), [], customer=ADA).title == title
