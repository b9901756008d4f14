from typing import Any

import pytest

from meterhouse.ledger import rejections
from meterhouse.metering.report import RejectionLine, Sample
from tests.api.local import LocalServer
from tests.api.v2.samples import HERE, STREAM, at, done, event, post, refused, token
from tests.server import LIVE_KEY, TEST_KEY

PATH = "/v2/core/events"
REPORT_TYPE = "v1.billing.meter.error_report_triggered"


def get(local: LocalServer, path: str = PATH, key: str = TEST_KEY, **params: Any) -> Any:
    return local.request("GET", path, key=key, params=params or None, headers=HERE)


def types(local: LocalServer, **params: Any) -> list[str]:
    return [one["type"] for one in done(get(local, **params))["data"]]


def report(local: LocalServer, meter: str = "", events: int = 1) -> None:
    """Let a window have rejected events, and let it be reported."""
    window = local.clock.now() // 10_000 * 10_000
    line = RejectionLine(1, meter, window, "no_meter", events, [Sample("a", "It is wrong.")])
    local.run(local.meterhouse.services.stores.write(rejections.add, [line]))
    local.clock.advance(12_000)
    local.run(local.job("report").report())


def test_every_snapshot_event_has_a_thin_twin(local: LocalServer) -> None:
    meter = local.meter()
    local.create(f"/v1/billing/meters/{meter}", data={"display_name": "All calls"})
    local.create(f"/v1/billing/meters/{meter}/deactivate")
    local.create(f"/v1/billing/meters/{meter}/reactivate")
    customer = local.customer()
    local.create(f"/v1/customers/{customer}", data={"name": "Ada"})
    local.request("DELETE", f"/v1/customers/{customer}")
    snapshots = local.request("GET", "/v1/events").json()["data"]
    twins = done(get(local))["data"]
    assert len(twins) == 7
    for snapshot, twin in zip(snapshots, twins, strict=True):
        shown = snapshot["data"]["object"]
        is_meter = shown["object"] == "billing.meter"
        path = "/v1/billing/meters/" if is_meter else "/v1/customers/"
        assert twin == {
            "id": twin["id"],
            "object": "v2.core.event",
            "changes": None,
            "context": None,
            "created": at(0),
            "livemode": False,
            "reason": {"type": "request", "request": snapshot["request"]},
            "related_object": {
                "id": shown["id"],
                "type": shown["object"],
                "url": path + shown["id"],
            },
            "snapshot_event": snapshot["id"],
            "type": f"v1.{snapshot['type']}",
        }
        assert done(get(local, f"{PATH}/{twin['id']}")) == twin


def test_an_error_report(local: LocalServer) -> None:
    meter = local.meter()
    report(local, meter, events=3)
    found = done(get(local))["data"][0]
    assert found == {
        "id": found["id"],
        "object": "v2.core.event",
        "changes": None,
        "context": None,
        "created": at(12),
        "data": {
            "developer_message_summary": "There are 3 invalid events",
            "reason": {
                "error_count": 3,
                "error_types": [
                    {
                        "code": "no_meter",
                        "error_count": 3,
                        "sample_errors": [
                            {"error_message": "It is wrong.", "request": {"identifier": "a"}}
                        ],
                    }
                ],
            },
            "validation_start": at(0),
            "validation_end": at(10),
        },
        "livemode": False,
        "reason": None,
        "related_object": {
            "id": meter,
            "type": "billing.meter",
            "url": f"/v1/billing/meters/{meter}",
        },
        "snapshot_event": None,
        "type": REPORT_TYPE,
    }


