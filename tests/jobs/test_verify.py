import asyncio
from threading import Event
from typing import Any

import pytest
import sqlalchemy as sa

from meterhouse import limits
from meterhouse.errors import StoreError
from meterhouse.invoicing import credit
from meterhouse.invoicing.create import create_invoice
from meterhouse.invoicing.finalize import finalize
from meterhouse.invoicing.posting import posted
from meterhouse.jobs.verify import Verification
from meterhouse.ledger import tables
from meterhouse.ledger.announce import Cause
from meterhouse.usage.store import UsageStore
from tests.billing.test_credit import a_grant
from tests.invoicing import samples
from tests.metering.samples import DAY
from tests.pipeline import DAYS, Pipeline
from tests.processing.test_process import accept, cancel


async def fill(pipeline: Pipeline) -> None:
    """Three events that count, of which one is cancelled, and one that is rejected."""
    await accept(pipeline, "a", "b", "c", value="2.5")
    await accept(pipeline, "d", value="many")
    assert await pipeline.processor.settle(30)
    await cancel(pipeline, position=1)
    assert await pipeline.processor.settle(30)


def verified(pipeline: Pipeline) -> dict[str, Any]:
    return asyncio.run(pipeline.verify())


@pytest.fixture
def filled(pipeline: Pipeline) -> Pipeline:
    pipeline.run(lambda: fill(pipeline))
    return pipeline


def change(pipeline: Pipeline, statement: sa.Executable) -> None:
    with pipeline.stores._ledger.write() as connection:
        connection.execute(statement)


def problems(pipeline: Pipeline) -> list[str]:
    """Verify, and return the problems without the name of the account."""
    state = verified(pipeline)
    assert state["status"] == ("unbalanced" if state["problems"] else "balanced")
    return [problem.removeprefix(f"{pipeline.scope.account} ") for problem in state["problems"]]


def test_the_books_balance(filled: Pipeline) -> None:
    state = verified(filled)
    assert (state["status"], state["problems"]) == ("balanced", [])
    assert (state["done"], state["total"]) == (1, 1)
    assert state["lines"] == [
        {
            "account": filled.scope.account,
            "mode": "test",
            "acknowledged": 4,
            "accepted": 3,
            "duplicate": 0,
            "rejected": 1,
            "pending": 0,
            "cancelled": 1,
        }
    ]


def test_nothing_balances(pipeline: Pipeline) -> None:
    state = verified(pipeline)
    assert (state["status"], state["lines"]) == ("balanced", [])


def test_what_is_pending_belongs_to_the_balance(pipeline: Pipeline) -> None:
    asyncio.run(accept(pipeline, "a", "b"))
    state = verified(pipeline)
    assert state["status"] == "balanced"
    assert state["lines"][0]["pending"] == 2


