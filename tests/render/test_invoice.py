"""Invoices, lines and items at the versions at which they changed."""

from decimal import Decimal
from typing import Any

import pytest

from meterhouse.billing.period import Period
from meterhouse.render.invoice import render_invoice, render_invoice_item, render_line
from meterhouse.wire.version import parse_version
from tests.invoicing.samples import NOVEMBER, NOW, a_line, a_price, an_invoice, an_item

ACACIA, NEWEST = parse_version("2024-12-18.acacia"), parse_version("2026-10-28.endive")
OLD = parse_version("2024-06-20")
PRICES = {"price_1": a_price(1)}


def invoice(**changes: Any) -> Any:
    cycle: dict[str, Any] = {
        "id": "in_1",
        "subscription": "sub_1",
        "reason": "subscription_cycle",
        "auto_advance": True,
        "finalizes_at": NOW,
        "subtotal": 1012,
        "total": 1012,
        "amount_due": 1012,
        "period": Period(1_668_552_093_000, NOVEMBER.end),
    }
    return an_invoice(1, **(cycle | changes))


LINES = [a_line(112, id=f"il_{number}") for number in range(4)]


def test_a_cycle_invoice_as_the_newest_version_has_it() -> None:
    shown = render_invoice(invoice(), LINES, livemode=False)
    data = shown["lines"].pop("data")
    assert [line["id"] for line in data] == ["il_0", "il_1", "il_2", "il_3"]
    assert shown == {
        "id": "in_1",
        "object": "invoice",
        "account_country": "US",
        "account_name": None,
        "account_tax_ids": None,
        "amount_due": 1012,
        "amount_overpaid": 0,
        "amount_paid": 0,
        "amount_paid_off_stripe": 0,
        "amount_remaining": 1012,
        "amount_shipping": 0,
        "application": None,
        "attempt_count": 0,
        "attempted": False,
        "auto_advance": True,
        "automatic_tax": {
            "disabled_reason": None,
            "enabled": False,
            "liability": None,
            "provider": None,
            "status": None,
        },
        "automatically_finalizes_at": 1669856401,
        "billing_reason": "subscription_cycle",
        "collection_method": "charge_automatically",
        "created": 1669852800,
        "currency": "usd",
        "custom_fields": None,
        "customer": "cus_1",
        "customer_account": None,
        "customer_address": None,
        "customer_email": None,
        "customer_name": None,
        "customer_phone": None,
        "customer_shipping": None,
        "customer_tax_exempt": "none",
        "customer_tax_ids": [],
        "default_payment_method": None,
        "default_source": None,
        "default_tax_rates": [],
        "description": None,
        "discounts": [],
        "due_date": None,
        "effective_at": None,
        "ending_balance": None,
        "footer": None,
        "from_invoice": None,
        "hosted_invoice_url": None,
        "invoice_pdf": None,
        "issuer": {"type": "self"},
        "last_finalization_error": None,
        "latest_revision": None,
        "lines": {
            "object": "list",
            "has_more": False,
            "total_count": 4,
            "url": "/v1/invoices/in_1/lines",
        },
        "livemode": False,
        "metadata": {},
        "next_payment_attempt": 1669856400,
        "number": None,
        "on_behalf_of": None,
        "parent": {
            "quote_details": None,
            "subscription_details": {"metadata": {}, "subscription": "sub_1"},
            "type": "subscription_details",
        },
        "payment_settings": {
            "default_mandate": None,
            "payment_method_options": None,
            "payment_method_types": None,
        },
        "period_end": 1669852800,
        "period_start": 1668552093,
        "post_payment_credit_notes_amount": 0,
        "pre_payment_credit_notes_amount": 0,
        "receipt_number": None,
        "rendering": None,
        "shipping_cost": None,
        "shipping_details": None,
        "starting_balance": 0,
        "statement_descriptor": None,
        "status": "draft",
        "status_details": None,
        "status_transitions": {
            "finalized_at": None,
            "marked_uncollectible_at": None,
            "paid_at": None,
            "voided_at": None,
        },
        "subtotal": 1012,
        "subtotal_excluding_tax": 1012,
        "test_clock": None,
        "total": 1012,
        "total_discount_amounts": [],
        "total_excluding_tax": 1012,
        "total_pretax_credit_amounts": [],
        "total_taxes": [],
        "webhooks_delivered_at": 1669852800,
    }


