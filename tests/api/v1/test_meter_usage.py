import itertools
from collections.abc import Iterator
from threading import current_thread, main_thread
from typing import Any, NamedTuple

import httpx
import pytest

from meterhouse import limits
from meterhouse.metering.meter_usage import UsageRow
from meterhouse.usage import selection
from tests.api.local import DAY, HOUR, NOW, LocalServer, local_server
from tests.api.samples import error_of
from tests.server import LIVE_KEY

PATH = "/v1/billing/analytics/meter_usage"
MIDNIGHT = NOW // DAY * DAY
FORMER, ROWS, PAGE = "2025-08-27.preview", "2026-09-30.preview", "2026-10-28.endive"
DIMENSIONS = {"dimension_payload_keys[0]": "model", "dimension_payload_keys[1]": "tier"}


_names = (f"calls {number}" for number in itertools.count())


class Used(NamedTuple):
    """A meter, and a customer to use it."""

    local: LocalServer
    name: str
    meter: str
    customer: str

    def use(self, value: str, at: int = NOW, **payload: str) -> str:
        """Send an event and return its identifier."""
        used = payload | {"stripe_customer_id": self.customer, "value": value}
        sent = self.local.create(
            "/v1/billing/meter_events",
            data={"event_name": self.name, "timestamp": str(at)}
            | {f"payload[{key}]": text for key, text in used.items()},
        )
        return str(sent["identifier"])

    def ask(self, **params: Any) -> httpx.Response:
        return ask(self.local, self.customer, **{"meters[0][meter]": self.meter} | params)


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    """Return a server for all the tests of this module."""
    with local_server(tmp_path_factory.mktemp("local")) as opened:
        yield opened


def fresh(local: LocalServer, customer: str = "", **data: str) -> Used:
    name = next(_names)
    return Used(local, name, local.meter(name, **data), customer or local.customer())


def ask(local: LocalServer, user: str, *, version: str = ROWS, **params: Any) -> httpx.Response:
    names = ("start_time", "end_time") if version == FORMER else ("starts_at", "ends_at")
    asked = {"customer": user, names[0]: MIDNIGHT - DAY, names[1]: MIDNIGHT + DAY} | params
    known = {name: value for name, value in asked.items() if value is not None}
    return local.request("GET", PATH, params=known, headers={"Stripe-Version": version})


def rows(answer: httpx.Response) -> list[dict[str, Any]]:
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["rows"]["data"]
    return found


@pytest.fixture(scope="module")
def used(local: LocalServer) -> Used:
    """Return a meter of which a customer used 3 yesterday and 12 today."""
    made = fresh(local, **DIMENSIONS)
    for value, at, model, tier, user in (
        ("1", NOW - DAY, "a", "x", "ada"),
        ("2", NOW - DAY, "b", "y", "bob"),
        ("4.5", NOW, "a", "y", "ada"),
        ("7.5", NOW - HOUR, "b", "x", "ada"),
    ):
        made.use(value, at, model=model, tier=tier, user=user)
    return made


def test_the_shape_since_the_preview_of_september_2025(used: Used) -> None:
    answer = used.ask()
    document = answer.json()
    (row,) = document["rows"]["data"]
    assert row.pop("id").startswith("mtrusgrow_test_61")
    assert row == {
        "object": "billing.analytics.meter_usage_row",
        "starts_at": MIDNIGHT - DAY,
        "ends_at": MIDNIGHT + DAY,
        "value": 15,
        "meter": used.meter,
        "dimensions": None,
    }
    assert document | {"rows": None} == {
        "object": "billing.analytics.meter_usage",
        "livemode": False,
        "refreshed_at": NOW,
        "rows": None,
    }
    assert document["rows"] | {"data": None} == {
        "object": "list",
        "url": PATH,
        "has_more": False,
        "total": 1,
        "data": None,
    }
    assert answer.headers["meterhouse-consistency"] == "strong"


