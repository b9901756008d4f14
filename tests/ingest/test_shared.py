"""Two nodes accept events into one ledger at the same time."""

import asyncio
import threading
from collections.abc import Sequence
from typing import Any

import pytest
import sqlalchemy as sa

from meterhouse import limits
from meterhouse.errors import OvertakenError, Refusal, StoreError
from meterhouse.ingest.commit import (
    Answer,
    ConflictError,
    StreamSubmission,
    Submission,
    _Group,
)
from meterhouse.ledger import journal, tables, tallies
from meterhouse.metering.identifier import identifier_digest, partition_of
from meterhouse.usage.store import UsageStore
from tests.ingest.test_accept import duplicate, told, watch_claims
from tests.nodes import Nodes, on_servers
from tests.pipeline import submission
from tests.processing.workers import PARTITIONS

pytestmark = on_servers


async def both(nodes: Nodes, *left_and_right: Sequence[Submission]) -> list[list[Answer]]:
    """Send submissions to each of the nodes, all at the same time."""
    sent = zip((nodes.left, nodes.right), left_and_right, strict=True)
    groups = [asyncio.gather(*map(node.send, group)) for node, group in sent]
    return [list(answers) for answers in await asyncio.gather(*groups)]


def test_an_identifier_that_is_sent_to_both_is_taken_once(nodes: Nodes) -> None:
    names = [f"e{number}" for number in range(40)]
    sent = [submission(name) for name in names]
    answers = nodes.run(lambda: both(nodes, sent, sent[::-1]))
    for name, left, right in zip(names, answers[0], answers[1][::-1], strict=True):
        assert sorted(told([left, right])) == sorted(["acknowledged", duplicate(name)])
    assert nodes.pipeline.books() == {"acknowledged": 40, "pending": 40}


def test_an_identifier_is_taken_while_it_is_on_its_way_and_when_it_is_stored(nodes: Nodes) -> None:
    async def body() -> list[Answer]:
        answers = [await nodes.left.send(submission("a"))]
        answers.append(await nodes.right.send(submission("a")))
        await nodes.work()
        with nodes.right.stores._ledger.write() as connection:
            connection.execute(sa.delete(tables.recent_claims))
        answers.append(await nodes.right.send(submission("a")))
        return answers

    assert told(nodes.run(body)) == ["acknowledged", duplicate("a"), duplicate("a")]
    assert nodes.pipeline.stored() == 1


def test_an_event_that_is_refused_for_another_reason_takes_nothing(nodes: Nodes) -> None:
    async def body() -> list[Answer]:
        refused = (submission("a", "1" * 16), submission("a", event_name="nobody"))
        first = [await nodes.left.send(one) for one in refused]
        return [*first, await nodes.right.send(submission("a"))]

    digits, no_meter, taken = nodes.run(body)
    assert isinstance(digits, Refusal)
    assert isinstance(no_meter, Refusal)
    assert taken is None


def test_a_single_event_beside_one_of_a_stream_counts_once(nodes: Nodes) -> None:
    """Each is acknowledged, because nobody has judged the other; the judge finds the second."""

    async def body() -> None:
        assert await nodes.left.stream(submission("a").event, submission("b").event) is None
        assert await nodes.right.send(submission("a")) is None
        assert await nodes.right.send(submission("b")) is None
        await nodes.work()
        assert told([await nodes.right.send(submission("a"))]) == [duplicate("a")]

    nodes.run(body)
    books = nodes.pipeline.books()
    assert books == {"acknowledged": 4, "accepted": 2, "duplicate": 2, "pending": 0}


def test_events_are_packed_by_partition_in_their_order(nodes: Nodes) -> None:
    names = [f"e{number}" for number in range(20)]

    async def body() -> None:
        assert await nodes.left.stream(*(submission(name).event for name in names)) is None
        alone = [nodes.right.send(submission(f"alone {name}")) for name in names]
        assert await asyncio.gather(*alone) == [None] * len(names)

    nodes.run(body)
    with nodes.left.stores._ledger.read() as connection:
        for number in range(PARTITIONS):
            entries = journal.read(connection, 100, 100, 100_000, partitions=[number])
            found = [*journal.events_of(entries).one_by_one()]
            assert [event.identifier for event in found] == [
                name
                for name in [*names, *(f"alone {name}" for name in names)]
                if partition_of(identifier_digest(1, name), PARTITIONS) == number
            ]
            assert {event.meter for event in found} == {None}


Submitted = Submission | StreamSubmission


async def within(
    nodes: Nodes, monkeypatch: pytest.MonkeyPatch, left: Submitted, right: Submitted
) -> list[Answer]:
    """Let the left node commit something, and the right one wait for it in the middle of that."""
    add, begun, go_on = tallies.add, threading.Event(), threading.Event()

    def wait(*args: Any) -> None:
        add(*args)
        if not begun.is_set():
            begun.set()
            assert go_on.wait(30)

    monkeypatch.setattr(tallies, "add", wait)
    first = asyncio.create_task(nodes.left.send(left))
    assert await asyncio.to_thread(begun.wait, 30)
    second = asyncio.create_task(nodes.right.send(right))
    while not waits(nodes):  # noqa: ASYNC110 - nobody is told
        await asyncio.sleep(0.01)
    go_on.set()
    return [await first, await second]


