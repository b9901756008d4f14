from typing import Any

import httpx
import pytest
import stripe

from tests.api.samples import connect, error_of, make_customer, make_meter
from tests.server import Server

FORMER = "2024-06-20"
PATH = "/v1/billing/alerts"


def asked(meter: str, gte: str = "100", **extra: str) -> dict[str, str]:
    """Return the parameters of an alert; those of `extra` that are empty are left out."""
    params = {
        "alert_type": "usage_threshold",
        "title": "100 calls",
        "usage_threshold[gte]": gte,
        "usage_threshold[meter]": meter,
        "usage_threshold[recurrence]": "one_time",
    } | extra
    return {name: value for name, value in params.items() if value}


def test_an_alert_about_everybody(client: stripe.StripeClient) -> None:
    meter = make_meter(client)
    made = client.v1.billing.alerts.create(
        {
            "alert_type": "usage_threshold",
            "title": "100 calls",
            "usage_threshold": {"gte": 100, "meter": meter, "recurrence": "one_time"},
        }
    )
    document = made.to_dict()
    assert document.pop("id").startswith("alrt_test_61")
    assert document == {
        "object": "billing.alert",
        "alert_type": "usage_threshold",
        "livemode": False,
        "status": "active",
        "title": "100 calls",
        "usage_threshold": {
            "filters": None,
            "gte": 100,
            "meter": meter,
            "recurrence": "one_time",
        },
    }
    assert client.v1.billing.alerts.retrieve(made.id).to_dict() == made.to_dict()


def test_an_alert_about_one_customer(client: stripe.StripeClient, http: httpx.Client) -> None:
    meter, customer = make_meter(client), make_customer(client)
    filters = {
        "usage_threshold[filters][0][type]": "customer",
        "usage_threshold[filters][0][customer]": customer,
    }
    made = http.post(PATH, data=asked(meter, **filters)).json()
    assert made["usage_threshold"]["filters"] == [{"customer": customer, "type": "customer"}]


def test_the_shape_of_former_versions(server: Server, account: str) -> None:
    client = connect(server, account=account, version=FORMER)
    meter, customer = make_meter(client), make_customer(client)
    params: Any = {
        "alert_type": "usage_threshold",
        "title": "100 calls",
        "filter": {"customer": customer},
        "usage_threshold_config": {"gte": 100, "meter": meter, "recurrence": "one_time"},
        "expand": ["usage_threshold_config.meter"],
    }
    made = client.v1.billing.alerts.create(params).to_dict()
    expanded = made["usage_threshold_config"].pop("meter")
    assert expanded["object"] == "billing.meter"
    assert expanded["id"] == meter
    assert made.pop("id")
    assert made == {
        "object": "billing.alert",
        "alert_type": "usage_threshold",
        "filter": {"customer": customer},
        "livemode": False,
        "status": "active",
        "title": "100 calls",
        "usage_threshold_config": {"gte": 100, "recurrence": "one_time"},
    }


def test_the_meter_can_be_expanded(client: stripe.StripeClient, http: httpx.Client) -> None:
    meter = make_meter(client)
    expand = {"expand[]": "usage_threshold.meter"}
    made = http.post(PATH, data=asked(meter) | expand).json()
    assert made["usage_threshold"]["meter"]["event_name"] == "calls"
    one = http.get(f"{PATH}/{made['id']}", params=expand).json()
    assert one == made
    listed = http.get(PATH, params={"expand[]": "data.usage_threshold.meter"}).json()
    assert listed["data"] == [made]
    error = error_of(http.get(PATH, params=expand), 400)
    assert error["message"] == "This property cannot be expanded (usage_threshold.meter)."


