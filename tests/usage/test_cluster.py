"""A cluster: where rows go, what is asked of whom, and what a replica that lags behind would do.

Nothing is replicated or distributed here, see `tests.clickhouse_cluster`.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import closing
from decimal import Decimal
from string import Template
from typing import Any

import pytest
from clickhouse_connect.driver.exceptions import Error as DriverError

from meterhouse.errors import StoreError
from meterhouse.metering.identifier import Claim, Claims, identifier_digest
from meterhouse.metering.meter_usage import Filter, MeterQuestion, MeterUsageQuery, plan, windows_of
from meterhouse.metering.model import Scope
from meterhouse.metering.overview import Overview
from meterhouse.metering.search import EventSearch
from meterhouse.metering.usage import PeriodQuery, SummaryQuery
from meterhouse.metering.window import SLOT
from meterhouse.usage import (
    block,
    cluster,
    counted,
    erase,
    identity,
    overview,
    periods,
    queries,
    rebuild,
    request_logs,
    schema,
    search,
    selection,
)
from meterhouse.usage.block import Block
from meterhouse.usage.counted import Place, Range
from meterhouse.usage.rebuild import Positions, Slots
from meterhouse.usage.servers import Host
from meterhouse.usage.store import UsageStore
from tests.clickhouse_cluster import NAME, PLAIN, ClusterDouble, clickhouse_cluster
from tests.metering.samples import at, meter
from tests.usage.samples import (
    accepted,
    accepted_blocks,
    cancelled_blocks,
    event_rows,
    insert,
    new_scope,
    next_position,
    next_token,
    rejected,
    rejected_blocks,
    slot_blocks,
    stored,
)

METER = meter(id="mtr_cluster", dimension_keys=("model",))
LAST = meter(id="mtr_last", formula="last", dimension_keys=("model",))
DAILY = meter(id="mtr_daily", formula="sum", event_time_window="day")
SHARDS = 2
WITHOUT_DIMENSIONS = "totals without dimensions"  # which a rebuild does not make
HOST = Host("127.0.0.1", None)


@pytest.fixture(scope="module")
def store(two_shards: ClusterDouble) -> Iterator[UsageStore]:
    opened = UsageStore.open(two_shards.url)
    yield opened
    opened.close()


def blocks_of(scope: Scope, events: int = 60) -> list[Block]:
    """Make a block for each table, of events of as many customers."""
    rows = [
        accepted(scope, "1", meter=METER.id, customer=f"cus_{number}", payload={"model": "a"})
        for number in range(events)
    ]
    wrong = [rejected(scope, "no_meter", identifier=f"wrong {row.position}") for row in rows]
    claims = [identifier_digest(scope.id, str(row.position)) for row in rows]
    days = [30_000 + scope.id] * events
    events_of = event_rows(rows, {scope.id: scope})
    return [
        *accepted_blocks(rows, {scope.id: scope}),
        *accepted_blocks(rows, {scope.id: scope}, "duplicate_events"),
        *rejected_blocks(wrong, {scope.id: scope}),
        *slot_blocks(events_of, {METER.id: METER}, next_position(), partition=3),
        *block.identifiers(Claims(claims, [row.position for row in rows], days)),
    ]


def rows_at(store: UsageStore, table: str, wanted: str) -> list[int]:
    """Count the rows of a table at each shard."""
    sql = f"SELECT count() AS n FROM {table} WHERE {wanted}"  # noqa: S608
    return [row["n"] for row in store.rows_of_each(sql, {})]


def test_each_shard_stores_its_rows_of_a_block_once(store: UsageStore, scope: Scope) -> None:
    blocks = blocks_of(scope)
    for one in blocks:
        assert not store.holds(one.destination, one.body)
        token = next_token()
        store.insert(one.destination, one.body, token)
        store.insert_again(one.destination, one.body, token)
        assert store.holds(one.destination, one.body)
    account = f"account = '{scope.account}'"
    for one, wanted in zip(
        blocks,
        [account, account, account, f"meter = '{METER.id}'", f"day = {30_000 + scope.id}"],
        strict=True,
    ):
        counts = rows_at(store, one.destination, wanted)
        assert sum(counts) == one.rows
        assert len(counts) == SHARDS
        assert all(counts)
    assert store.counts()[scope.account, False].accepted == 60


def test_rows_that_belong_together_are_at_one_shard(scope: Scope) -> None:
    """A cancellation beside its event, the slots of a customer beside each other."""
    rows = [accepted(scope, "1", customer=f"cus_{number % 7}") for number in range(70)]
    [events] = accepted_blocks(rows, {scope.id: scope})
    [cancelled] = cancelled_blocks([stored(row, scope) for row in rows])
    where = [
        {
            customer: number
            for number, piece in cluster.split("events", one.body, 3)
            for customer in block.read(piece)["customer"].to_pylist()
        }
        for one in (events, cancelled)
    ]
    assert where[0] == where[1]
    assert len(where[0]) == 7
    pieces = [list(cluster.split("events", events.body, 3)) for _ in range(2)]
    assert pieces[0] == pieces[1]


@pytest.mark.parametrize("kind", ["503", "down"])
def test_a_shard_that_did_not_hear_of_its_piece_gets_it_later(
    two_shards: ClusterDouble, store: UsageStore, scope: Scope, kind: str
) -> None:
    """Given a block of which one shard has its piece, then it is not there until both have."""
    [one] = accepted_blocks(
        [accepted(scope, "1", customer=f"cus_{number}") for number in range(20)], {scope.id: scope}
    )
    token = next_token()
    two_shards.fail(1, kind, 10)
    with pytest.raises(StoreError, match="took no block"):
        store.insert(one.destination, one.body, token)
    two_shards.fail(1, kind, 0)
    assert 0 < store.counts()[scope.account, False].accepted < 20
    assert not store.holds(one.destination, one.body)
    for _ in range(2):
        store.insert_again(one.destination, one.body, token)
    assert store.counts()[scope.account, False].accepted == 20


def test_claims_are_found_at_any_shard(store: UsageStore, scope: Scope) -> None:
    digests = [identifier_digest(scope.id, str(number)) for number in range(50)]
    positions = [next_position() for _ in digests]
    [one] = block.identifiers(Claims(digests, positions, [40_000] * 50))
    store.insert(one.destination, one.body, next_token())
    claims = zip(digests, positions, strict=True)
    assert store.claims(digests) == {each: Claim(each, place, 40_000) for each, place in claims}
    assert store.drop_before("identifiers", 40_001) >= 1
    assert store.claims(digests) == {}


def test_a_rebuild_makes_the_slots_of_each_shard(store: UsageStore) -> None:
    """Given a version that was begun and given up on, then the next one takes its place."""
    scope = new_scope()
    one = meter(id="mtr_rebuilt", dimension_keys=("model",), dimension_version=3)
    rows = [
        accepted(scope, "2", meter=one.id, customer=f"cus_{number}", payload={"model": "a"})
        for number in range(30)
    ]
    insert(store, accepted_blocks(rows, {scope.id: scope}))
    insert(store, cancelled_blocks([stored(rows[0], scope)]))
    everything = Positions(0, 2**63)
    begun, slots = (Slots(scope, one.id, version, ("model",)) for version in (2, 3))
    assert [month.events for month in rebuild.find_months(store, slots, everything)] == [30]
    rebuild.add_month(store, begun, 202611, everything)
    rebuild.clear_abandoned(store, slots, former=1)
    assert rows_at(store, "usage_slots", f"meter = '{one.id}'") == [0, 0]
    rebuild.add_month(store, slots, 202611, everything)
    rebuild.add_month(store, slots, 202611, None)
    assert {each.kind for each in store.unlike_slots(scope, one)} == {WITHOUT_DIMENSIONS}
    assert all(rows_at(store, "usage_slots", f"meter = '{one.id}' AND customer != ''"))


def test_every_shard_knows_the_identity(store: UsageStore) -> None:
    for name in ("first", "second"):
        identity.take_over(store, name)
        assert identity.read(store) == name
    assert rows_at(store, "store_identity", "identity = 'second'") == [1, 1]


# ---- What a cluster would refuse ----

SCOPE = Scope(1, "acct_1", livemode=False)
QUESTIONS = [
    MeterQuestion(METER),
    MeterQuestion(METER, dimension_group_by_keys=("model",)),
    MeterQuestion(METER, tenant_group_by_keys=("user",)),
    MeterQuestion(LAST, dimension_filters=(Filter("model", ("a",)),)),
    MeterQuestion(DAILY, tenant_group_by_keys=("user",)),
]
SEARCHES = [
    EventSearch(scope=SCOPE),
    EventSearch(scope=SCOPE, outcome="rejected", customer="cus_1", customer_keys=("who",)),
    EventSearch(scope=SCOPE, identifiers=("a",), received=(0, 1)),
]
# Something of each type that a statement binds.
VALUES: dict[str, Any] = {
    "Array(String)": ["a"],
    "Array(Tuple(UInt16, UInt64))": [(0, 1)],
    "Array(UInt64)": [1],
    "Array(UInt32)": [1],
    "Bool": False,
    "String": "a",
}


def texts() -> Iterator[tuple[str, dict[str, Any]]]:
    """Return every statement that reads tables of ours and is a text, and what it binds."""
    for module in (queries, search, identity, request_logs, erase):
        for text in vars(module).values():
            reads = isinstance(text, str) and text.lstrip().startswith("SELECT")
            if reads and "%s" not in text and "FROM system." not in text and "FROM" in text:
                names = re.findall(r"{(\w+):([^{}]+)}", text)
                yield text, {name: VALUES.get(kind, 1) for name, kind in names}


def counting(billed: Sequence[PeriodQuery]) -> list[tuple[str, dict[str, Any]]]:
    """Return the statements that count usage, where slots tell of some at a range's end."""
    made = []
    slot = billed[0].end // SLOT * SLOT // 1_000

    def read(sql: str, values: dict[str, Any]) -> list[periods.Row]:
        made.append((sql, values))
        some = periods.Row(slot, METER.id, "cus_1", 1, Decimal(1))
        return [some] if "usage_slots" in sql else []

    periods.answer(SCOPE, billed, read)
    return made


