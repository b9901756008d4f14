"""Triggers: each step is reached once by a customer in a period, whichever the database."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from meterhouse.billing.alert import ALWAYS, Alert, Trigger
from meterhouse.ledger import accounts, alert_triggers, alerts
from meterhouse.ledger.alert_triggers import Reached
from meterhouse.ledger.engine import Ledger
from meterhouse.wire.page import PageParams
from tests.metering.samples import NOW
from tests.pipeline import create_meter

FIRST = Trigger(
    id="alrtg_1",
    scope=1,
    alert="alrt_1",
    customer="cus_1",
    step=0,
    period_start=ALWAYS.start,
    period_end=ALWAYS.end,
    gte=Decimal("0.000000000000001"),
    value=Decimal("1000000000000000.5"),
    created=NOW,
)


@pytest.fixture
def watched(ledger: Ledger) -> Ledger:
    """Return a ledger with two alerts."""
    with ledger.write() as connection:
        account = accounts.default_account(connection, NOW)
        scope, _ = accounts.scopes_of(connection, account.id)
        create_meter(connection, scope)
        for number in (1, 2):
            one = Alert(
                id=f"alrt_{number}",
                scope=scope.id,
                title="Much",
                meter="mtr_1",
                steps=(Decimal(10),),
                since=0,
                created=NOW,
            )
            alerts.create_alert(connection, one)
    return ledger


@pytest.mark.parametrize(
    ("change", "new"),
    [
        ({}, False),
        ({"value": Decimal(7)}, False),
        ({"alert": "alrt_2"}, True),
        ({"customer": "cus_2"}, True),
        ({"step": 1}, True),
        ({"period_start": 7}, True),
    ],
)
def test_a_step_is_reached_once(watched: Ledger, change: Mapping[str, Any], *, new: bool) -> None:
    other = msgspec.structs.replace(FIRST, id="alrtg_2", **change)
    with watched.write() as connection:
        assert alert_triggers.put(connection, FIRST)
        assert alert_triggers.put(connection, other) == new
        asked = {
            Reached(one.alert, one.customer, one.period_start, one.step) for one in (FIRST, other)
        }
        never = Reached("alrt_1", "cus_1", 0, 9)
        assert alert_triggers.known(connection, {*asked, never}) == asked


def test_they_are_listed_newest_first_with_every_digit(watched: Ledger) -> None:
    second = msgspec.structs.replace(FIRST, id="alrtg_2", customer="cus_2")
    with watched.write() as connection:
        for one in (FIRST, second):
            alert_triggers.put(connection, one)
        assert alert_triggers.list_triggers(connection, "alrt_1", PageParams()) == (
            [second, FIRST],
            False,
        )
        page = PageParams(starting_after="alrtg_2")
        assert alert_triggers.list_triggers(connection, "alrt_1", page) == ([FIRST], False)
        of_one = alert_triggers.list_triggers(connection, "alrt_1", PageParams(), "cus_1")
        assert of_one == ([FIRST], False)
        assert alert_triggers.list_triggers(connection, "alrt_2", PageParams()) == ([], False)
