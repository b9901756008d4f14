"""What an invoice says to whoever pays it: the same on the page, on paper and in a PDF.

It is made of objects as the API shows them. Nothing is computed but what was taken off by a
balance; amounts are in minor units.
"""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from itertools import groupby
from typing import Any, NamedTuple

from meterhouse.dashboard.show import day

_ADDRESS = ("line1", "line2", "postal_code", "city", "state", "country")


class Entry(NamedTuple):
    """A line; it has no quantity where it is a flat amount. `id` is that of the line."""

    id: str
    description: str
    quantity: Decimal | None
    amount: int


class Part(NamedTuple):
    """Lines that follow one another and are for one period."""

    period: str
    entries: list[Entry]


class Statement(NamedTuple):
    """An invoice. `sums` end with what is due, or was paid; `more` lines are not among `parts`."""

    title: str
    status: str
    seller: str
    customer: list[str]
    facts: list[tuple[str, str]]
    parts: list[Part]
    more: int
    currency: str
    sums: list[tuple[str, int]]
    notes: list[str]


def state(
    invoice: Mapping[str, Any],
    lines: Iterable[Mapping[str, Any]],
    *,
    customer: Mapping[str, Any],
    more: int = 0,
) -> Statement:
    """Return what an invoice with these lines says; a draft is to whom the customer is now."""
    return Statement(
        title=invoice["number"] or _UNNUMBERED.get(invoice["billing_reason"], "Draft"),
        status=invoice["status"],
        seller=invoice["account_name"] or "",
        customer=_customer(invoice, customer),
        facts=_facts(invoice),
        parts=[
            Part(period, [_entry(line) for line in grouped])
            for period, grouped in groupby(lines, _period)
        ],
        more=more,
        currency=invoice["currency"],
        sums=_sums(invoice),
        notes=[text for text in (invoice["description"], invoice["footer"]) if text],
    )


_UNNUMBERED = {"upcoming": "Upcoming"}


def _customer(invoice: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return who pays, a line each: the name, the address, the email."""
    then = {name: invoice.get(f"customer_{name}") for name in ("name", "email", "address")}
    told = then if any(then.values()) else now
    address = told.get("address") or {}
    found = [told.get("name"), *(address.get(name) for name in _ADDRESS), told.get("email")]
    return [text for text in found if text] or [str(now["id"])]


def _facts(invoice: Mapping[str, Any]) -> list[tuple[str, str]]:
    moments = invoice["status_transitions"]
    issued = invoice.get("effective_at") or moments["finalized_at"]
    dated = [
        ("Issued", issued),
        ("Due", invoice["due_date"]),
        ("Paid", moments["paid_at"]),
        ("Voided", moments["voided_at"]),
    ]
    return [(name, day(at)) for name, at in dated if at is not None]


def _period(line: Mapping[str, Any]) -> str:
    start, end = day(line["period"]["start"]), day(line["period"]["end"])
    return start if start == end else f"{start} \N{EN DASH} {end}"


def _entry(line: Mapping[str, Any]) -> Entry:
    quantity = Decimal(line["quantity_decimal"] or 0)
    is_flat = not quantity and line["amount"]
    return Entry(
        line["id"], line["description"] or "", None if is_flat else quantity, line["amount"]
    )


def _sums(invoice: Mapping[str, Any]) -> list[tuple[str, int]]:
    subtotal, total, due = invoice["subtotal"], invoice["total"], invoice["amount_due"]
    sums = [("Subtotal", subtotal)]
    if total != subtotal:
        sums.append(("From credits", total - subtotal))
    sums.append(("Total", total))
    if due != total:
        sums.append(("From the balance" if due < total else "To the balance", due - total))
    if invoice["status"] == "paid":
        return [*sums, ("Paid", due)]
    return [*sums, ("Due", due)]