def test_events_of_a_stream_come_back_as_reports(local: LocalServer) -> None:
    """Given a stream with good and bad events, the reports tell of all bad ones, and no other."""
    meter, customer = local.meter(), local.customer()
    wrong = [
        event(customer, identifier="good"),
        event("cus_none", identifier="bad-1"),
        event("cus_none", identifier="bad-2"),
        event(customer, "x", identifier="bad-3"),
        event(customer, identifier="bad-4") | {"event_name": "cals"},
    ]
    done(post(local, STREAM, {"events": wrong}, key=token(local)))
    local.clock.advance(12_000)
    local.run(local.job("report").report())
    unmatched, reported = (
        done(get(local, types=type_))["data"]
        for type_ in ("v1.billing.meter.no_meter_found", REPORT_TYPE)
    )
    (told,) = reported
    assert told["related_object"]["id"] == meter
    assert told["data"]["reason"] == {
        "error_count": 3,
        "error_types": [
            {
                "code": "meter_event_customer_not_found",
                "error_count": 2,
                "sample_errors": [
                    {
                        "error_message": "No customer was found matching cus_none.",
                        "request": {"identifier": f"bad-{number}"},
                    }
                    for number in (1, 2)
                ],
            },
            {
                "code": "meter_event_invalid_value",
                "error_count": 1,
                "sample_errors": [
                    {
                        "error_message": "The value in the event payload must be a decimal number. "
                        "Received x.",
                        "request": {"identifier": "bad-3"},
                    }
                ],
            },
        ],
    }
    (told,) = unmatched
    assert "related_object" not in told
    (sort,) = told["data"]["reason"]["error_types"]
    assert (sort["code"], sort["error_count"]) == ("no_meter", 1)
    (sample,) = sort["sample_errors"]
    assert sample["error_message"] == "No meter was found matching event_name cals."


@pytest.mark.parametrize(
    ("params", "found"),
    [
        ({"types": "v1.customer.created"}, ["v1.customer.created"]),
        (
            {"types[0]": "v1.customer.created", "types[1]": REPORT_TYPE},
            [REPORT_TYPE, "v1.customer.created"],
        ),
        ({"types": "customer.created"}, []),
        ({"object_id": "mtr_none"}, []),
        ({"created[lt]": at(5)}, ["v1.customer.created", "v1.billing.meter.created"]),
        ({"created[gt]": at(5)}, [REPORT_TYPE]),
        ({"limit": 1}, [REPORT_TYPE]),
    ],
)
def test_the_list_is_filtered(local: LocalServer, params: dict[str, Any], found: list[str]) -> None:
    meter = local.meter()
    local.customer()
    report(local, meter)
    assert types(local, **params) == found
    assert types(local, object_id=meter) == [REPORT_TYPE, "v1.billing.meter.created"]


def test_pages_are_walked_by_their_urls(local: LocalServer) -> None:
    for _ in range(5):
        local.customer()
    everything = done(get(local))["data"]
    walked, url, ways_back = [], f"{PATH}?limit=2&types[]=v1.customer.created", []
    while url is not None:
        page = done(local.request("GET", url, headers=HERE))
        walked += page["data"]
        ways_back.append(page["previous_page_url"])
        url = page["next_page_url"]
    assert walked == everything
    assert ways_back[0] is None
    before = done(local.request("GET", ways_back[2], headers=HERE))
    assert before["data"] == everything[2:4]
    assert (
        done(local.request("GET", before["previous_page_url"], headers=HERE))["data"]
        == (everything[:2])
    )


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"page": "x"}, "page must be a token from the URL of another page."),
        ({"page": "YWZ0ZXI6ZXZ0X3g="}, "page must be a token from the URL of another page."),
        ({"created[gte]": "soon"}, "created[gte] must be an RFC 3339 timestamp"),
        ({"limit": "0"}, "limit: Invalid integer: this value must be greater than or equal to 1."),
        ({"created": "soon"}, "created: Invalid object"),
        ({"page": ""}, "You passed an empty string for 'page'."),
        ({"type": "a"}, "Received unknown parameter: type"),
    ],
)
def test_lists_that_are_refused(local: LocalServer, params: dict[str, Any], message: str) -> None:
    error = refused(get(local, **params), 400)
    assert message in error["message"]
    assert error["code"] == "invalid_fields"


def test_an_event_that_is_not_there(local: LocalServer) -> None:
    local.customer()
    (snapshot,) = local.request("GET", "/v1/events").json()["data"]
    (twin,) = done(get(local))["data"]
    assert refused(get(local, f"{PATH}/evt_x"), 404)["code"] == "not_found"
    assert refused(get(local, f"{PATH}/{snapshot['id']}"), 404)["code"] == "not_found"
    assert refused(get(local, f"{PATH}/{twin['id']}", LIVE_KEY), 404)["code"] == "not_found"
    assert local.request("GET", f"/v1/events/{twin['id']}").status_code == 404