# Which members a version adds to the one before, and which it takes away.
CHANGES = [
    (
        "2024-06-20",
        "2024-12-18.acacia",
        {"total_pretax_credit_amounts"},
        set(),
        {"pretax_credit_amounts"},
        set(),
    ),
    (
        "2024-12-18.acacia",
        "2025-03-31.basil",
        {"amount_overpaid", "parent", "total_taxes"},
        {
            "application_fee_amount",
            "charge",
            "discount",
            "paid",
            "paid_out_of_band",
            "payment_intent",
            "quote",
            "subscription",
            "subscription_details",
            "tax",
            "total_tax_amounts",
            "transfer_data",
        },
        {"parent", "pricing", "taxes"},
        {
            "amount_excluding_tax",
            "plan",
            "price",
            "proration",
            "proration_details",
            "subscription_item",
            "tax_amounts",
            "tax_rates",
            "type",
            "unit_amount_excluding_tax",
        },
    ),
    ("2025-03-31.basil", "2025-12-15.clover", set(), set(), {"subtotal"}, set()),
    ("2025-12-15.clover", "2026-01-28.clover", {"customer_account"}, set(), set(), set()),
    ("2026-01-28.clover", "2026-03-25.dahlia", set(), set(), {"quantity_decimal"}, set()),
    ("2026-03-25.dahlia", "2026-05-27.dahlia", {"amount_paid_off_stripe"}, set(), set(), set()),
    ("2026-05-27.dahlia", "2026-09-30.endive", {"status_details"}, set(), set(), set()),
    ("2026-09-30.endive", "2026-10-28.endive", set(), set(), set(), set()),
]


@pytest.mark.parametrize("row", CHANGES, ids=[row[1] for row in CHANGES])
def test_what_a_version_adds_and_takes_away(
    row: tuple[str, str, set[str], set[str], set[str], set[str]],
) -> None:
    before, after, added, taken, added_to_line, taken_from_line = row
    line = a_line(subscription_item="si_1")
    old, new = (
        render_invoice(invoice(), [line], livemode=False, version=parse_version(one), prices=PRICES)
        for one in (before, after)
    )
    assert (new.keys() - old.keys(), old.keys() - new.keys()) == (added, taken)
    old_line, new_line = (shown["lines"]["data"][0] for shown in (old, new))
    assert new_line.keys() - old_line.keys() == added_to_line
    assert old_line.keys() - new_line.keys() == taken_from_line


def test_lines_as_the_newest_version_has_them() -> None:
    line = a_line(
        112,
        id="il_1",
        subscription="sub_1",
        subscription_item="si_1",
        quantity=Decimal("31.5"),
        metadata={"a": "b"},
        tier=2,
        segment=0,
    )
    details = {
        "invoice_item": None,
        "proration": False,
        "proration_details": {"credited_items": None},
        "subscription": "sub_1",
        "subscription_item": "si_1",
    }
    assert render_line(line, invoice(), livemode=False) == {
        "id": "il_1",
        "object": "line_item",
        "amount": 112,
        "currency": "usd",
        "description": "31 token × Tokens (at $0.036 / month)",
        "discount_amounts": [],
        "discountable": True,
        "discounts": [],
        "invoice": "in_1",
        "livemode": False,
        "metadata": {"a": "b"},
        "parent": {
            "invoice_item_details": None,
            "subscription_item_details": details,
            "type": "subscription_item_details",
        },
        "period": {"end": 1669852800, "start": 1667260800},
        "pretax_credit_amounts": [],
        "pricing": {
            "price_details": {"price": "price_1", "product": "prod_1"},
            "type": "price_details",
            "unit_amount_decimal": "3.6",
        },
        "quantity": 31,
        "quantity_decimal": "31.5",
        "subscription": "sub_1",
        "subtotal": 112,
        "taxes": [],
    }
    loose = a_line(500, price=None, product=None, invoice_item="ii_1", unit_amount=Decimal(500))
    shown = render_line(loose, invoice(), livemode=False)
    assert shown["parent"]["type"] == "invoice_item_details"
    assert shown["parent"]["invoice_item_details"] == {
        "invoice_item": "ii_1",
        "proration": False,
        "proration_details": {"credited_items": None},
        "subscription": None,
    }
    assert shown["pricing"]["price_details"] is None
    split = a_line(subscription="sub_1", subscription_item="si_1", invoice_item="ii_1")
    parent = render_line(split, invoice(), livemode=False)["parent"]
    assert parent["subscription_item_details"]["invoice_item"] == "ii_1"