@pytest.mark.parametrize(
    ("change", "message", "param"),
    [
        ({"title": ""}, "Missing required param: title.", "title"),
        ({"alert_type": ""}, "Missing required param: alert_type.", "alert_type"),
        (
            {"alert_type": "credit_balance_threshold"},
            "Invalid alert_type: must be one of usage_threshold",
            "alert_type",
        ),
        (
            {"usage_threshold[gte]": "0"},
            "Invalid integer: this value must be greater than or equal to 1.",
            "usage_threshold[gte]",
        ),
        ({"usage_threshold[gte]": "1.5"}, "Invalid integer: 1.5", "usage_threshold[gte]"),
        (
            {"usage_threshold[recurrence]": "month"},
            "Invalid usage_threshold[recurrence]: must be one of one_time",
            "usage_threshold[recurrence]",
        ),
        (
            {"usage_threshold[meter]": "mtr_nope"},
            "No such billing meter: 'mtr_nope'",
            "usage_threshold[meter]",
        ),
        (
            {"usage_threshold[filters][0][type]": "customer"},
            "Missing required param: usage_threshold[filters][0][customer].",
            "usage_threshold[filters][0][customer]",
        ),
        (
            {
                "usage_threshold[filters][0][type]": "customer",
                "usage_threshold[filters][0][customer]": "cus_nope",
            },
            "No such customer: 'cus_nope'",
            "usage_threshold[filters][0][customer]",
        ),
        (
            {"filter[customer]": "cus_nope"},
            "Received unknown parameter: filter",
            "filter",
        ),
    ],
)
def test_what_is_refused(
    client: stripe.StripeClient,
    http: httpx.Client,
    change: dict[str, str],
    message: str,
    param: str,
) -> None:
    params = asked(make_meter(client), **change)
    error = error_of(http.post(PATH, data=params), 400)
    assert (error["message"], error["param"]) == (message, param)


def test_what_is_missing_as_a_whole(client: stripe.StripeClient, http: httpx.Client) -> None:
    params = {"alert_type": "usage_threshold", "title": "None"}
    error = error_of(http.post(PATH, data=params), 400)
    assert error["param"] == "usage_threshold"
    error = error_of(http.post(PATH, data=params, headers={"Stripe-Version": FORMER}), 400)
    assert error["param"] == "usage_threshold_config"
    meter = make_meter(client)
    client.v1.billing.meters.deactivate(meter)
    error = error_of(http.post(PATH, data=asked(meter)), 400)
    assert error["message"] == f"The meter '{meter}' is inactive."


def test_activate_deactivate_archive(client: stripe.StripeClient, http: httpx.Client) -> None:
    alerts = client.v1.billing.alerts
    made = http.post(PATH, data=asked(make_meter(client))).json()["id"]
    assert alerts.activate(made).status == "active"
    assert alerts.deactivate(made).status == "inactive"
    assert alerts.deactivate(made).status == "inactive"
    assert alerts.activate(made).status == "active"
    assert alerts.archive(made).status == "archived"
    assert alerts.archive(made).status == "archived"
    assert alerts.retrieve(made).status == "archived"
    assert alerts.list().data == []
    for path in ("activate", "deactivate"):
        error = error_of(http.post(f"{PATH}/{made}/{path}"), 400)
        assert error["message"] == f"The alert '{made}' is archived and cannot be changed."
    error = error_of(http.get(f"{PATH}/alrt_nope"), 404)
    assert (error["message"], error["code"]) == (
        "No such billing alert: 'alrt_nope'",
        "resource_missing",
    )


def test_pages_of_the_list(client: stripe.StripeClient, http: httpx.Client) -> None:
    first, second = make_meter(client), make_meter(client, "others")
    ids = [http.post(PATH, data=asked(one)).json()["id"] for one in (first, second, first)]
    alerts = client.v1.billing.alerts
    assert [one.id for one in alerts.list()] == ids[::-1]
    assert [one.id for one in alerts.list({"meter": first})] == [ids[2], ids[0]]
    page = alerts.list({"limit": 1, "starting_after": ids[2], "alert_type": "usage_threshold"})
    assert [one.id for one in page.data] == [ids[1]]
    assert page.has_more
    error = error_of(http.get(PATH, params={"starting_after": "alrt_nope"}), 400)
    assert error["param"] == "starting_after"


def test_no_customer_has_more_than_25(client: stripe.StripeClient, http: httpx.Client) -> None:
    meter, customer = make_meter(client), make_customer(client)
    of_one = {
        "usage_threshold[filters][0][type]": "customer",
        "usage_threshold[filters][0][customer]": customer,
    }
    ids = [http.post(PATH, data=asked(meter)).json()["id"] for _ in range(5)]
    for _ in range(20):
        assert http.post(PATH, data=asked(meter, **of_one)).status_code == 200
    error = error_of(http.post(PATH, data=asked(meter, **of_one)), 400)
    assert error["message"].startswith("A customer can have at most 25 active alerts on a meter")
    client.v1.billing.alerts.deactivate(ids[0])
    assert http.post(PATH, data=asked(meter, **of_one)).status_code == 200
    assert http.post(f"{PATH}/{ids[0]}/activate").status_code == 200  # about everybody: the fifth
    error_of(http.post(PATH, data=asked(meter, **of_one)), 400)
