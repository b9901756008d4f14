"""A customer who is billed by tiers for what was used, as tests of the pages make one."""

from typing import Any, NamedTuple

from tests.api.local import DAY, NOW, LocalServer
from tests.api.meterhouse.samples import stream

NAME = "<b>Ada</b> & Co."
PRODUCT = "Tokens <i>x</i>"


class Sold(NamedTuple):
    """Who is billed for which meter, and by which subscription."""

    local: LocalServer
    meter: str
    customer: str
    price: str
    subscription: str

    @property
    def invoice(self) -> dict[str, Any]:
        """The newest invoice."""
        found: dict[str, Any] = self.local.request("GET", "/v1/invoices").json()["data"][0]
        return found


def sell(local: LocalServer, mode: str = "flexible", usage: str = "1031") -> Sold:
    """Subscribe a customer as of ten days ago: who is invoiced at once where that is flexible.

    Of the usage one event is of the model `small`, and one of the model `large`.
    """
    meter = local.meter("tokens", **{"dimension_payload_keys[0]": "model"})
    customer = local.create("/v1/customers", data={"name": NAME, "email": "ada@example.com"})["id"]
    stream(
        local,
        *(
            {
                "event_name": "tokens",
                "identifier": f"tokens-{model}",
                "timestamp": f"2026-11-1{number}T08:00:00Z",
                "payload": {"stripe_customer_id": customer, "value": value, "model": model},
            }
            for number, (model, value) in enumerate((("small", "31"), ("large", usage)), start=5)
        ),
    )
    price = local.create(
        "/v1/prices",
        data={
            "currency": "usd",
            "product_data[name]": PRODUCT,
            "product_data[unit_label]": "token",
            "recurring[interval]": "month",
            "recurring[usage_type]": "metered",
            "recurring[meter]": meter,
            "billing_scheme": "tiered",
            "tiers_mode": "graduated",
            "tiers[0][up_to]": "1000",
            "tiers[0][flat_amount]": "900",
            "tiers[1][up_to]": "inf",
            "tiers[1][unit_amount_decimal]": "3.6",
        },
    )["id"]
    subscription = local.create(
        "/v1/subscriptions",
        data={
            "customer": customer,
            "items[0][price]": price,
            "backdate_start_date": str(NOW - 10 * DAY),
            "billing_mode[type]": mode,
        },
    )["id"]
    return Sold(local, meter, customer, price, subscription)
