import sqlalchemy as sa

from meterhouse.ledger import holdups
from meterhouse.ledger.tables import test_clocks
from tests.api.local import NOW, LocalServer
from tests.dashboard.test_site import cookie, visit

WHY = "The amount of a line is greater than the maximum amount allowed."


def subscribed(local: LocalServer, **customer: str) -> tuple[str, str]:
    """Subscribe a new customer to something; return both ids."""
    owner = local.create("/v1/customers", data=customer)["id"]
    price = local.create(
        "/v1/prices",
        data={
            "currency": "usd",
            "unit_amount": 100,
            "recurring[interval]": "month",
            "product_data[name]": "Seats",
        },
    )["id"]
    data = {"customer": owner, "items[0][price]": price}
    return owner, local.create("/v1/subscriptions", data=data)["id"]


def hold_up(local: LocalServer, subscription: str) -> None:
    with local.meterhouse.ledger.write() as connection:
        assert holdups.hold_up(connection, subscription, "amount_too_large", WHY, NOW * 1000)


def test_what_cannot_be_billed_is_told_where_its_customer_is_shown(local: LocalServer) -> None:
    held = cookie(local)
    owner, subscription = subscribed(local)
    assert "cannot be billed" not in visit(local, f"/customers/{owner}", held).text
    assert "Cannot be billed" not in visit(local, "", held).text
    hold_up(local, subscription)
    page = visit(local, f"/customers/{owner}", held).text
    assert f"What is due of <code>{subscription}</code> cannot be billed" in page
    assert WHY in page
    assert "It is tried again at" in page
    assert "Cannot be billed" in visit(local, "", held).text


def test_a_clock_that_has_failed_says_so(local: LocalServer) -> None:
    clock = local.create("/v1/test_helpers/test_clocks", data={"frozen_time": NOW})["id"]
    _, subscription = subscribed(local, test_clock=clock)
    hold_up(local, subscription)
    with local.meterhouse.ledger.write() as connection:
        connection.execute(sa.update(test_clocks).values(failed=True))
    page = visit(local, f"/billing/clocks/{clock}", cookie(local)).text
    assert "Advance it again to try once more, or delete it." in page
    assert "It is tried again when the test clock is advanced." in page
