from typing import Any

import httpx
import pytest
import stripe

from meterhouse import limits
from tests.api.local import DAY, HOUR, NOW, LocalServer
from tests.api.samples import error_of, make_customer, make_meter, send
from tests.server import LIVE_KEY

MIDNIGHT = NOW // DAY * DAY


def use(local: LocalServer, customer: str, timestamp: int, value: str) -> None:
    local.create(
        "/v1/billing/meter_events",
        data={
            "event_name": "calls",
            "timestamp": str(timestamp),
            "payload[value]": value,
            "payload[stripe_customer_id]": customer,
        },
    )


def points(answer: httpx.Response) -> list[tuple[int, int, Any]]:
    """Return start, end and value of each summary, the times in hours before or after midnight."""
    return [
        (
            (row["start_time"] - MIDNIGHT) // HOUR,
            (row["end_time"] - MIDNIGHT) // HOUR,
            row["aggregated_value"],
        )
        for row in answer.json()["data"]
    ]


def test_the_summary_of_a_range(local: LocalServer) -> None:
    meter, customer = local.meter(), local.customer()
    use(local, customer, NOW - 60, "1.5")
    use(local, customer, NOW, "2")
    answer = local.summaries(meter, customer, start_time=NOW - 60, end_time=NOW)
    document = answer.json()
    (row,) = document["data"]
    assert row.pop("id").startswith("mtrusg_test_61")
    assert row == {
        "object": "billing.meter_event_summary",
        "aggregated_value": 1.5,
        "end_time": NOW,
        "livemode": False,
        "meter": meter,
        "start_time": NOW - 60,
    }
    assert document["object"] == "list"
    assert document["url"] == f"/v1/billing/meters/{meter}/event_summaries"
    assert document["has_more"] is False


def test_nothing_is_one_summary_of_0_and_no_window(local: LocalServer) -> None:
    meter, customer = local.meter(), local.customer()
    assert [value for _, _, value in points(local.summaries(meter, customer))] == [0]
    assert local.summaries(meter, customer, value_grouping_window="hour").json()["data"] == []


def test_windows_that_have_use_the_newest_first(local: LocalServer) -> None:
    meter, customer = local.meter(), local.customer()
    for hours, value in ((-48, "1"), (-47, "2"), (1, "4"), (2, "8")):
        use(local, customer, MIDNIGHT + hours * HOUR, value)
    by_hour = local.summaries(meter, customer, value_grouping_window="hour")
    assert points(by_hour) == [(2, 3, 8), (1, 2, 4), (-47, -46, 2), (-48, -47, 1)]
    by_day = local.summaries(meter, customer, value_grouping_window="day")
    assert points(by_day) == [(0, 24, 12), (-48, -24, 3)]


@pytest.mark.parametrize("size", ["hour", "day"])
def test_a_meter_with_an_event_time_window(local: LocalServer, size: str) -> None:
    """Of each window the event counts that was received last, whatever its timestamp."""
    meter, customer = local.meter(event_time_window=size), local.customer()
    use(local, customer, NOW - 60, "1")
    use(local, customer, NOW - 120, "2")
    use(local, customer, NOW - DAY, "4")
    assert [value for *_, value in points(local.summaries(meter, customer))] == [6]
    part = local.summaries(meter, customer, start_time=NOW - 60, end_time=NOW)
    assert [value for *_, value in points(part)] == [0]


@pytest.mark.parametrize(
    ("change", "message", "param"),
    [
        (
            {"start_time": NOW + 1},
            "Invalid start_time: must be aligned with minute boundaries in UTC.",
            "start_time",
        ),
        (
            {"end_time": NOW + 59},
            "Invalid end_time: must be aligned with minute boundaries in UTC.",
            "end_time",
        ),
        (
            {"value_grouping_window": "hour", "start_time": NOW - 60},
            "Invalid start_time: must be aligned with hour boundaries in UTC.",
            "start_time",
        ),
        (
            {"value_grouping_window": "day", "start_time": MIDNIGHT, "end_time": NOW},
            "Invalid end_time: must be aligned with day boundaries in UTC.",
            "end_time",
        ),
        ({"start_time": NOW, "end_time": NOW}, "Invalid end_time: must be after start_time.", None),
        (
            {"start_time": NOW, "end_time": NOW - 60},
            "Invalid end_time: must be after start_time.",
            None,
        ),
        (
            {"value_grouping_window": "week"},
            "Invalid value_grouping_window: must be one of day or hour",
            "value_grouping_window",
        ),
        ({"customer": "cus_no"}, "No such customer: 'cus_no'", "customer"),
        ({"customer": None}, "Missing required param: customer.", "customer"),
        ({"start_time": None}, "Missing required param: start_time.", "start_time"),
        ({"end_time": None}, "Missing required param: end_time.", "end_time"),
        ({"start_time": "now"}, "Invalid integer: now", "start_time"),
        (
            {"starting_after": "mtrusg_no"},
            "No such billing meter event summary: 'mtrusg_no'",
            "starting_after",
        ),
        ({"expand[]": "data.meter"}, "This property cannot be expanded (data.meter).", None),
    ],
)
def test_what_is_refused(
    local: LocalServer, change: dict[str, Any], message: str, param: str | None
) -> None:
    meter = local.meter()
    good = {"customer": local.customer(), "start_time": NOW - 60, "end_time": NOW}
    params = {name: value for name, value in {**good, **change}.items() if value is not None}
    answer = local.request("GET", f"/v1/billing/meters/{meter}/event_summaries", params=params)
    error = error_of(answer, 400)
    assert error["message"] == message
    assert param is None or error["param"] == param


