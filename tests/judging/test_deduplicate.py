import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from meterhouse import limits
from meterhouse.ledger import customers
from meterhouse.metering.identifier import identifier_digest
from meterhouse.metering.model import MeterEvent
from meterhouse.processing import process
from tests.metering.samples import DAY, NOW, event
from tests.pipeline import (
    CUSTOMER,
    DAYS,
    Pipeline,
    create_meter,
    customer,
    stream,
    submission,
)

LAST = (NOW // DAY + DAYS + 1) * DAY - 1  # the last instant at which a claim made now holds


def streamed(identifier: str, value: str = "1", **changes: Any) -> MeterEvent:
    payload = {"stripe_customer_id": CUSTOMER, "value": value, "tier": changes.pop("tier", "a")}
    return event(identifier=identifier, payload=payload, **changes)


def outcomes(pipeline: Pipeline, *batches: Sequence[MeterEvent]) -> dict[str, int]:
    """Process each batch of a stream by itself; return the books without what is acknowledged."""

    async def body() -> None:
        for batch in batches:
            await stream(pipeline, *batch)
            assert await pipeline.processor.settle(30)

    pipeline.run(body)
    books = pipeline.books()
    assert books.pop("acknowledged") == sum(map(len, batches))
    return {name: events for name, events in books.items() if events}


def test_one_event_of_an_identifier_counts(pipeline: Pipeline) -> None:
    batches = [streamed("a"), streamed("a", "2"), streamed("b")], [streamed("a"), streamed("c")]
    assert outcomes(pipeline, *batches) == {"accepted": 3, "duplicate": 2}
    assert pipeline.stored() == 3
    assert pipeline.claims() == 3


def test_a_rejected_event_leaves_its_identifier_free(pipeline: Pipeline) -> None:
    batches = [streamed("a", "many"), streamed("a")], [streamed("b", "many")], [streamed("b")]
    expected = {"accepted": 2, "meter_event_invalid_value": 2}
    assert outcomes(pipeline, *batches) == expected


@pytest.mark.parametrize("together", [True, False])
def test_so_does_one_with_a_combination_too_many(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, together: bool
) -> None:
    """Whether they are in one batch must not matter."""
    monkeypatch.setattr(limits, "DIMENSION_COMBINATIONS_MAX", 1)
    with pipeline.stores._ledger.write() as connection:
        create_meter(
            connection, pipeline.scope, id="mtr_t", event_name="tiers", dimension_keys=("tier",)
        )
    sent = [("a", "x"), ("b", "y"), ("b", "x"), ("b", "x")]
    events = [streamed(name, event_name="tiers", tier=tier) for name, tier in sent]
    batches = [events] if together else [[one] for one in events]
    assert outcomes(pipeline, *batches) == {
        "accepted": 2,
        "duplicate": 1,
        "meter_event_dimension_count_too_high": 1,
    }


def test_a_duplicate_adds_no_combination(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "DIMENSION_COMBINATIONS_MAX", 2)
    with pipeline.stores._ledger.write() as connection:
        create_meter(
            connection, pipeline.scope, id="mtr_t", event_name="tiers", dimension_keys=("tier",)
        )
    sent = [("a", "x"), ("a", "y"), ("b", "z")]
    events = [streamed(name, event_name="tiers", tier=tier) for name, tier in sent]
    assert outcomes(pipeline, events) == {"accepted": 2, "duplicate": 1}


@pytest.mark.parametrize(
    ("age", "expected"),
    [
        (DAYS * DAY, {"accepted": 1, "duplicate": 1}),
        (LAST - NOW, {"accepted": 1, "duplicate": 1}),
        (LAST - NOW + 1, {"accepted": 2}),
    ],
)
@pytest.mark.parametrize("together", [True, False])
def test_a_claim_holds_to_the_end_of_its_last_day(
    pipeline: Pipeline, age: int, expected: dict[str, int], together: bool
) -> None:
    """A server that was down for long has old events and new ones in one batch."""
    late = streamed("a", timestamp=NOW + age, received_at=NOW + age)
    batches = [[streamed("a"), late]] if together else [[streamed("a")], [late]]
    assert outcomes(pipeline, *batches) == expected
    assert pipeline.claims() == expected["accepted"]


def test_a_claim_that_was_taken_over_holds_again(pipeline: Pipeline) -> None:
    new = streamed("a", timestamp=LAST + 1, received_at=LAST + 1)
    assert outcomes(pipeline, [streamed("a"), new], [new]) == {"accepted": 2, "duplicate": 1}
    assert pipeline.claims() == 2


def test_identifiers_stay_taken_over_restarts(pipeline: Pipeline) -> None:
    """What a process had in memory is read again, from the usage store and from the journal."""
    assert outcomes(pipeline, [streamed("a"), streamed("b", "many")]) == {
        "accepted": 1,
        "meter_event_invalid_value": 1,
    }
    second = pipeline.restarted()
    asyncio.run(stream(second, streamed("a"), streamed("b"), streamed("c")))
    third = second.restarted()

    async def body() -> None:
        await stream(third, streamed("b"), streamed("c"), streamed("d"))
        assert await third.processor.settle(30)

    third.run(body)
    assert third.books() == {
        "acknowledged": 8,
        "accepted": 4,
        "duplicate": 3,
        "meter_event_invalid_value": 1,
        "pending": 0,
    }
    assert (third.stored(), third.claims()) == (4, 4)


@pytest.mark.parametrize("first", ["single", "stream"])
def test_a_single_event_and_one_of_a_stream_share_their_identifiers(
    pipeline: Pipeline, first: str
) -> None:
    async def body() -> None:
        if first == "single":
            assert await pipeline.acceptor.accept(submission("a")) is None
        else:
            await stream(pipeline, streamed("a"))
            assert await pipeline.processor.settle(30)
        answer = await pipeline.acceptor.accept(submission("a"))
        assert str(answer) == "An event already exists with identifier a."
        await stream(pipeline, streamed("a"))
        assert await pipeline.processor.settle(30)

    pipeline.run(body)
    assert pipeline.stored() == 1


def test_a_single_event_that_comes_between_judgement_and_commit_wins(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given a claim since the judgement, then the batch is judged again, at once."""
    write_then = pipeline.stores.write_then
    came = False

    async def late(then: Any, work: Any, *args: Any) -> Any:
        nonlocal came
        if work is process._commit and not came:
            came = True
            assert await pipeline.acceptor.accept(submission("a", "2")) is None
        return await write_then(then, work, *args)

    monkeypatch.setattr(pipeline.stores, "write_then", late)

    async def body() -> None:
        await stream(pipeline, streamed("a"), streamed("b"))
        assert await pipeline.processor.settle(30)

    pipeline.run(body)
    assert pipeline.books() == {"acknowledged": 3, "accepted": 2, "duplicate": 1, "pending": 0}
    assert pipeline.stored() == 2
    assert pipeline.metrics.process_failures._value.get() == 0
    assert pipeline.acceptor.journal_events == 0


def test_modes_do_not_see_each_others_identifiers(pipeline: Pipeline) -> None:
    with pipeline.stores._ledger.write() as connection:
        create_meter(connection, pipeline.live, id="mtr_live", customer_key="tier")
        customers.create_customer(connection, customer(pipeline.live, id="cus_live"))

    async def body() -> None:
        live = streamed("a", scope=pipeline.live.id, tier="cus_live")
        await stream(pipeline, streamed("a"))
        await stream(pipeline, live)
        assert await pipeline.processor.settle(30)

    pipeline.run(body)
    assert pipeline.stored() == 2
    assert pipeline.claims() == 2


def test_a_crash_between_judgement_and_commit_leaves_every_identifier_free(
    pipeline: Pipeline,
) -> None:
    async def judged() -> None:
        await stream(pipeline, streamed("a"), streamed("a"))
        digests = pipeline.engine.judge([0])
        assert digests == [identifier_digest(pipeline.scope.id, "a")] * 2
        assert pipeline.engine.conclude({}).new_claims

    asyncio.run(judged())
    again = pipeline.restarted()
    again.run(lambda: again.processor.settle(30))
    assert pipeline.books() == {"acknowledged": 2, "accepted": 1, "duplicate": 1, "pending": 0}