def test_lines_as_old_versions_have_them() -> None:
    line = a_line(112, subscription="sub_1", subscription_item="si_1")
    shown = render_line(line, invoice(), livemode=False, version=ACACIA, prices=PRICES)
    assert shown["type"] == "subscription"
    assert shown["price"]["id"] == shown["plan"]["id"] == "price_1"
    assert shown["plan"]["object"] == "plan"
    assert (shown["plan"]["amount"], shown["plan"]["amount_decimal"]) == (None, "3.6")
    assert (shown["plan"]["meter"], shown["plan"]["usage_type"]) == ("mtr_1", "metered")
    assert shown["unit_amount_excluding_tax"] == "4"
    assert shown["subscription_item"] == "si_1"
    assert "invoice_item" not in shown
    flat = render_line(a_line(900, quantity=Decimal(0)), invoice(), livemode=False, version=OLD)
    assert flat["unit_amount_excluding_tax"] is None
    item = a_line(price=None, invoice_item="ii_1")
    shown = render_line(item, invoice(), livemode=False, version=ACACIA, prices=PRICES)
    assert (shown["type"], shown["invoice_item"]) == ("invoiceitem", "ii_1")
    assert (shown["price"], shown["plan"]) == (None, None)


def test_an_old_invoice_names_its_subscription() -> None:
    metadata = {"subscription_metadata": {"a": "b"}}
    paid = {"status": "paid", "amount_paid": 1012, "amount_paid_off_stripe": 1012}
    one = invoice(details=metadata, **paid)
    shown = render_invoice(one, [], livemode=False, version=ACACIA)
    assert shown["subscription"] == "sub_1"
    assert shown["subscription_details"] == {"metadata": {"a": "b"}}
    assert (shown["paid"], shown["paid_out_of_band"]) == (True, True)
    loose = render_invoice(invoice(subscription=None), [], livemode=False, version=ACACIA)
    assert (loose["subscription"], loose["subscription_details"]) == (None, {"metadata": None})
    assert render_invoice(invoice(subscription=None), [], livemode=False)["parent"] is None


def test_an_invoice_shows_its_first_lines() -> None:
    lines = [a_line(1) for _ in range(11)]
    shown = render_invoice(invoice(), lines, livemode=True)["lines"]
    assert [line["id"] for line in shown["data"]] == [line.id for line in lines[:10]]
    assert (shown["has_more"], shown["total_count"]) == (True, 11)


def test_what_details_tell() -> None:
    details = {"customer_name": "Ada", "automatically_finalizes_at": 17, "invented": True}
    shown = render_invoice(invoice(details=details), [], livemode=False)
    assert shown["customer_name"] == "Ada"
    assert shown["automatically_finalizes_at"] == 17
    assert "invented" not in shown


def test_when_nothing_happens_of_itself() -> None:
    for changes in (
        {"finalizes_at": None},
        {"status": "open", "finalized_at": NOW},
    ):
        shown = render_invoice(invoice(**changes), [], livemode=False)
        assert shown["automatically_finalizes_at"] is None
        assert shown["next_payment_attempt"] is None
    sent = render_invoice(invoice(collection="send_invoice"), [], livemode=False)
    assert sent["next_payment_attempt"] is None
    assert sent["automatically_finalizes_at"] == 1669856401


def test_an_item_as_versions_have_it() -> None:
    one = an_item(1, id="ii_1", price="price_1", quantity=Decimal("2.5"), subscription="sub_1")
    shown = render_invoice_item(one, livemode=False, version=NEWEST, prices=PRICES)
    assert shown == {
        "id": "ii_1",
        "object": "invoiceitem",
        "amount": 500,
        "currency": "usd",
        "customer": "cus_1",
        "customer_account": None,
        "date": 1669856400,
        "description": "Set up",
        "discountable": True,
        "discounts": [],
        "invoice": None,
        "livemode": False,
        "metadata": {},
        "net_amount": 500,
        "parent": {
            "subscription_details": {"subscription": "sub_1", "subscription_item": None},
            "type": "subscription_details",
        },
        "period": {"end": 1669856400, "start": 1669856400},
        "pricing": {
            "price_details": {"price": "price_1", "product": "prod_1"},
            "type": "price_details",
            "unit_amount_decimal": "500",
        },
        "proration": False,
        "proration_details": None,
        "quantity": 2,
        "quantity_decimal": "2.5",
        "tax_rates": [],
        "test_clock": None,
    }
    old = render_invoice_item(one, livemode=False, version=ACACIA, prices=PRICES)
    assert old["subscription"] == "sub_1"
    assert (old["unit_amount"], old["unit_amount_decimal"]) == (500, "500")
    assert old["price"]["id"] == "price_1"
    assert not old.keys() & {"net_amount", "parent", "pricing", "quantity_decimal"}
    split = an_item(1, subscription="sub_1", subscription_item="si_1")
    assert render_invoice_item(split, livemode=False, version=OLD)["subscription_item"] == "si_1"
    assert render_invoice_item(an_item(1), livemode=False)["parent"] is None
