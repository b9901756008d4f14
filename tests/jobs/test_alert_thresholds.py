"""Usage that reaches a threshold of a subscription is invoiced as it is stored, by the same job."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.api.local import DAY, LocalServer, kept_store, local_server
from tests.jobs.test_alert import World


@pytest.fixture(scope="module", autouse=True)
def _kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with kept_store(tmp_path_factory.mktemp("usage")):
        yield


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    with local_server(tmp_path_factory.mktemp("shared")) as opened:
        yield opened


class Customer(World):
    """Somebody who is subscribed to a price of 4 a unit."""

    def __init__(self, local: LocalServer) -> None:
        super().__init__(local)
        price = {
            "product_data[name]": "Calls",
            "currency": "usd",
            "unit_amount": 4,
            "recurring[interval]": "month",
            "recurring[usage_type]": "metered",
            "recurring[meter]": self.meter,
        }
        self.price = local.create("/v1/prices", data=price)["id"]

    def subscribe(self, **data: Any) -> str:
        data = {"customer": self.customer, "items[0][price]": self.price} | data
        made: str = self.local.create("/v1/subscriptions", data=data)["id"]
        return made

    def invoices(self) -> list[tuple[str, int]]:
        params = {"customer": self.customer}
        found = self.local.request("GET", "/v1/invoices", params=params).json()["data"]
        return [(one["billing_reason"], one["total"]) for one in found[::-1]]


def test_the_usage_that_reaches_it_is_invoiced_once(local: LocalServer) -> None:
    one = Customer(local)
    one.subscribe(**{"billing_thresholds[amount_gte]": 1_000})
    one.use("249")
    assert one.invoices() == []
    one.use("1")
    assert one.invoices() == [("subscription_threshold", 1_000)]
    one.use("249")
    assert len(one.invoices()) == 1


def test_a_threshold_that_comes_later_is_reached_by_the_next_usage(local: LocalServer) -> None:
    one = Customer(local)
    alert = one.alert(300)
    subscription = one.subscribe()
    one.use("400")
    item = local.request("GET", f"/v1/subscriptions/{subscription}").json()["items"]["data"][0]
    data = {"billing_thresholds[usage_gte]": 300}
    local.create(f"/v1/subscription_items/{item['id']}", data=data)
    assert one.invoices() == []
    one.use("1")
    assert one.invoices() == [("subscription_threshold", 1_604)]
    assert len(one.triggered(alert)) == 1


def test_usage_of_somebody_else_changes_nothing(local: LocalServer) -> None:
    one = Customer(local)
    one.subscribe(**{"billing_thresholds[amount_gte]": 1_000})
    one.use("500", local.customer())
    one.use("500", timestamp=local.clock.now() // 1000 - DAY)  # it was not subscribed yet
    assert one.invoices() == []