def test_the_shape_of_the_first_previews(used: Used) -> None:
    asked = {"meters[0][meter_id]": used.meter, "meters[0][dimension_group_by_keys][]": "tier"}
    document = ask(used.local, used.customer, version=FORMER, **asked).json()
    first, _ = document.pop("data")
    assert first.pop("id").startswith("mtrusgrow_test_61")
    assert first == {
        "object": "billing.meter_usage_row",
        "bucket_start_time": MIDNIGHT - DAY,
        "bucket_end_time": MIDNIGHT + DAY,
        "bucket_value": 8.5,
        "meter_id": used.meter,
        "dimensions": {"tier": "x"},
    }
    assert document == {
        "object": "billing.meter_usage",
        "livemode": False,
        "data_refreshed_at": NOW,
    }


def test_the_shape_of_the_guide(used: Used) -> None:
    asked = {"meters[0][dimension_group_by_keys][0]": "model", "value_grouping_window": "day"}
    document = used.ask(version=PAGE, **asked).json()
    assert document["data_refreshed_at"] == NOW
    assert document["data"][-1] == {
        "starts_at": MIDNIGHT,
        "ends_at": MIDNIGHT + DAY,
        "value": 7.5,
        "meter": used.meter,
        "dimensions": {"model": "b"},
        "bucket_start_time": MIDNIGHT,
        "bucket_end_time": MIDNIGHT + DAY,
        "bucket_value": 7.5,
    }
    assert len(document["data"]) == 4


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ({}, [({}, 15)]),
        ({"dimension_group_by_keys][": "model"}, [({"model": "a"}, 5.5), ({"model": "b"}, 9.5)]),
        ({"dimension_filters][tier": "x"}, [({}, 8.5)]),
        ({"dimension_filters][tier][0": "x", "dimension_filters][model][": "a"}, [({}, 1)]),
        ({"dimension_filters][tier][0": "x", "dimension_filters][tier][1": "y"}, [({}, 15)]),
        ({"dimension_filters][tier": "z"}, [({}, 0)]),
        ({"tenant_filters][user": "ada"}, [({}, 13)]),
        (
            {"tenant_filters][user][": "bob", "dimension_group_by_keys][": "tier"},
            [({"tier": "y"}, 2)],
        ),
    ],
)
def test_filters_and_groups(used: Used, how: dict[str, str], expected: list[Any]) -> None:
    found = rows(used.ask(**{f"meters[0][{key}]": value for key, value in how.items()}))
    assert [(row["dimensions"] or {}, row["value"]) for row in found] == expected


def test_groups_of_tenants(used: Used) -> None:
    asked = {
        "meters[0][tenant_group_by_keys][]": "user",
        "meters[0][dimension_group_by_keys][]": "tier",
    }
    found = rows(used.ask(**asked))
    assert [(row["dimensions"], row["tenants"], row["value"]) for row in found] == [
        ({"tier": "x"}, {"user": "ada"}, 8.5),
        ({"tier": "y"}, {"user": "ada"}, 4.5),
        ({"tier": "y"}, {"user": "bob"}, 2),
    ]
    assert len({row["id"] for row in found}) == 3


def test_groups_of_different_keys_have_different_ids(local: LocalServer) -> None:
    used = fresh(local, **DIMENSIONS)
    used.use("1", model="same", tier="same")
    used.use("2", model="same", tier="other")
    asked = {
        "meters[0][dimension_group_by_keys][]": "model",
        "meters[1][meter]": used.meter,
        "meters[1][dimension_group_by_keys][]": "tier",
    }
    found = rows(used.ask(**asked))
    assert [row["value"] for row in found] == [3, 2, 1]
    assert len({row["id"] for row in found}) == 3


def test_windows_of_a_zone_are_cut_to_the_range(used: Used) -> None:
    """Kathmandu is 5:45 ahead."""
    found = rows(used.ask(value_grouping_window="day", timezone="Asia/Kathmandu"))
    there = MIDNIGHT - 5 * HOUR - 45 * 60
    assert [(row["starts_at"], row["ends_at"], row["value"]) for row in found] == [
        (MIDNIGHT - DAY, there, 3),
        (there, there + DAY, 12),
    ]


def test_an_event_counts_where_its_quarter_of_an_hour_begins(local: LocalServer) -> None:
    one = fresh(local)
    one.use("1", NOW - HOUR + 14 * 60)
    for start, value in ((NOW - HOUR + 60, 0), (NOW - HOUR, 1)):
        assert [row["value"] for row in rows(one.ask(starts_at=start, ends_at=NOW))] == [value]


