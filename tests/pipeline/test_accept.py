import asyncio
from collections.abc import Sequence
from decimal import Decimal

import pytest
import sqlalchemy as sa

from meterhouse import limits
from meterhouse.errors import Refusal, StoreError
from meterhouse.ledger import meters
from meterhouse.ledger.idempotency import Record
from meterhouse.ledger.tables import idempotency_records, identifiers, journal
from meterhouse.pipeline.accept import Answer, Submission, commit
from tests.metering.samples import DAY, HOUR, NOW
from tests.pipeline.samples import DAYS, Pipeline, create_meter, submission

WINDOW = DAYS * DAY


def commit_group(pipeline: Pipeline, *submissions: Submission, now: int = NOW) -> list[Answer]:
    with pipeline.stores._ledger.write() as connection:
        return commit(connection, submissions, now, WINDOW).answers


def told(answers: Sequence[Answer]) -> list[str]:
    """Put each answer into a word."""
    return [
        "acknowledged"
        if answer is None
        else "replay"
        if isinstance(answer, Record)
        else str(answer)
        for answer in answers
    ]


def duplicate(identifier: str) -> str:
    return f"An event already exists with identifier {identifier}."


def test_a_group_is_acknowledged_in_its_order(pipeline: Pipeline) -> None:
    assert told(commit_group(pipeline, submission("a"), submission("b"))) == ["acknowledged"] * 2
    with pipeline.stores._ledger.read() as connection:
        rows = connection.execute(
            sa.select(identifiers.c.identifier).order_by(identifiers.c.position)
        )
        assert [row[0] for row in rows] == ["a", "b"]
    assert pipeline.books() == {"acknowledged": 2, "pending": 2}


def test_an_identifier_is_taken_once_in_a_group_and_across_groups(pipeline: Pipeline) -> None:
    assert told(commit_group(pipeline, submission("a"), submission("a", "2"))) == [
        "acknowledged",
        duplicate("a"),
    ]
    [refusal] = commit_group(pipeline, submission("a"))
    assert isinstance(refusal, Refusal)
    assert (refusal.status, refusal.code) == (400, None)
    assert refusal.headers == {"Stripe-Should-Retry": "false"}
    assert pipeline.books() == {"acknowledged": 1, "pending": 1}


@pytest.mark.parametrize("identifier", ['"', "\\", "🦆", "\u2028", "%", "a" * 100, "1", "null"])
def test_any_text_identifies(pipeline: Pipeline, identifier: str) -> None:
    commit_group(pipeline, submission("other"))
    assert told(commit_group(pipeline, submission(identifier))) == ["acknowledged"]
    assert told(commit_group(pipeline, submission(identifier))) == [duplicate(identifier)]


def test_modes_do_not_see_each_others_identifiers(pipeline: Pipeline) -> None:
    with pipeline.stores._ledger.write() as connection:
        create_meter(connection, pipeline.live, id="mtr_live")
    live = submission("a", scope=pipeline.live.id)
    assert told(commit_group(pipeline, submission("a"), live)) == ["acknowledged"] * 2


@pytest.mark.parametrize(
    ("age", "answer"), [(WINDOW, duplicate("a")), (WINDOW + 1, "acknowledged")]
)
def test_a_claim_holds_for_the_window(pipeline: Pipeline, age: int, answer: str) -> None:
    """An event whose timestamp is just old enough must not count twice, so the bound is inside."""
    commit_group(pipeline, submission("a"))
    assert told(commit_group(pipeline, submission("a"), now=NOW + age)) == [answer]
    assert pipeline.rows(identifiers) == 1


def test_a_claim_that_was_taken_over_holds_again(pipeline: Pipeline) -> None:
    later = NOW + WINDOW + 1
    commit_group(pipeline, submission("a"))
    group = (submission("a"), submission("a"))
    assert told(commit_group(pipeline, *group, now=later)) == ["acknowledged", duplicate("a")]
    assert told(commit_group(pipeline, submission("a"), now=later + 1)) == [duplicate("a")]


def test_an_idempotency_key_replays_what_was_answered(pipeline: Pipeline) -> None:
    keyed = submission("a", key="k")
    assert told(commit_group(pipeline, keyed, keyed)) == ["acknowledged", "replay"]
    [answer] = commit_group(pipeline, keyed)
    assert answer == keyed.record
    assert pipeline.books() == {"acknowledged": 1, "pending": 1}
    assert pipeline.rows(idempotency_records) == 1


def test_an_idempotency_key_is_for_one_request(pipeline: Pipeline) -> None:
    commit_group(pipeline, submission("a", key="k"))
    [refusal] = commit_group(pipeline, submission("b", key="k"))
    assert isinstance(refusal, Refusal)
    assert (refusal.status, refusal.type) == (400, "idempotency_error")
    assert pipeline.rows(identifiers) == 1


def test_a_refused_event_leaves_no_record(pipeline: Pipeline) -> None:
    commit_group(pipeline, submission("a"))
    assert told(commit_group(pipeline, submission("a", key="k"))) == [duplicate("a")]
    assert told(commit_group(pipeline, submission("b", key="k"))) == ["acknowledged"]


@pytest.mark.parametrize(
    ("age", "answers"),
    [(24 * HOUR - 1, "replay"), (24 * HOUR, duplicate("a"))],
)
def test_a_record_is_kept_for_a_day(pipeline: Pipeline, age: int, answers: str) -> None:
    keyed = submission("a", key="k")
    commit_group(pipeline, keyed)
    assert told(commit_group(pipeline, keyed, now=NOW + age)) == [answers]


