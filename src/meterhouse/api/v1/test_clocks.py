"""`/v1/test_helpers/test_clocks` (https://docs.stripe.com/api/test_clocks).

A clock is moved by the job that bills (`jobs.invoice`); here it is only told where to.
"""

from typing import Annotated, Literal, TypeVar

import msgspec
import sqlalchemy as sa

from meterhouse import limits
from meterhouse.api.call import Answer, Call, ok
from meterhouse.api.once import once
from meterhouse.api.v1 import customers
from meterhouse.billing.period import beginning
from meterhouse.billing.price import Recurrence
from meterhouse.ledger import customers as ledger_customers
from meterhouse.ledger import holdups, prices, test_clocks
from meterhouse.ledger.announce import announce
from meterhouse.ledger.test_clocks import TestClock
from meterhouse.render.test_clock import render_test_clock
from meterhouse.wire import envelope, test_clock_errors
from meterhouse.wire.deleted import deleted
from meterhouse.wire.expand import check_expand
from meterhouse.wire.ids import new_id
from meterhouse.wire.page import PageParams, list_object
from meterhouse.wire.params import Length, RequestParams, Timestamp

_OBJECT = "test_helpers.test_clock"

ParamsT = TypeVar("ParamsT", bound=RequestParams)


class TestClockCreate(RequestParams):
    """The parameters of a new clock; `customer` is one that exists, and joins it for good."""

    frozen_time: Timestamp
    customer: str | None = None
    name: Annotated[str, Length(limits.TEST_CLOCK_NAME_CHARS_MAX)] | None = None


class TestClockAdvance(RequestParams):
    """Where a clock is to go."""

    frozen_time: Timestamp


async def create(call: Call) -> Answer:
    """Create a clock, which stands still until it is advanced."""
    params = _params(call, TestClockCreate)
    clock = TestClock(
        id=new_id("clock"),
        scope=call.scope.id,
        name=params.name,
        frozen_time=params.frozen_time * 1000,
        created=call.now,
    )

    def work(connection: sa.Connection) -> Answer:
        test_clocks.create_test_clock(connection, clock)
        _announce(connection, call, "created", clock)
        if params.customer is not None:
            customers.join(connection, call, params.customer, clock.id)
        return _noted(connection, call, "created", clock)

    return await once(call, work)


async def retrieve(call: Call) -> Answer:
    """Show a clock."""
    _params(call, RequestParams)
    clock = await call.read(test_clocks.find_test_clock, call.scope.id, call.ids[0])
    if clock is None:
        raise test_clock_errors.no_such_test_clock(call.ids[0])
    return ok(render_test_clock(clock))


async def advance(call: Call) -> Answer:
    """Send a clock on its way; it is there when its status is `ready` again."""
    params = _params(call, TestClockAdvance)

    def work(connection: sa.Connection) -> Answer:
        clock = _find(connection, call)
        if clock.target is not None:
            raise test_clock_errors.underway(clock.id)
        target = params.frozen_time * 1000
        if target <= clock.frozen_time:
            raise test_clock_errors.not_later(clock.frozen_time // 1000)
        if call.services.config.limits == "stripe":
            _check_not_far(connection, clock, target)
        moving = msgspec.structs.replace(clock, target=target, failed=False)
        test_clocks.update_test_clock(connection, moving)
        holdups.forget(connection, clock.id)
        _announce(connection, call, "advancing", moving)
        return _noted(connection, call, "advanced", moving)

    answer = await once(call, work)
    call.services.signals.send("invoice")
    return answer


async def delete(call: Call) -> Answer:
    """Delete a clock, also on its way, and with it its customers with their subscriptions."""
    _params(call, RequestParams)

    def work(connection: sa.Connection) -> Answer:
        clock = msgspec.structs.replace(_find(connection, call), target=None)
        test_clocks.update_test_clock(connection, clock)
        for customer in ledger_customers.of_test_clock(connection, clock.id):
            customers.remove(connection, call, customer)
        test_clocks.delete_test_clock(connection, clock)
        _announce(connection, call, "deleted", clock)
        call.note(connection, "test_clock.deleted", clock.id)
        return ok(deleted(clock.id, _OBJECT))

    answer = await call.services.stores.write(work)
    call.services.signals.send("erase")
    return answer


async def list_(call: Call) -> Answer:
    """List clocks, newest first."""
    params = _params(call, PageParams)
    page = await call.read(test_clocks.list_test_clocks, call.scope.id, params)
    if page is None:
        raise envelope.no_such("billingclock", params.cursor, params.cursor_param)
    rows, has_more = page
    return ok(list_object(call.path, [render_test_clock(row) for row in rows], has_more))


def _params(call: Call, cls: type[ParamsT]) -> ParamsT:
    if call.scope.livemode:
        raise test_clock_errors.only_in_testmode()
    params = call.params(cls)
    check_expand(params.expand)
    return params


def _find(connection: sa.Connection, call: Call) -> TestClock:
    """Return the clock of the path, for nobody else to move until we commit."""
    clock = test_clocks.find_test_clock(connection, call.scope.id, call.ids[0], lock=True)
    if clock is None:
        raise test_clock_errors.no_such_test_clock(call.ids[0])
    return clock


def _check_not_far(connection: sa.Connection, clock: TestClock, target: int) -> None:
    """Refuse to go further at once than Stripe lets a clock go."""
    ids = test_clocks.subscribed_prices(connection, clock.id)
    found = prices.by_ids(connection, clock.scope, ids).values()
    recurrences = [one.recurring.recurrence for one in found if one.recurring]
    latest = min(
        beginning(clock.frozen_time, one, limits.TEST_CLOCK_INTERVALS_ITEMS_MAX)
        for one in recurrences or [Recurrence("year", 1)]
    )
    if target > latest:
        raise test_clock_errors.too_far(latest // 1000)


def _noted(
    connection: sa.Connection, call: Call, what: Literal["advanced", "created"], clock: TestClock
) -> Answer:
    call.note(connection, f"test_clock.{what}", clock.id)
    return ok(render_test_clock(clock))


def _announce(
    connection: sa.Connection,
    call: Call,
    what: Literal["advancing", "created", "deleted"],
    clock: TestClock,
) -> None:
    announce(
        connection,
        call.cause,
        f"{_OBJECT}.{what}",
        f"/v1/test_helpers/test_clocks/{clock.id}",
        render_test_clock(clock),
    )