def test_several_meters_and_all_together(local: LocalServer) -> None:
    one = fresh(local)
    one.use("3", NOW - DAY)
    one.use("12")
    other = fresh(local, one.customer, **{"default_aggregation[formula]": "last"})
    other.use("100")
    other.use("1000")
    each = rows(other.ask(**{"meters[1][meter]": one.meter}))
    assert [(row["meter"], row["value"]) for row in each] == [(other.meter, 1000), (one.meter, 15)]
    together = rows(ask(local, one.customer))
    assert [(row["meter"], row["value"]) for row in together] == [(None, 1015)]
    days = rows(ask(local, one.customer, value_grouping_window="day"))
    assert [row["value"] for row in days] == [3, 1012]


def test_a_cancelled_event_does_not_count(local: LocalServer) -> None:
    one = fresh(local)
    one.use("5")
    cancel = {"event_name": one.name, "type": "cancel", "cancel[identifier]": one.use("7")}
    local.create("/v1/billing/meter_event_adjustments", data=cancel)
    assert [row["value"] for row in rows(one.ask())] == [5]


@pytest.mark.parametrize(
    "how",
    [
        {"default_aggregation[formula]": formula, "event_time_window": window}
        for formula in ("count", "last", "sum")
        for window in ("", "hour", "day")
    ],
)
def test_it_agrees_with_event_summaries(local: LocalServer, how: dict[str, str]) -> None:
    one = fresh(local, **{name: text for name, text in how.items() if text})
    for number in range(6):
        one.use(f"0.{number + 1:015}", NOW - (number * 7 % 5) * 9 * HOUR)
    start, end = MIDNIGHT - 5 * DAY, MIDNIGHT + DAY
    for window in ("hour", "day", None):
        asked = {"value_grouping_window": window} if window else {}
        told = local.summaries(
            one.meter, one.customer, start_time=start, end_time=end, limit=100, **asked
        )
        found = rows(one.ask(starts_at=start, ends_at=end, **asked))
        assert [(row["starts_at"], row["value"]) for row in found] == [
            (row["start_time"], row["aggregated_value"]) for row in reversed(told.json()["data"])
        ]


def test_numbers_are_exact(local: LocalServer) -> None:
    one = fresh(local)
    one.use("999999999999999")
    one.use("0.000000000000001")
    assert '"value":999999999999999.000000000000001,' in one.ask().text