def test_pages_both_ways(client: stripe.StripeClient) -> None:
    meter, customer = make_meter(client), make_customer(client)
    today = client.v1.customers.retrieve(customer).created // DAY * DAY
    for day in range(7):
        send(client, customer, str(day), timestamp=today - day * DAY)

    def page(**extra: Any) -> Any:
        params: Any = {
            "customer": customer,
            "start_time": today - 7 * DAY,
            "end_time": today + DAY,
            "value_grouping_window": "day",
            "limit": 3,
        }
        return client.v1.billing.meters.event_summaries.list(meter, params | extra)

    def values(rows: Any) -> list[float]:
        return [row.aggregated_value for row in rows]

    first = page()
    assert (values(first.data), first.has_more) == ([0, 1, 2], True)
    assert values(first.auto_paging_iter()) == [0, 1, 2, 3, 4, 5, 6]
    last = page(starting_after=page(limit=6).data[-1].id)
    assert (values(last.data), last.has_more) == ([6], False)
    before = page(ending_before=last.data[0].id)
    assert (values(before.data), before.has_more) == ([3, 4, 5], True)
    assert values(before.auto_paging_iter()) == [5, 4, 3, 2, 1, 0]
    first_again = page(ending_before=first.data[2].id)
    assert (values(first_again.data), first_again.has_more) == ([0, 1], False)


def test_customers_that_are_deleted_stay_readable(client: stripe.StripeClient) -> None:
    meter, customer = make_meter(client), make_customer(client)
    send(client, customer, "25")
    client.v1.customers.delete(customer)
    today = int(client.v1.billing.meters.retrieve(meter).created) // DAY * DAY
    found = client.v1.billing.meters.event_summaries.list(
        meter, {"customer": customer, "start_time": today, "end_time": today + 2 * DAY}
    )
    assert [row.aggregated_value for row in found.data] == [25]


def test_a_read_of_its_own_writes(local: LocalServer) -> None:
    """Test mode reads its writes unless told otherwise; live mode only when asked to."""

    def consistency(**details: Any) -> str:
        answer = local.request(
            "GET",
            f"/v1/billing/meters/{details.pop('meter')}/event_summaries",
            params={"customer": details.pop("customer"), "start_time": 0, "end_time": NOW},
            **details,
        )
        assert answer.status_code == 200
        return answer.headers["meterhouse-consistency"]

    test = {"meter": local.meter(), "customer": local.customer()}
    live: dict[str, Any] = {
        "meter": local.create(
            "/v1/billing/meters",
            key=LIVE_KEY,
            data={"display_name": "L", "event_name": "l", "default_aggregation[formula]": "sum"},
        )["id"],
        "customer": local.create("/v1/customers", key=LIVE_KEY)["id"],
        "key": LIVE_KEY,
    }
    assert consistency(**test) == "strong"
    assert consistency(**test, headers={"Meterhouse-Consistency": "eventual"}) == "eventual"
    assert consistency(**live) == "eventual"
    assert consistency(**live, headers={"Meterhouse-Consistency": "strong"}) == "strong"


def test_a_read_that_has_to_wait_too_long_says_so(
    local: LocalServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "CONSISTENCY_WAIT_SECONDS_MAX", 0.01)
    meter, customer = local.meter(), local.customer()

    async def while_nothing_is_processed() -> httpx.Response:
        async with local.meterhouse._processor.still():
            await local.ask(
                "POST",
                "/v1/billing/meter_events",
                data={
                    "event_name": "calls",
                    "payload[value]": "1",
                    "payload[stripe_customer_id]": customer,
                },
            )
            return await local.ask(
                "GET",
                f"/v1/billing/meters/{meter}/event_summaries",
                params={"customer": customer, "start_time": 0, "end_time": NOW + 60},
            )

    late = local.run(while_nothing_is_processed())
    assert late.headers["meterhouse-consistency"] == "eventual"
    assert [value for *_, value in points(late)] == [0]
    monkeypatch.undo()
    assert [value for *_, value in points(local.summaries(meter, customer))] == [1]