def made() -> Iterator[tuple[str, dict[str, Any]]]:
    """Return statements that are made of questions, of every kind."""
    for one in (METER, LAST, DAILY):
        yield queries.summary(SummaryQuery(SCOPE, one, "cus_1", at("1"), at("2"), "day"))
    for question in QUESTIONS:
        for customer in ("cus_1", None):
            query = MeterUsageQuery(
                scope=SCOPE, customer=customer, start=at("1"), end=at("3"), questions=(question,)
            )
            planned = plan(query, windows_of(query))
            yield from (selection.select(query, planned, each) for each in planned.selections)
            for top in (None, 2):
                for by_customer in (False, True):
                    asked = Overview(query=query, top=top, by_customer=by_customer)
                    yield overview.answer(asked)
                    if top is None:
                        yield overview.count(asked)
    billed = [PeriodQuery(one, "cus_1", at("1"), at("3") + 1) for one in (METER, LAST, DAILY)]
    yield from counting(billed)
    for one in (METER, LAST, DAILY):
        range_ = Range(
            scope=SCOPE, meter=one, customer="cus_1", start=at("1"), end=at("3"), as_of=at("4")
        )
        yield counted.page(range_, Place(at("2"), 7), 3, oldest=True)
        yield counted.counting(range_, Place(at("2"), 7), [7])
    for wanted in SEARCHES:
        yield search.find(wanted, search.EVERYTHING)
        yield search.newest(wanted, "accepted", search.EVERYTHING)
        yield search.count_rejected(wanted, search.EVERYTHING)
        yield search.rejected_kinds(wanted, 3)
    yield request_logs.select(request_logs.Query(SCOPE, 3))
    yield rebuild.months(Slots(SCOPE, METER.id, 1, ("model",)), None)


