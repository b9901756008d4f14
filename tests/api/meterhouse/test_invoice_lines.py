"""A line explains itself: its events, and a breakdown that adds up to it."""

from decimal import Decimal
from typing import Any

import pytest

from meterhouse.billing.period import Period
from meterhouse.invoicing.recount import names
from tests.api.local import DAY, HOUR, NOW, LocalServer
from tests.api.meterhouse.billed import GRADUATED, Billed, bill, price
from tests.api.meterhouse.samples import stream
from tests.api.samples import error_of
from tests.api.v2.samples import at, done, event

RANGE = Period((NOW - DAY) * 1_000, NOW * 1_000)
DIMENSIONS: dict[str, Any] = {"dimension_payload_keys[0]": "model"}


def used(local: LocalServer, customer: str, *rows: tuple[str, float, str], **more: Any) -> None:
    """Send events, each an identifier, how many seconds ago it happened, and a value."""
    made = [event(customer, value, identifier=id_, timestamp=at(-ago)) for id_, ago, value in rows]
    for one in made:
        one["payload"] |= more
    stream(local, *made)


def told(local: LocalServer, line: str, **params: Any) -> list[dict[str, Any]]:
    path = f"/meterhouse/v1/invoice_lines/{line}/events"
    page = done(local.request("GET", path, params=params))
    assert page["url"] == path
    found: list[dict[str, Any]] = page["data"]
    return found


