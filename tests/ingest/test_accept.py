import asyncio
import threading
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from meterhouse import limits
from meterhouse.errors import Refusal, StoreError
from meterhouse.identifiers.filter import Digests, Filter
from meterhouse.ingest.commit import Answer, Submission
from meterhouse.ledger import journal, meters, tables
from meterhouse.ledger.idempotency import Record
from meterhouse.metering.identifier import Claim
from meterhouse.usage.store import UsageStore
from tests.metering.samples import DAY, HOUR, NOW
from tests.pipeline import DAYS, Pipeline, create_meter, stream, submission

LAST = (NOW // DAY + DAYS + 1) * DAY - 1  # the last instant at which a claim made now holds


def commit_group(pipeline: Pipeline, *submissions: Submission, now: int = NOW) -> list[Answer]:
    """Submit at one time what goes into one commit then."""
    pipeline.clock.set(now)

    async def body() -> list[Answer]:
        return await asyncio.gather(*map(pipeline.acceptor.accept, submissions))

    return asyncio.run(body())


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


async def send(pipeline: Pipeline, *identifiers: str, key: str | None = None) -> None:
    """Send events and wait until the usage store has them."""
    for identifier in identifiers:
        assert await pipeline.acceptor.accept(submission(identifier, key=key)) is None
    assert await pipeline.processor.settle(30)


def suspect_all(_: Filter, digests: Digests) -> npt.NDArray[np.bool_]:
    return np.ones(len(digests), np.bool_)


def watch_claims(monkeypatch: pytest.MonkeyPatch) -> list[Sequence[bytes]]:
    """Return a list that gets the digests of each question to the usage store from now on."""
    claims = UsageStore.claims
    asked: list[Sequence[bytes]] = []

    def note(store: UsageStore, digests: Sequence[bytes]) -> dict[bytes, Claim]:
        asked.append(digests)
        return claims(store, digests)

    monkeypatch.setattr(UsageStore, "claims", note)
    return asked


def duplicate(identifier: str) -> str:
    return f"An event already exists with identifier {identifier}."


def test_a_group_is_acknowledged_in_its_order(pipeline: Pipeline) -> None:
    assert told(commit_group(pipeline, submission("a"), submission("b"))) == ["acknowledged"] * 2
    with pipeline.stores._ledger.read() as connection:
        [entry] = journal.read(connection, 10, 10, 10_000)
    assert journal.events_of([entry]).identifiers.to_pylist() == ["a", "b"]
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


@pytest.mark.parametrize("where", ["suspects", "held"])
def test_a_fault_before_the_commit_is_heard_by_all_who_wait(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    def fail(*_: Any) -> None:
        raise ZeroDivisionError

    async def body() -> list[Answer | BaseException]:
        waiting = [pipeline.acceptor.accept(submission(name)) for name in ("a", "b")]
        async with asyncio.timeout(60):
            return list(await asyncio.gather(*waiting, return_exceptions=True))

    with monkeypatch.context() as patch:
        patch.setattr(pipeline.acceptor._claims, where, fail)
        assert list(map(type, asyncio.run(body()))) == [ZeroDivisionError] * 2
    assert told(commit_group(pipeline, submission("a"))) == ["acknowledged"]


def test_a_fault_after_the_commit_keeps_nobody_waiting(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "ACCEPT_GROUP_EVENTS_MAX", 1)
    monkeypatch.setattr(pipeline.acceptor, "_on_commit", lambda _: 1 // 0)

    async def body() -> list[Answer]:
        waiting = [pipeline.acceptor.accept(submission(name)) for name in ("a", "b")]
        async with asyncio.timeout(60):
            return await asyncio.gather(*waiting)

    assert told(asyncio.run(body())) == ["acknowledged"] * 2


def test_a_fault_while_a_suspect_is_asked_about_is_heard(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The claims are held a second time for the question."""
    holds = iter([pipeline.identifiers.held])

    def fail() -> Any:
        return next(holds, lambda: 1 // 0)()

    monkeypatch.setattr(Filter, "suspects", suspect_all)
    monkeypatch.setattr(pipeline.acceptor._claims, "held", fail)

    async def body() -> None:
        async with asyncio.timeout(60):
            await pipeline.acceptor.accept(submission("a"))

    with pytest.raises(ZeroDivisionError):
        asyncio.run(body())


def test_modes_do_not_see_each_others_identifiers(pipeline: Pipeline) -> None:
    with pipeline.stores._ledger.write() as connection:
        create_meter(connection, pipeline.live, id="mtr_live")
    live = submission("a", scope=pipeline.live.id)
    assert told(commit_group(pipeline, submission("a"), live)) == ["acknowledged"] * 2


@pytest.mark.parametrize(
    ("now", "answer"),
    [(NOW + DAYS * DAY, duplicate("a")), (LAST, duplicate("a")), (LAST + 1, "acknowledged")],
)
@pytest.mark.parametrize("stored", [True, False])
def test_a_claim_holds_to_the_end_of_its_last_day(
    pipeline: Pipeline, now: int, answer: str, stored: bool
) -> None:
    """An event whose timestamp is just old enough must not count twice, so that is within it."""
    commit_group(pipeline, submission("a"))
    if stored:
        pipeline.run(lambda: pipeline.processor.settle(30))
    assert told(commit_group(pipeline, submission("a"), now=now)) == [answer]


def test_a_claim_that_was_taken_over_holds_again(pipeline: Pipeline) -> None:
    commit_group(pipeline, submission("a"))
    again = submission("a", received_at=LAST + 1)
    answers = told(commit_group(pipeline, again, again, now=LAST + 1))
    assert answers == ["acknowledged", duplicate("a")]
    assert told(commit_group(pipeline, again, now=LAST + 2)) == [duplicate("a")]
    restarted = pipeline.restarted()
    restarted.run(lambda: restarted.processor.settle(30))
    assert told(commit_group(restarted, again, now=LAST + DAYS * DAY)) == [duplicate("a")]
    assert pipeline.claims() == 2


def test_an_idempotency_key_replays_what_was_answered(pipeline: Pipeline) -> None:
    keyed = submission("a", key="k")
    assert told(commit_group(pipeline, keyed, keyed)) == ["acknowledged", "replay"]
    [answer] = commit_group(pipeline, keyed)
    assert answer == keyed.record
    assert pipeline.books() == {"acknowledged": 1, "pending": 1}
    assert pipeline.rows(tables.idempotency_records) == 1


def test_an_idempotency_key_is_for_one_request(pipeline: Pipeline) -> None:
    commit_group(pipeline, submission("a", key="k"))
    [refusal] = commit_group(pipeline, submission("b", key="k"))
    assert isinstance(refusal, Refusal)
    assert (refusal.status, refusal.type) == (400, "idempotency_error")
    assert told(commit_group(pipeline, submission("b"))) == ["acknowledged"]


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
    assert pipeline.rows(tables.idempotency_records) == 1


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
    assert pipeline.rows(tables.journal) == 0


def test_events_that_wait_together_share_a_commit(pipeline: Pipeline) -> None:
    """The first event goes alone; those that come during its commit go together."""

    async def body() -> list[Answer]:
        names = [f"e{number}" for number in range(50)]
        return await asyncio.gather(*(pipeline.acceptor.accept(submission(n)) for n in names))

    assert asyncio.run(body()) == [None] * 50
    assert pipeline.rows(tables.journal) <= 2
    assert pipeline.acceptor.journal_events == 50


def test_a_group_is_bounded(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "ACCEPT_GROUP_EVENTS_MAX", 10)

    async def body() -> None:
        names = [f"e{number}" for number in range(35)]
        await asyncio.gather(*(pipeline.acceptor.accept(submission(name)) for name in names))

    asyncio.run(body())
    assert pipeline.rows(tables.journal) == 4


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
            patched.setattr(pipeline.stores, "write_then", failing)
            sent = [pipeline.acceptor.accept(submission(name)) for name in "ab"]
            answers = await asyncio.gather(*sent, return_exceptions=True)
        assert await pipeline.acceptor.accept(submission("a")) is None
        return answers

    assert [str(answer) for answer in asyncio.run(body())] == ["the disk is full"] * 2
    assert pipeline.books() == {"acknowledged": 1, "pending": 1}


def test_a_commit_that_only_seemed_to_fail_has_claimed_its_identifiers(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def unsure(_: object, work: Any, *args: Any) -> None:
        await pipeline.stores.write(work, *args)
        raise StoreError("the connection broke during COMMIT")

    async def body() -> list[Answer]:
        with monkeypatch.context() as patched:
            patched.setattr(pipeline.stores, "write_then", unsure)
            with pytest.raises(StoreError):
                await pipeline.acceptor.accept(submission("a", key="k"))
        sent = submission("a"), submission("a", key="k"), submission("b")
        return await asyncio.gather(*map(pipeline.acceptor.accept, sent))

    assert told(asyncio.run(body())) == [duplicate("a"), "replay", "acknowledged"]


def test_the_usage_store_is_asked_about_suspects_only(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = watch_claims(monkeypatch)
    pipeline.run(lambda: send(pipeline, "a", "b"))
    assert told(commit_group(pipeline, submission("c"), submission("c"))) == [
        "acknowledged",
        duplicate("c"),
    ]
    assert asked == []
    answers = commit_group(pipeline, *map(submission, "adb"))
    assert told(answers) == [duplicate("a"), "acknowledged", duplicate("b")]
    assert [len(digests) for digests in asked] == [2]


def test_what_only_the_usage_store_knows_is_taken_after_a_restart(pipeline: Pipeline) -> None:
    pipeline.run(lambda: send(pipeline, "a", key="k"))
    assert pipeline.books()["pending"] == 0
    again = pipeline.restarted()

    async def body() -> list[Answer]:
        sent = submission("a"), submission("a", key="k"), submission("b")
        return await asyncio.gather(*map(again.acceptor.accept, sent))

    assert told(again.run(body)) == [duplicate("a"), "replay", "acknowledged"]


def test_a_wrong_suspicion_costs_a_question_and_no_event(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given a filter that suspects everybody, then answers are the same."""
    asked = watch_claims(monkeypatch)
    monkeypatch.setattr(Filter, "suspects", suspect_all)
    answers = commit_group(pipeline, *map(submission, "abab"))
    assert told(answers) == ["acknowledged"] * 2 + [duplicate("a"), duplicate("b")]
    assert [len(digests) for digests in asked] == [4]
    assert told(commit_group(pipeline, *map(submission, "ac"))) == [duplicate("a"), "acknowledged"]
    assert pipeline.books() == {"acknowledged": 3, "pending": 3}


def test_a_claim_that_comes_during_the_question_counts(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given an answer that was true before a stream took the identifier, then it is refused."""
    claims = UsageStore.claims
    answered, go_on = threading.Event(), threading.Event()

    def slow(store: UsageStore, digests: Sequence[bytes]) -> dict[bytes, Claim]:
        found = claims(store, digests)
        if not answered.is_set():
            answered.set()
            assert go_on.wait(60)
        return found

    monkeypatch.setattr(UsageStore, "claims", slow)
    monkeypatch.setattr(Filter, "suspects", suspect_all)

    async def body() -> Answer:
        asking = asyncio.create_task(pipeline.acceptor.accept(submission("a")))
        await asyncio.to_thread(answered.wait, 10)
        await stream(pipeline, submission("a").event)
        assert await pipeline.processor.settle(30)
        assert pipeline.claims() == 1
        go_on.set()
        return await asking

    assert told([pipeline.run(body)]) == [duplicate("a")]
    assert pipeline.stored() == 1


def test_a_usage_store_that_gives_no_answer_holds_up_suspects_only(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    def silent(*_: object) -> None:
        raise StoreError("the usage store gave no answer")

    pipeline.run(lambda: send(pipeline, "a"))

    async def body() -> list[Answer | BaseException]:
        sent = [pipeline.acceptor.accept(submission(name)) for name in "ab"]
        answers = await asyncio.gather(*sent, return_exceptions=True)
        return answers  # noqa: RET504 - what `gather` returns depends on who is asked

    with monkeypatch.context() as patched:
        patched.setattr(UsageStore, "claims", silent)
        failed, answer = asyncio.run(body())
    assert str(failed) == "the usage store gave no answer"
    assert answer is None
    assert told(commit_group(pipeline, submission("a"))) == [duplicate("a")]


def test_draining_waits_for_suspects(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Filter, "suspects", suspect_all)

    async def body() -> bool:
        sent = asyncio.create_task(pipeline.acceptor.accept(submission("a")))
        await asyncio.sleep(0)
        await pipeline.acceptor.drain()
        return sent.done() or await sent is None

    assert asyncio.run(body())
    assert pipeline.books()["acknowledged"] == 1


def test_a_sender_that_went_away_does_not_hold_the_others_up(pipeline: Pipeline) -> None:
    async def body() -> Answer:
        gone = asyncio.create_task(pipeline.acceptor.accept(submission("a")))
        stays = asyncio.create_task(pipeline.acceptor.accept(submission("b")))
        await asyncio.sleep(0)
        gone.cancel()
        return await stays

    assert asyncio.run(body()) is None
    assert pipeline.books()["acknowledged"] == 1


def test_values_keep_every_digit_through_the_journal(pipeline: Pipeline) -> None:
    async def body() -> Decimal:
        await pipeline.acceptor.accept(submission("a", "0.000000000000001"))
        await pipeline.acceptor.accept(submission("b", "999999999999999"))
        assert await pipeline.processor.settle(30)
        with pipeline.stores._ledger.read() as connection:
            [meter] = meters.all_meters(connection)
        return pipeline.engine._usage.total(pipeline.scope, meter).stored

    assert pipeline.run(body) == Decimal("999999999999999.000000000000001")