@pytest.fixture(scope="module")
def distributed(store: UsageStore) -> UsageStore:
    """Make the tables over all shards as a real cluster does: none of its servers is reached."""
    [any_shard, _] = store._shards.every
    with any_shard.writer() as client:
        client.command(f"{PLAIN}CREATE DATABASE plain")
        for table in schema.TABLES:
            client.command(
                f"{PLAIN}CREATE TABLE plain.{table} AS server_1.{table}"
                f" ENGINE = Distributed('{NAME}', 'default', '{table}')"
            )
    return store


def refused(store: UsageStore, sql: str, values: dict[str, Any]) -> str:
    """Return what the engine has against a statement."""
    settings = {"database": "plain", **cluster.READ_SETTINGS}
    with store._shards.every[0].writer() as client, pytest.raises(DriverError) as refusal:
        client.raw_query(PLAIN + sql, values, settings, use_database=False)
    return str(refusal.value)


def test_every_question_is_one_that_a_cluster_answers(distributed: UsageStore) -> None:
    """Given tables whose servers cannot be reached, then that is all that is wrong."""
    statements = [*texts(), *made()]
    assert len(statements) > 60
    for sql, values in statements:
        problem = refused(distributed, sql, values)
        assert "ALL_REPLICAS_ARE_STALE" in problem or "ALL_CONNECTION_TRIES_FAILED" in problem, sql


def test_a_question_that_a_shard_would_answer_by_its_own_rows_is_refused(
    distributed: UsageStore,
) -> None:
    sql = "SELECT count() FROM events WHERE position NOT IN (SELECT position FROM events)"
    assert "DISTRIBUTED_IN_JOIN_SUBQUERY_DENIED" in refused(distributed, sql, {})


def test_the_tables_are_replicated_ones(distributed: UsageStore) -> None:
    """Given no Keeper, then the lack of it is all that is wrong with the statements."""
    for sql in schema.TABLES.values():
        text = Template(sql).substitute(schema._CLUSTER, on_cluster="")
        text = text.replace("EXISTS ", "EXISTS replicated_")
        assert "NO_ZOOKEEPER" in refused(distributed, text, {})