@pytest.mark.parametrize(
    ("change", "message", "param", "code"),
    [
        (
            {"starts_at": NOW, "ends_at": NOW - 60},
            "Param start_time should not be greater than end_time",
            None,
            "invalid_time_range",
        ),
        (
            {"starts_at": NOW + 1},
            "Invalid starts_at: must be aligned with minute boundaries in UTC.",
            "starts_at",
            None,
        ),
        (
            {"ends_at": NOW + 59},
            "Invalid ends_at: must be aligned with minute boundaries in UTC.",
            "ends_at",
            None,
        ),
        (
            {"timezone": "Mars/Olympus"},
            (
                "Invalid timezone: Mars/Olympus; must be the name of an IANA time zone, such as "
                "America/New_York"
            ),
            "timezone",
            None,
        ),
        (
            {"timezone": "../../etc/passwd"},
            (
                "Invalid timezone: ../../etc/passwd; must be the name of an IANA time zone, such "
                "as America/New_York"
            ),
            "timezone",
            None,
        ),
        (
            {"value_grouping_window": "year"},
            "Invalid value_grouping_window: must be one of day, hour, month, or week",
            "value_grouping_window",
            None,
        ),
        (
            {"value_grouping_window": "hour", "starts_at": 0},
            (
                "The answer would have more than 50000 rows. Ask for a shorter time range, a "
                "larger value_grouping_window, or fewer groups."
            ),
            None,
            None,
        ),
        ({"customer": "cus_no"}, "No such customer: 'cus_no'", "customer", "resource_missing"),
        (
            {"meters[0][meter]": "mtr_no"},
            "No such billing meter: 'mtr_no'",
            "meters[0][meter]",
            "resource_missing",
        ),
        (
            {"meters[0][meter]": None, "meters[0][dimension_filters][tier]": "x"},
            "Missing required param: meters[0][meter].",
            "meters[0][meter]",
            "parameter_missing",
        ),
        (
            {"start_time": NOW},
            "Received unknown parameter: start_time. Did you mean starts_at?",
            "start_time",
            "parameter_unknown",
        ),
        (
            {"customer": ""},
            (
                "You passed an empty string for 'customer'. We assume empty values are an attempt "
                "to unset a parameter; however 'customer' cannot be unset. You should remove "
                "'customer' from your request or supply a non-empty value."
            ),
            "customer",
            "parameter_invalid_empty",
        ),
        (
            {f"meters[0][dimension_group_by_keys][{n}]": k for n, k in enumerate("abc")},
            "Invalid meters[0][dimension_group_by_keys]: must have at most 2 items",
            "meters[0][dimension_group_by_keys]",
            None,
        ),
        (
            {f"meters[0][dimension_filters][k{n}]": "x" for n in range(11)},
            "Invalid meters[0][dimension_filters]: must have at most 10 items",
            "meters[0][dimension_filters]",
            None,
        ),
        (
            {f"meters[0][tenant_filters][k{n}]": "x" for n in range(4)},
            "Invalid meters[0][tenant_filters]: must have at most 3 items",
            "meters[0][tenant_filters]",
            None,
        ),
        (
            {f"meters[{n}][meter]": "mtr" for n in range(6)},
            "Invalid meters: must have at most 5 items",
            "meters",
            None,
        ),
    ],
)
def test_what_is_refused(
    used: Used, change: dict[str, Any], message: str, param: str | None, code: str | None
) -> None:
    error = error_of(used.ask(**change), 400)
    assert error["type"] == "invalid_request_error"
    assert (error["message"], error.get("param"), error.get("code")) == (message, param, code)


@pytest.mark.parametrize("what", ["dimension_group_by_keys][", "dimension_filters][region"])
@pytest.mark.parametrize(
    ("data", "has"), [(DIMENSIONS, "its dimensions are model, tier"), ({}, "it has none")]
)
def test_a_key_that_the_meter_does_not_declare(
    local: LocalServer, what: str, data: dict[str, str], has: str
) -> None:
    one = fresh(local, **data)
    error = error_of(one.ask(**{f"meters[0][{what}]": "region"}), 400)
    assert error["message"] == (
        f"'region' is not a dimension of the meter {one.meter}; {has}. Other keys of the payload "
        "can be used as tenants."
    )
    assert error["param"].startswith("meters[0][dimension_")


def test_too_many_groups(local: LocalServer, monkeypatch: pytest.MonkeyPatch) -> None:
    one = fresh(local)
    for number in range(3):
        one.use("1", user=f"u{number}")
    monkeypatch.setattr(limits, "METER_USAGE_ROWS_MAX", 2)
    error = error_of(one.ask(**{"meters[0][tenant_group_by_keys][]": "user"}), 400)
    assert "more than 2 rows" in error["message"]


@pytest.mark.parametrize(("days", "inline"), [(1, True), (10_000, False)])
def test_many_windows_do_not_keep_others_waiting(
    used: Used, monkeypatch: pytest.MonkeyPatch, days: int, *, inline: bool
) -> None:
    threads = []

    def noted(*args: Any) -> list[UsageRow]:
        threads.append(current_thread())
        return make(*args)

    make = selection.rows
    monkeypatch.setattr(selection, "rows", noted)
    start = MIDNIGHT - days * DAY
    assert used.ask(starts_at=start, value_grouping_window="day").status_code == 200
    assert (threads == [main_thread()]) is inline


def test_meters_of_others_are_not_there(local: LocalServer, used: Used) -> None:
    data = {"display_name": "L", "event_name": "l", "default_aggregation[formula]": "sum"}
    live = local.create("/v1/billing/meters", key=LIVE_KEY, data=data)["id"]
    error = error_of(used.ask(**{"meters[0][meter]": live}), 400)
    assert error["message"] == f"No such billing meter: '{live}'"


def test_an_empty_range_is_0(used: Used) -> None:
    assert [row["value"] for row in rows(used.ask(starts_at=NOW, ends_at=NOW))] == [0]