def brief(events: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    names = ("identifier", "counts", "reason", "tier", "usage_before", "usage_after")
    return [tuple(one[name] for name in names) for one in events]


def broken_down(local: LocalServer, line: str, *keys: str) -> dict[str, Any]:
    path = f"/meterhouse/v1/invoice_lines/{line}/breakdown"
    answer: dict[str, Any] = done(local.request("GET", path, params={"group_by[]": list(keys)}))
    assert sum(row["amount"] for row in answer["data"]) == answer["amount"]
    quantity = sum(Decimal(row["quantity_decimal"]) for row in answer["data"])
    assert quantity == Decimal(answer["quantity_decimal"])
    assert sum(Decimal(row["usage"]) for row in answer["data"]) == Decimal(answer["usage"])
    return answer


def tiered(local: LocalServer, *, finalized: bool = True, **meter: Any) -> tuple[str, str, Billed]:
    """Bill 12.5 units under graduated tiers: 9 at midnight, 3.5 an hour ago."""
    id_ = local.meter(**meter)
    customer = local.customer()
    used(local, customer, ("a", 5 * HOUR, "9"), model="x")
    used(local, customer, ("b", HOUR, "3.5"), ("gone", HOUR + 1, "4"), model="y")
    used(local, customer, ("next", 0, "70"), ("before", DAY + 0.001, "70"), model="y")
    cancel(local, "gone")
    billed = bill(
        local, (customer, id_, price(local, id_, **GRADUATED)), RANGE, finalized=finalized
    )
    return id_, customer, billed


def cancel(local: LocalServer, identifier: str) -> None:
    local.create(
        "/v1/billing/meter_event_adjustments",
        data={"event_name": "calls", "type": "cancel", "cancel[identifier]": identifier},
    )
    assert local.run(local.meterhouse.services.progress.settle(30))


def test_the_events_of_a_line_and_the_tiers_that_they_fall_into(local: LocalServer) -> None:
    _, _, billed = tiered(local)
    for line in billed.lines:
        assert brief(told(local, line)) == [
            ("b", True, None, 2, "9", "12.5"),
            ("gone", False, "cancelled", None, None, None),
            ("a", True, None, 1, "0", "9"),
        ]


def test_what_came_after_a_line_was_counted_is_late(local: LocalServer) -> None:
    """Given an event that comes and one that is cancelled after finalization, nothing moves."""
    _, customer, billed = tiered(local)
    local.clock.advance(HOUR * 1_000)
    used(local, customer, ("late", 2 * HOUR, "100"))
    cancel(local, "a")
    assert brief(told(local, billed.lines[0])) == [
        ("b", True, None, 2, "9", "12.5"),
        ("gone", False, "cancelled", None, None, None),
        ("late", False, "late", None, None, None),
        ("a", True, None, 1, "0", "9"),
    ]
    assert [one["cancelled"] for one in told(local, billed.lines[0])] == [False, True, False, True]


def test_a_draft_is_told_as_it_is_now(local: LocalServer) -> None:
    _, customer, billed = tiered(local, finalized=False, **DIMENSIONS)
    local.clock.advance(HOUR * 1_000)
    used(local, customer, ("late", 2 * HOUR, "0.5"), model="x")
    assert [one[0] for one in brief(told(local, billed.lines[0]))] == ["b", "gone", "late", "a"]
    answer = broken_down(local, billed.lines[2], "model")
    assert (answer["usage"], answer["quantity_decimal"], answer["amount"]) == ("13", "3", 11)


def test_a_line_that_a_draft_did_not_have_is_found_with_its_invoice(local: LocalServer) -> None:
    """Given a tier that is reached after a draft was made, then its line is one as any."""
    meter, customer = local.meter(**DIMENSIONS), local.customer()
    under = price(local, meter, **GRADUATED)
    billed = bill(local, (customer, meter, under), RANGE, finalized=False)
    used(local, customer, ("a", HOUR, "12"), model="x")
    line = names(billed.invoice.id)("segment 0 tier 2 flat False")
    assert line not in billed.lines
    found = told(local, line, invoice=billed.invoice.id)
    assert brief(found) == [("a", True, None, 2, "0", "12")]
    path = f"/meterhouse/v1/invoice_lines/{line}/breakdown"
    params = {"group_by[]": "model", "invoice": billed.invoice.id}
    assert done(local.request("GET", path, params=params))["amount"] == 7
    assert error_of(local.request("GET", path, params={"group_by[]": "model"}), 404)


def test_pages_of_events(local: LocalServer) -> None:
    _, _, billed = tiered(local)
    line = billed.lines[0]
    ids = [one["id"] for one in told(local, line)]
    assert [one["id"] for one in told(local, line, limit=2)] == ids[:2]
    [last] = told(local, line, limit=2, starting_after=ids[1])
    assert brief([last]) == [("a", True, None, 1, "0", "9")]
    assert [one["id"] for one in told(local, line, limit=1, ending_before=ids[2])] == ids[1:2]
    path = f"/meterhouse/v1/invoice_lines/{line}/events"
    error = error_of(local.request("GET", path, params={"starting_after": "mev_unknown"}), 400)
    assert error["param"] == "starting_after"


@pytest.mark.parametrize(
    ("meter", "expected"),
    [
        (
            {"default_aggregation[formula]": "last"},
            [("b", True), ("a", False)],
        ),
        ({"event_time_window": "day"}, [("b", True), ("a", False)]),
        ({"default_aggregation[formula]": "count"}, [("b", True), ("a", True)]),
    ],
)
def test_which_events_count(
    local: LocalServer, meter: dict[str, str], expected: list[tuple[str, bool]]
) -> None:
    """Of one day, in which the event that was received last happened last."""
    id_, customer = local.meter(**meter), local.customer()
    used(local, customer, ("a", 2 * HOUR, "5"), ("b", HOUR, "7"))
    billed = bill(local, (customer, id_, price(local, id_, unit_amount="2")), RANGE)
    found = told(local, billed.lines[0])
    assert [(one["identifier"], one["counts"]) for one in found] == expected
    assert {one["reason"] for one in found if not one["counts"]} <= {"superseded"}


def test_a_breakdown_adds_up_to_its_line(local: LocalServer) -> None:
    """Given tiers, then each is shared out by what each model used of the whole."""
    _, _, billed = tiered(local, **DIMENSIONS)
    free, flat, rest = (broken_down(local, line, "model") for line in billed.lines)
    rows = {row["dimensions"]["model"]: row for row in flat["data"]}
    assert {name: row["usage"] for name, row in rows.items()} == {"x": "9", "y": "3.5"}
    assert {name: row["amount"] for name, row in rows.items()} == {"x": 648, "y": 252}
    assert [row["quantity_decimal"] for row in free["data"]] == ["7.2", "2.8"]
    assert [row["quantity_decimal"] for row in rest["data"]] == ["1.8", "0.7"]
    assert [row["amount"] for row in rest["data"]] == [6, 3]
    assert rest["amount"] == 9


def test_a_breakdown_is_of_what_was_known(local: LocalServer) -> None:
    """Given the same usage under another model after finalization, then the line is as it was."""
    _, customer, billed = tiered(local, **DIMENSIONS)
    local.clock.advance(HOUR * 1_000)
    cancel(local, "a")
    used(local, customer, ("again", 5 * HOUR, "9"), model="z")
    answer = broken_down(local, billed.lines[1], "model")
    assert [row["dimensions"]["model"] for row in answer["data"]] == ["x", "y"]


@pytest.mark.parametrize(
    ("meter", "groups"),
    [
        ({"default_aggregation[formula]": "last"}, {"y": "7"}),
        ({"event_time_window": "day"}, {"y": "7"}),
        ({"default_aggregation[formula]": "count"}, {"x": "1", "y": "1"}),
    ],
)
def test_a_breakdown_of_meters_of_other_kinds(
    local: LocalServer, meter: dict[str, str], groups: dict[str, str]
) -> None:
    id_, customer = local.meter(**meter, **DIMENSIONS), local.customer()
    used(local, customer, ("a", 2 * HOUR, "5"), model="x")
    used(local, customer, ("b", HOUR, "7"), model="y")
    billed = bill(local, (customer, id_, price(local, id_, unit_amount="2")), RANGE)
    answer = broken_down(local, billed.lines[0], "model")
    assert {row["dimensions"]["model"]: row["usage"] for row in answer["data"]} == groups


@pytest.mark.parametrize("values", [[], ["-5"], ["5", "-5"]])
def test_where_nothing_was_used_nobody_has_a_share(local: LocalServer, values: list[str]) -> None:
    id_, customer = local.meter(**DIMENSIONS), local.customer()
    for number, value in enumerate(values):
        used(local, customer, (str(number), HOUR, value), model=str(number))
    billed = bill(local, (customer, id_, price(local, id_, **GRADUATED)), RANGE)
    [row] = done(
        local.request(
            "GET",
            f"/meterhouse/v1/invoice_lines/{billed.lines[1]}/breakdown",
            params={"group_by[]": "model"},
        )
    )["data"]
    assert (row["dimensions"], row["amount"], row["quantity_decimal"]) == (None, 900, "0")


def test_what_is_refused(local: LocalServer) -> None:
    meter, _, billed = tiered(local, **DIMENSIONS)
    for what in ("events", "breakdown?group_by[]=model"):
        error = error_of(local.request("GET", f"/meterhouse/v1/invoice_lines/il_1/{what}"), 404)
        assert error["message"] == "No such invoice line item: 'il_1'"
    path = f"/meterhouse/v1/invoice_lines/{billed.lines[0]}/breakdown"
    error = error_of(local.request("GET", path, params={"group_by[]": "user"}), 400)
    assert meter in error["message"]
    assert error_of(local.request("GET", path), 400)["param"] == "group_by"