def test_a_cluster_that_the_server_does_not_know(two_shards: ClusterDouble) -> None:
    url = two_shards.url.replace(f"cluster={NAME}", "cluster=another")
    with pytest.raises(StoreError, match="knows no cluster 'another'"):
        UsageStore.open(url)


# ---- Replicas ----


@pytest.fixture(scope="module")
def replicas(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClusterDouble]:
    with clickhouse_cluster(tmp_path_factory.mktemp("replicas"), shards=1, replicas=2) as started:
        yield started


def used(store: UsageStore, scope: Scope) -> int:
    asked = SummaryQuery(scope, meter(), "cus_1", at("1"), at("30"), None)
    return int(store.summaries(asked)[0].value)


@pytest.fixture
def replicated(replicas: ClusterDouble) -> Iterator[UsageStore]:
    opened = UsageStore.open(replicas.url)
    yield opened
    replicas.fail(0, "down", 0)
    opened.close()


def fail_over(replicas: ClusterDouble, store: UsageStore, scope: Scope) -> tuple[Block, str]:
    """Insert a block, of which the answer is lost; from then on another replica is asked."""
    [one] = accepted_blocks([accepted(scope, "7")], {scope.id: scope})
    token = next_token()
    store.insert(one.destination, one.body, token)
    replicas.fail(0, "down", 1_000)
    return one, token


def reversed_hosts(replicas: ClusterDouble) -> str:
    """Return the URL by which the other replica is home."""
    hosts = replicas.hosts
    return replicas.url.replace(f"@{','.join(hosts)}/", f"@{','.join(hosts[::-1])}/")


def test_a_replica_that_lags_behind_would_make_a_block_count_twice(
    replicas: ClusterDouble,
    replicated: UsageStore,
    scope: Scope,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Given nobody who waits for it, then the token is known there and its rows are not."""
    one, token = fail_over(replicas, replicated, scope)
    with monkeypatch.context() as patched:
        patched.setattr(replicated._shards.every[0].address, "_catch_up", None)
        patched.setattr(cluster, "sync", lambda *_: None)
        replicated.insert_again(one.destination, one.body, token)
    replicated.sync()
    assert used(replicated, scope) == 14


def test_a_block_is_looked_for_once_the_replica_has_caught_up(
    replicas: ClusterDouble, replicated: UsageStore, scope: Scope
) -> None:
    one, token = fail_over(replicas, replicated, scope)
    replicated.insert_again(one.destination, one.body, token)
    assert used(replicated, scope) == 7


def test_whoever_comes_to_another_replica_sees_what_was_stored(
    replicas: ClusterDouble, replicated: UsageStore, scope: Scope
) -> None:
    """Given a server that is lost while it is asked, then the question is answered elsewhere."""
    fail_over(replicas, replicated, scope)
    assert used(replicated, scope) == 7


def test_others_are_waited_for(
    replicas: ClusterDouble, replicated: UsageStore, scope: Scope
) -> None:
    """Given a store that asks another replica than we write to, then it syncs to see our block."""
    [one] = accepted_blocks([accepted(scope, "7")], {scope.id: scope})
    with closing(UsageStore.open(reversed_hosts(replicas))) as elsewhere:
        replicated.insert(one.destination, one.body, next_token())
        assert used(elsewhere, scope) == 0
        elsewhere.sync()
        assert used(elsewhere, scope) == 7


def test_a_rebuild_misses_nothing_that_another_replica_has(
    replicas: ClusterDouble, replicated: UsageStore, scope: Scope
) -> None:
    one = meter(id="mtr_elsewhere", dimension_keys=("model",))
    rows = [accepted(scope, "1", meter=one.id, payload={"model": "a"}) for _ in range(3)]
    slots = Slots(scope, one.id, 1, ("model",))
    everything = Positions(0, 2**63)
    with closing(UsageStore.open(reversed_hosts(replicas))) as elsewhere:
        insert(replicated, accepted_blocks(rows, {scope.id: scope}))
        assert [month.events for month in rebuild.find_months(elsewhere, slots, everything)] == [3]
        insert(replicated, accepted_blocks(rows[:1], {scope.id: scope}))
        rebuild.add_month(elsewhere, slots, 202611, everything)
        [events, _] = elsewhere.columns(
            "SELECT sum(events) AS events FROM usage_slots WHERE meter = {meter:String}"
            " GROUP BY customer",
            {"meter": one.id},
        )["events"].to_pylist()
        assert events == 4


def test_most_of_three_replicas_have_a_block() -> None:
    assert "insert_quorum" not in cluster.settings_of([[HOST] * 2])
    assert cluster.settings_of([[HOST] * 3, [HOST] * 3])["insert_quorum"] == "auto"
    assert "insert_quorum" not in cluster.settings_of([[HOST] * 3, [HOST] * 2])