def test_blocks_left_behind_are_stored_before_counting(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = Event()

    def failing(*_: object) -> None:
        tried.set()
        raise StoreError("gone")

    async def body() -> None:
        await pipeline.processor.start()
        await accept(pipeline, "a")
        await pipeline.processor.reach(strong=False)  # or the event is held back
        await asyncio.to_thread(tried.wait)
        await pipeline.processor.stop(seconds=0.05)

    with monkeypatch.context() as patched:
        patched.setattr(UsageStore, "insert", failing)
        asyncio.run(body())
    assert problems(pipeline) == []
    assert pipeline.stored() == 1


def unlike(events: str, slots: str) -> list[str]:
    """Return what is said where every kind of slots differs from the events."""
    kinds = ("slots", "totals", "totals without dimensions")
    return [f"mtr_1 (calls): {events}, but {kind} of {slots}." for kind in kinds]


TAMPERED = [
    (
        "ALTER TABLE events DELETE WHERE identifier = 'b' SETTINGS mutations_sync = 1",
        [
            "test: 3 accepted events, but 2 stored ones.",
            *unlike("1 events of 2026-11 come to 2.5", "2 events to 5"),
        ],
    ),
    (
        "ALTER TABLE events DELETE WHERE sign = -1 SETTINGS mutations_sync = 1",
        [
            "test: 1 cancellations, but 0 stored ones.",
            *unlike("3 events of 2026-11 come to 7.5", "2 events to 5"),
        ],
    ),
    (
        "INSERT INTO events SELECT * FROM events WHERE identifier = 'b'",
        [
            "test: 3 accepted events, but 4 stored ones.",
            "test: 1 positions with the wrong number of outcomes, but 0.",
            "test: 2 accepted events have the identifier 'b'.",
            *unlike("3 events of 2026-11 come to 7.5", "2 events to 5"),
        ],
    ),
    (
        "INSERT INTO events SELECT * FROM events WHERE sign = -1",
        [
            "test: 1 cancellations, but 2 stored ones.",
            "test: 1 positions with the wrong number of outcomes, but 0.",
            *unlike("1 events of 2026-11 come to 2.5", "2 events to 5"),
        ],
    ),
    (
        "ALTER TABLE events UPDATE value = 3 WHERE identifier = 'b' SETTINGS mutations_sync = 1",
        [
            "mtr_1 (calls): the stored values add up to 5.5, those in the payloads to 5.",
            *unlike("2 events of 2026-11 come to 5.5", "2 events to 5"),
        ],
    ),
    (
        "ALTER TABLE usage_slots UPDATE value = 4 WHERE 1 SETTINGS mutations_sync = 1",
        unlike("2 events of 2026-11 come to 5", "2 events to 8"),
    ),
    (
        "ALTER TABLE usage_slots DELETE WHERE 1 SETTINGS mutations_sync = 1",
        unlike("2 events of 2026-11 come to 5", "0 events to 0"),
    ),
    (
        """ALTER TABLE usage_slots UPDATE events = 4
        WHERE version = 1 AND customer = '' AND events > 0 SETTINGS mutations_sync = 1""",
        ["mtr_1 (calls): 2 events of 2026-11 come to 5, but totals of 3 events to 5."],
    ),
    (
        """INSERT INTO usage_slots SELECT * REPLACE ('2026-10-01 00:00:00' AS slot)
        FROM usage_slots WHERE events > 0""",
        unlike("0 events of 2026-10 come to 0", "3 events to 7.5"),
    ),
    (
        # What a change of dimensions makes, or has left, is not what questions are answered from.
        "INSERT INTO usage_slots SELECT * REPLACE (7 AS version) FROM usage_slots",
        [],
    ),
    (
        """INSERT INTO events SELECT * REPLACE ('mtr_x' AS meter, 9 AS position)
        FROM events WHERE identifier = 'b'""",
        [
            "test: 3 accepted events, but 4 stored ones.",
            "test: 2 accepted events have the identifier 'b'.",
            "test: 1 stored events belong to no meter.",
        ],
    ),
    (
        "ALTER TABLE rejected_events DELETE WHERE 1 SETTINGS mutations_sync = 1",
        ["test: 1 events rejected as meter_event_invalid_value, but 0 stored ones."],
    ),
    (
        "INSERT INTO rejected_events SELECT * REPLACE (9 AS position) FROM rejected_events",
        ["test: 1 events rejected as meter_event_invalid_value, but 2 stored ones."],
    ),
    (
        """INSERT INTO rejected_events SELECT * REPLACE ('no_meter' AS code, 9 AS position)
        FROM rejected_events""",
        ["test: 0 events rejected as no_meter, but 1 stored ones."],
    ),
]


@pytest.mark.parametrize(("statement", "found"), TAMPERED)
def test_each_way_in_which_the_usage_store_may_disagree_is_found(
    filled: Pipeline, statement: str, found: list[str]
) -> None:
    filled.tamper(statement)
    assert problems(filled) == found


def test_identifiers_that_count_twice_are_named(filled: Pipeline) -> None:
    """The events themselves are compared: nothing of their claims need be left."""
    filled.tamper("TRUNCATE TABLE identifiers")

    def again(position: int, days_later: int) -> None:
        filled.tamper(
            f"""INSERT INTO events SELECT * REPLACE (
                {position} AS position, received_at + INTERVAL {days_later} DAY AS received_at
            ) FROM events WHERE identifier = 'a' AND sign = 1 LIMIT 1"""  # noqa: S608
        )

    def named() -> list[str]:
        return [problem for problem in problems(filled) if "identifier" in problem]

    again(90, DAYS + 1)
    assert named() == []
    again(91, DAYS)
    assert named() == ["test: 3 accepted events have the identifier 'a'."]


def test_an_event_in_another_mode_is_found(filled: Pipeline) -> None:
    filled.tamper(
        "INSERT INTO events SELECT * REPLACE (true AS livemode, 9 AS position)"
        " FROM events WHERE identifier = 'b'"
    )
    assert problems(filled) == [
        "live: 0 accepted events, but 1 stored ones.",
        "live: 1 stored events belong to no meter.",
    ]


def test_a_wrong_tally_is_found(filled: Pipeline) -> None:
    acknowledged = tables.tallies.c.outcome == "acknowledged"
    change(filled, sa.update(tables.tallies).where(acknowledged).values(events=5))
    assert problems(filled) == ["test: 5 acknowledged events, but 4 outcomes."]


def test_wrong_books_of_credits_are_found(pipeline: Pipeline) -> None:
    """Given a balance that is not what its transactions come to, and lines that tell otherwise."""
    ledger, scope = pipeline.stores._ledger, pipeline.scope
    samples.stock(ledger, scope.id, "cus_2")
    grant = a_grant("g", scope=scope.id, customer="cus_2", balance=0)
    draft = samples.an_invoice(scope.id, "cus_2", id="in_1")
    lines = [samples.a_line(1_000, segment=0)]
    with ledger.write() as connection, posted(connection) as posting:
        cause = Cause(scope, samples.NOW)
        credit.grant(posting, cause, grant, samples.NOW)
        create_invoice(posting, cause, draft, lines, [])
        finalize(posting, cause, draft, lines, [], samples.NOW)
    assert problems(pipeline) == []
    lines_ = tables.invoice_lines
    details = sa.select(lines_.c.details).scalar_subquery()
    with ledger.read() as connection:
        told = connection.execute(sa.select(details)).scalar_one()
    change(pipeline, sa.update(lines_).values(details=told | {"credits": [[599, "cbtxn_1"]]}))
    change(pipeline, sa.update(tables.credit_grants).values(balance=7))
    assert problems(pipeline) == [
        "test: 7 are left of the grant g, but its credit transactions come to 0.",
        "test: credits pay 599 of the invoice in_1, but 600 were applied to it.",
    ]


def test_a_lost_journal_row_is_found(pipeline: Pipeline) -> None:
    asyncio.run(accept(pipeline, "a"))
    change(pipeline, sa.delete(tables.journal))
    assert problems(pipeline) == ["test: 1 acknowledged events, but 0 outcomes."]


def test_a_lost_block_is_found(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given a block that the usage store never took, when the ledger loses it, it is told."""
    monkeypatch.setattr(UsageStore, "insert", lambda *_: None)

    async def body() -> None:
        await accept(pipeline, "a")
        await pipeline.processor.settle(30)

    pipeline.run(body)
    assert problems(pipeline) == ["test: 1 accepted events, but 0 stored ones."]


def test_rejected_events_that_are_over_their_time_are_not_missed(filled: Pipeline) -> None:
    filled.clock.advance((limits.REJECTED_EVENTS_DAYS + 1) * DAY)
    filled.tamper("TRUNCATE TABLE rejected_events")
    assert problems(filled) == []


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (StoreError("The usage store gave no answer."), "The usage store gave no answer."),
        (ValueError("?"), "An unexpected error occurred; the log tells more."),
    ],
)
def test_a_verification_that_cannot_finish_says_so_and_frees_the_processor(
    filled: Pipeline, monkeypatch: pytest.MonkeyPatch, error: Exception, sentence: str
) -> None:
    def failing(_: UsageStore) -> None:
        raise error

    with monkeypatch.context() as patched:
        patched.setattr(UsageStore, "counts", failing)
        state = verified(filled)
    assert (state["status"], state["problems"]) == ("failed", [sentence])
    assert problems(filled) == []


def test_events_are_accepted_while_the_stores_are_compared(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given a processor that stands still, then what comes meanwhile is pending."""
    compare = Verification._compare

    async def busy(verification: Verification) -> None:
        await accept(pipeline, "e", "f")
        await compare(verification)

    monkeypatch.setattr(Verification, "_compare", busy)

    async def body() -> dict[str, Any]:
        await fill(pipeline)
        return await pipeline.verify()

    state = pipeline.run(body)
    assert state["status"] == "balanced"
    assert state["lines"][0]["pending"] == 2
    assert pipeline.stored() == 5


def test_one_verification_at_a_time(filled: Pipeline) -> None:
    async def body() -> None:
        filled.verification.start()
        first = filled.verification._task
        filled.verification.start()
        assert filled.verification._task is first
        assert filled.verification.state()["status"] == "running"
        assert first is not None
        await first

    assert filled.verification.state()["status"] == "idle"
    asyncio.run(body())
    assert filled.verification.state()["status"] == "balanced"