def test_a_key_whose_time_is_over_can_be_used_anew(pipeline: Pipeline) -> None:
    later = NOW + 24 * HOUR
    commit_group(pipeline, submission("a", key="k"))
    again = submission("b", key="k", received_at=later)
    assert told(commit_group(pipeline, again, now=later)) == ["acknowledged"]
    assert told(commit_group(pipeline, again, now=later)) == ["replay"]
    assert pipeline.rows(idempotency_records) == 1


def test_refusals_come_in_order(pipeline: Pipeline) -> None:
    """A replay before everything, then the meter, the digits, and at last the duplicate."""
    keyed = submission("a", key="k")
    commit_group(pipeline, keyed)
    nobody, long = "No active meter found for event name", "1" * 16
    answers = commit_group(
        pipeline,
        submission("a", key="k", body="a", event_name="nobody"),
        submission("a", long, event_name="nobody"),
        submission("a", long),
        submission("a"),
    )
    replay, no_meter, digits, taken = told(answers)
    assert replay == "replay"
    assert no_meter.startswith(nobody)
    assert long in digits
    assert taken == duplicate("a")


def test_digits_matter_only_where_the_request_is_checked_for_them(pipeline: Pipeline) -> None:
    """Older versions hear of it later, and a meter that counts does not mind."""
    with pipeline.stores._ledger.write() as connection:
        create_meter(connection, pipeline.scope, id="mtr_2", event_name="hits", formula="count")
    answers = commit_group(
        pipeline,
        submission("a", "1" * 16, digits=False),
        submission("b", "1" * 16, event_name="hits"),
        submission("c", "many"),
    )
    assert told(answers) == ["acknowledged"] * 3


def test_a_deactivated_meter_takes_no_events(pipeline: Pipeline) -> None:
    with pipeline.stores._ledger.write() as connection:
        [meter] = meters.all_meters(connection)
        meters.deactivate_meter(connection, meter, NOW)
    [refusal] = told(commit_group(pipeline, submission("a")))
    assert refusal.startswith("No active meter found")
    assert pipeline.rows(journal) == 0


def test_events_that_wait_together_share_a_commit(pipeline: Pipeline) -> None:
    """The first event goes alone; those that come during its commit go together."""

    async def body() -> list[Answer]:
        names = [f"e{number}" for number in range(50)]
        return await asyncio.gather(*(pipeline.acceptor.accept(submission(n)) for n in names))

    assert asyncio.run(body()) == [None] * 50
    assert pipeline.rows(journal) <= 2
    assert pipeline.acceptor.journal_events == 50


def test_a_group_is_bounded(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "ACCEPT_GROUP_EVENTS_MAX", 10)

    async def body() -> None:
        names = [f"e{number}" for number in range(35)]
        await asyncio.gather(*(pipeline.acceptor.accept(submission(name)) for name in names))

    asyncio.run(body())
    assert pipeline.rows(journal) == 4


@pytest.mark.parametrize(
    ("limit", "queue"),
    [("ACCEPT_WAITING_EVENTS_MAX", "accept"), ("JOURNAL_LAG_EVENTS_MAX", "journal")],
)
def test_a_full_queue_refuses_and_takes_events_again(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, limit: str, queue: str
) -> None:
    monkeypatch.setattr(limits, limit, 2)

    async def body() -> list[Answer | BaseException]:
        if queue == "journal":
            await asyncio.gather(*(pipeline.acceptor.accept(submission(n)) for n in "ab"))
        sent = [pipeline.acceptor.accept(submission(name)) for name in "vwxyz"]
        answers = await asyncio.gather(*sent, return_exceptions=True)
        assert pipeline.acceptor.overloaded() == ("journal" if queue == "journal" else None)
        pipeline.acceptor.journal_events = 0
        assert await pipeline.acceptor.accept(submission("later")) is None
        return answers

    answers = asyncio.run(body())
    refused = [answer for answer in answers if isinstance(answer, Refusal)]
    assert len(refused) == (5 if queue == "journal" else 3)
    assert {refusal.status for refusal in refused} == {429}
    assert {refusal.headers["Stripe-Should-Retry"] for refusal in refused} == {"true"}


def test_a_failed_commit_is_told_to_everyone_and_the_next_one_works(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def failing(*_: object) -> None:
        raise StoreError("the disk is full")

    async def body() -> list[Answer | BaseException]:
        with monkeypatch.context() as patched:
            patched.setattr(pipeline.stores, "write", failing)
            sent = [pipeline.acceptor.accept(submission(name)) for name in "ab"]
            answers = await asyncio.gather(*sent, return_exceptions=True)
        assert await pipeline.acceptor.accept(submission("a")) is None
        return answers

    assert [str(answer) for answer in asyncio.run(body())] == ["the disk is full"] * 2
    assert pipeline.books() == {"acknowledged": 1, "pending": 1}


def test_a_sender_that_went_away_does_not_hold_the_others_up(pipeline: Pipeline) -> None:
    async def body() -> Answer:
        gone = asyncio.create_task(pipeline.acceptor.accept(submission("a")))
        stays = asyncio.create_task(pipeline.acceptor.accept(submission("b")))
        await asyncio.sleep(0)
        gone.cancel()
        return await stays

    assert asyncio.run(body()) is None
    assert pipeline.books()["acknowledged"] == 2


def test_values_keep_every_digit_through_the_journal(pipeline: Pipeline) -> None:
    async def body() -> Decimal:
        await pipeline.acceptor.accept(submission("a", "0.000000000000001"))
        await pipeline.acceptor.accept(submission("b", "999999999999999"))
        assert await pipeline.processor.settle(5)
        with pipeline.stores._ledger.read() as connection:
            [meter] = meters.all_meters(connection)
        return pipeline.stores._usage.total(pipeline.scope, meter).stored

    assert pipeline.run(body) == Decimal("999999999999999.000000000000001")