def waits(nodes: Nodes) -> bool:
    """Tell whether a transaction waits for another one."""
    with nodes.pipeline.stores._ledger.read() as connection:
        waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'transactionid'"
        return bool(connection.exec_driver_sql(waiting).scalar_one())


def keyed(nodes: Nodes, name: str, body: str, *, streams: bool) -> Submitted:
    """Make a submission under the same key as all others; `body` tells what it asks for."""
    alone = submission(name, key="key", body=body)
    if not streams:
        return alone
    return StreamSubmission(1, nodes.left.acceptor.pack([alone.event]), alone.record)


@pytest.mark.parametrize("streams", [True, False])
def test_who_retries_at_another_node_at_once_hears_what_the_first_will(
    nodes: Nodes, monkeypatch: pytest.MonkeyPatch, streams: bool
) -> None:
    sent = keyed(nodes, "a", "", streams=streams)
    answers = nodes.run(lambda: within(nodes, monkeypatch, sent, sent))
    assert told(answers) == ["acknowledged", "replay"]
    assert nodes.pipeline.books() == {"acknowledged": 1, "pending": 1}
    assert nodes.pipeline.rows(tables.idempotency_records) == 1


@pytest.mark.parametrize("streams", [True, False])
def test_an_idempotency_key_is_for_one_request_at_both(
    nodes: Nodes, monkeypatch: pytest.MonkeyPatch, streams: bool
) -> None:
    first = keyed(nodes, "a", "one", streams=streams)
    other = keyed(nodes, "b", "another", streams=streams)
    [_, refusal] = nodes.run(lambda: within(nodes, monkeypatch, first, other))
    assert isinstance(refusal, Refusal)
    assert (refusal.status, refusal.type) == (400, "idempotency_error")
    assert nodes.pipeline.books() == {"acknowledged": 1, "pending": 1}


def test_an_identifier_is_taken_from_the_middle_of_a_commit_on(
    nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = submission("a", key="one"), submission("a", key="another", body="else")
    answers = nodes.run(lambda: within(nodes, monkeypatch, *sent))
    assert told(answers) == ["acknowledged", duplicate("a")]
    assert nodes.pipeline.books() == {"acknowledged": 1, "pending": 1}


def test_a_key_that_is_always_used_before_us_is_no_fault_of_ours(
    nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sender hears 503, and may try again."""

    def conflict(*_: Any) -> None:
        raise ConflictError

    async def body() -> None:
        with monkeypatch.context() as patched:
            patched.setattr(_Group, "write", conflict)
            with pytest.raises(StoreError, match="again and again"):
                await nodes.left.send(submission("a", key="key"))
        assert await nodes.left.send(submission("a", key="key")) is None

    nodes.run(body)


def test_what_a_commit_took_that_failed_is_free(
    nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def body() -> None:
        with monkeypatch.context() as patched:
            patched.setattr(tallies, "add", lambda *_: 1 // 0)
            with pytest.raises(ZeroDivisionError):
                await nodes.left.send(submission("a", key="key"))
        assert await nodes.right.send(submission("a", key="key")) is None

    nodes.run(body)
    assert nodes.pipeline.books() == {"acknowledged": 1, "pending": 1}


def test_a_node_that_was_taken_for_dead_refuses_until_it_begins_anew(nodes: Nodes) -> None:
    async def body() -> None:
        assert await nodes.left.send(submission("a")) is None
        with nodes.right.stores._ledger.write() as connection:
            connection.execute(sa.delete(tables.nodes))
        for refused in (nodes.left.send(submission("b")), nodes.left.stream(submission("c").event)):
            with pytest.raises(OvertakenError, match="taken for dead"):
                await refused
        await nodes.left.heartbeat.beat()
        assert await nodes.left.send(submission("b")) is None

    nodes.run(body)
    assert nodes.pipeline.books() == {"acknowledged": 2, "pending": 2}


def test_a_question_that_is_too_long_ago_is_asked_again(
    nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the usage store said may be older than what the ledger keeps."""
    monkeypatch.setattr(limits, "RECENT_CLAIM_SECONDS_MAX", 0)

    async def body() -> None:
        with pytest.raises(StoreError, match="must be asked again"):
            await nodes.left.send(submission("a"))
        monkeypatch.undo()
        assert await nodes.right.send(submission("a")) is None

    nodes.run(body)


def test_many_wait_for_one_question(nodes: Nodes, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = watch_claims(monkeypatch)

    async def body() -> None:
        names = [f"e{number}" for number in range(50)]
        sent = [nodes.left.send(submission(name)) for name in names]
        assert await asyncio.gather(*sent) == [None] * 50

    nodes.run(body)
    assert len(asked) <= 2


def test_a_question_that_is_not_answered_is_heard_by_its_senders(
    nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def silent(*_: object) -> None:
        raise StoreError("the usage store gave no answer")

    async def body() -> list[Any]:
        with monkeypatch.context() as patched:
            patched.setattr(UsageStore, "claims", silent)
            sent = (
                nodes.left.send(submission("a")),
                nodes.left.send(submission("b")),
                nodes.left.stream(submission("c").event),
            )
            answers = list(await asyncio.gather(*sent, return_exceptions=True))
        return [*answers, await nodes.left.send(submission("a"))]

    answers = nodes.run(body)
    assert [str(answer) for answer in answers[:2]] == ["the usage store gave no answer"] * 2
    assert answers[2:] == [None, None]
