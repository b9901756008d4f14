"""Changes of invoices that are counted anew, because something changes at the same time."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from meterhouse import limits
from meterhouse.api import invoice as common
from meterhouse.api.v1 import invoices as v1_invoices
from meterhouse.ledger import invoice_items, invoices
from meterhouse.ledger.invoice_segments import put_segments
from tests.api.local import LocalServer
from tests.api.samples import error_of
from tests.invoicing.samples import a_segment, scope_of_tests


@pytest.fixture
def draft(local: LocalServer) -> dict[str, Any]:
    customer = local.customer()
    return local.create("/v1/invoices", data={"customer": customer})


def meanwhile(
    monkeypatch: pytest.MonkeyPatch, room: Any, name: str, change: Callable[[int], Any]
) -> list[int]:
    """Let something change each time that a room has counted; return how often that was."""
    counted, times = getattr(room, name), [0]

    async def slowly(*args: Any) -> Any:
        found = await counted(*args)
        times[0] += 1
        await change(times[0])
        return found

    monkeypatch.setattr(room, name, slowly)
    return times


def footer(local: LocalServer, invoice: str, until: int) -> Callable[[int], Any]:
    """Return what writes onto an invoice the first times."""
    stores, scope = local.meterhouse.services.stores, scope_of_tests(local.meterhouse.ledger).id

    def write(connection: Any, text: str) -> None:
        found = invoices.find_invoice(connection, scope, invoice, lock=True)
        assert found is not None
        invoices.update_invoice(connection, msgspec.structs.replace(found, footer=text))

    async def change(time: int) -> None:
        if time <= until:
            await stores.write(write, f"written {time}")

    return change


def test_an_invoice_that_changes_meanwhile_is_counted_again(
    local: LocalServer, draft: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    times = meanwhile(monkeypatch, common, "recounted", footer(local, draft["id"], 2))
    final = local.create(f"/v1/invoices/{draft['id']}/finalize")
    assert (final["status"], final["footer"], times) == ("paid", "written 2", [3])


def test_an_invoice_that_never_rests_is_busy(
    local: LocalServer, draft: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    times = meanwhile(monkeypatch, common, "recounted", footer(local, draft["id"], 100))
    answer = local.request("POST", f"/v1/invoices/{draft['id']}/finalize")
    assert error_of(answer, 429)["code"] == "lock_timeout"
    assert times == [limits.INVOICE_COUNT_ATTEMPTS]
    monkeypatch.undo()
    shown = local.request("GET", f"/v1/invoices/{draft['id']}").json()
    assert (shown["status"], shown["number"]) == ("draft", None)


def test_what_waits_and_changes_meanwhile_is_counted_again(
    local: LocalServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    customer = local.customer()
    data = {"customer": customer, "amount": "5", "currency": "usd"}
    item = local.create("/v1/invoiceitems", data=data)["id"]
    stores, scope = local.meterhouse.services.stores, scope_of_tests(local.meterhouse.ledger).id

    def write(connection: Any) -> None:
        found = invoice_items.find_item(connection, scope, item)
        assert found is not None
        invoice_items.update_item(connection, msgspec.structs.replace(found, amount=6))

    async def change(time: int) -> None:
        if time == 1:
            await stores.write(write)

    times = meanwhile(monkeypatch, v1_invoices, "made_now", change)
    data = {"customer": customer, "pending_invoice_items_behavior": "include"}
    made = local.create("/v1/invoices", data=data)
    assert (made["total"], [line["amount"] for line in made["lines"]["data"]]) == (6, [6])
    assert times == [2]


def test_usage_is_not_finalized_before_all_that_was_acknowledged_is_counted(
    local: LocalServer, draft: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given processing that is behind, then only what bills no usage is finalized."""
    metered = local.create("/v1/invoices", data={"customer": draft["customer"]})
    price = {
        "currency": "usd",
        "unit_amount": "4",
        "product_data[name]": "Calls",
        "recurring[interval]": "month",
        "recurring[usage_type]": "metered",
        "recurring[meter]": local.meter(),
    }
    made = local.create("/v1/prices", data=price)
    segment = a_segment(meter=made["recurring"]["meter"], price=made["id"])
    scope = scope_of_tests(local.meterhouse.ledger).id
    with local.meterhouse.ledger.write() as connection:
        put_segments(connection, scope, metered["id"], [segment])

    async def behind(_: float) -> bool:
        return False

    monkeypatch.setattr(local.meterhouse.services.progress, "settle", behind)
    path = f"/v1/invoices/{metered['id']}"
    for action in ("finalize", "pay", "send"):
        answer = local.request("POST", f"{path}/{action}")
        assert error_of(answer, 429)["code"] == "lock_timeout"
    assert local.request("GET", path).json()["status"] == "draft"
    assert local.create(path, data={"footer": "Bye"})["footer"] == "Bye"
    assert local.create(f"/v1/invoices/{draft['id']}/finalize")["status"] == "paid"
