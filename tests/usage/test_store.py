import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from meterhouse.errors import SlowError, StoreError
from meterhouse.limits import (
    EVENT_PAYLOAD_KEYS_MAX,
    EVENT_PAYLOAD_VALUE_CHARS_MAX,
    PROCESS_BATCH_BYTES_MAX,
    PROCESS_BATCH_EVENTS_MAX,
)
from meterhouse.metering.identifier import Claim, Claims, identifier_digest, partition_of
from meterhouse.metering.model import Scope
from meterhouse.metering.usage import SummaryQuery
from meterhouse.metering.value import read_value
from meterhouse.usage import block
from meterhouse.usage.store import Counts, UsageStore
from tests.metering.samples import at, meter
from tests.metering.test_value import NUMBERS
from tests.usage.child import BLOCK_ROWS
from tests.usage.samples import (
    accepted,
    accepted_blocks,
    cancelled_blocks,
    insert,
    new_scope,
    next_position,
    next_token,
    rejected,
    rejected_blocks,
    stored,
    writer,
)


def total(store: UsageStore, scope: Scope) -> int:
    asked = SummaryQuery(scope, meter(), "cus_1", at("1"), at("30"), None)
    return int(store.summaries(asked)[0].value)


@pytest.mark.parametrize(
    "text", ["plain", "'\\\"`", "a\tb\nc\rd", "\0", "é 😀 \u2028", "{x:String}", "\\N", ""]
)
def test_an_event_comes_back_as_it_went_in(store: UsageStore, scope: Scope, text: str) -> None:
    payload = {"stripe_customer_id": "cus_1", "value": text, f"key {text}": text}
    row = accepted(scope, "-0.000000000000001", identifier=text, payload=payload)
    insert(store, accepted_blocks([row], {scope.id: scope}))
    assert store.find(scope, "mtr_1", row.position) == stored(row, scope)


def test_an_event_is_found_only_where_it_is(store: UsageStore, scope: Scope) -> None:
    row = accepted(scope)
    insert(store, accepted_blocks([row], {scope.id: scope}))
    assert store.find(scope, "mtr_2", row.position) is None
    assert store.find(scope, "mtr_1", row.position + 1_000_000) is None
    assert store.find(new_scope(), "mtr_1", row.position) is None
    assert store.find(Scope(0, scope.account, livemode=True), "mtr_1", row.position) is None


def test_a_cancelled_event_is_still_found(store: UsageStore, scope: Scope) -> None:
    row = accepted(scope)
    insert(store, accepted_blocks([row], {scope.id: scope}))
    insert(store, cancelled_blocks([stored(row, scope)]))
    assert store.find(scope, "mtr_1", row.position) == stored(row, scope)
    assert total(store, scope) == 0


def test_a_block_repeated_under_its_token_counts_once(store: UsageStore, scope: Scope) -> None:
    [one] = accepted_blocks([accepted(scope)], {scope.id: scope})
    token = next_token()
    for _ in range(3):
        store.insert(one.destination, one.body, token)
    assert total(store, scope) == 25


def test_each_kind_of_block_inserted_again_is_there_once(store: UsageStore, scope: Scope) -> None:
    row = accepted(scope)
    blocks = [
        *accepted_blocks([row], {scope.id: scope}),
        *cancelled_blocks([stored(row, scope)]),
        *rejected_blocks([rejected(scope, "no_meter")], {scope.id: scope}),
    ]
    day = 20_000
    blocks += block.identifiers(Claims([new_digest()], [row.position], [day]))
    for one in blocks:
        for _ in range(3):
            store.insert_again(one.destination, one.body, next_token())
    assert store.counts()[scope.account, False] == Counts(1, 1, {"no_meter": 1})
    assert (day, 1) in store.claim_days(day)


@pytest.mark.parametrize(
    ("events", "keys"),
    [
        (PROCESS_BATCH_EVENTS_MAX, 1),
        (
            PROCESS_BATCH_BYTES_MAX // EVENT_PAYLOAD_KEYS_MAX // EVENT_PAYLOAD_VALUE_CHARS_MAX,
            EVENT_PAYLOAD_KEYS_MAX,
        ),
    ],
)
def test_the_largest_block_is_taken_whole(
    store: UsageStore, scope: Scope, events: int, keys: int
) -> None:
    payload = {f"key {number}": "x" * EVENT_PAYLOAD_VALUE_CHARS_MAX for number in range(keys)}
    rows = [accepted(scope, "1", payload=payload) for _ in range(events)]
    [one] = accepted_blocks(rows, {scope.id: scope})
    token = next_token()
    for _ in range(2):
        store.insert(one.destination, one.body, token)
    assert total(store, scope) == events
    parts = writer(store).query(
        "SELECT uniqExact(_part) FROM events WHERE account = {account:String}",
        parameters={"account": scope.account},
    )
    assert parts.result_rows == [(1,)]


def test_a_total_is_derived_from_texts_as_they_were_read(store: UsageStore, scope: Scope) -> None:
    texts = {
        f"mtr_{number}": text
        for number, (text, _) in enumerate(NUMBERS)
        if len(text) <= EVENT_PAYLOAD_VALUE_CHARS_MAX
    }
    read = {name: read_value(text, whole=False) for name, text in texts.items()}
    rows = [
        accepted(scope, str(read[name]), meter=name, payload={"value": text})
        for name, text in texts.items()
    ]
    insert(store, accepted_blocks(rows, {scope.id: scope}))
    totals = {name: store.total(scope, meter(id=name)) for name in texts}
    assert {name: total.derived for name, total in totals.items()} == read
    assert {name: total.stored for name, total in totals.items()} == read


def test_counts_by_account_and_mode(store: UsageStore, scope: Scope) -> None:
    live = Scope(scope.id + 1_000_000, scope.account, livemode=True)
    rows = [accepted(scope), accepted(scope), accepted(live)]
    scopes = {scope.id: scope, live.id: live}
    insert(store, accepted_blocks(rows, scopes))
    insert(store, cancelled_blocks([stored(rows[0], scope)]))
    refused = [rejected(scope, code) for code in ("no_meter", "archived_meter", "no_meter")]
    insert(store, rejected_blocks(refused, scopes))
    counts = store.counts()
    assert counts[scope.account, False] == Counts(2, 1, {"no_meter": 2, "archived_meter": 1})
    assert counts[scope.account, True] == Counts(1)


def test_counts_find_what_must_not_be(store: UsageStore, scope: Scope) -> None:
    scopes = {scope.id: scope}
    twice, also_rejected, cancelled_twice, right = (accepted(scope) for _ in range(4))
    never = accepted(scope)
    insert(store, accepted_blocks([twice, twice, also_rejected, cancelled_twice, right], scopes))
    again = [cancelled_twice, cancelled_twice, right, never]
    insert(store, cancelled_blocks([stored(row, scope) for row in again]))
    rejection = rejected(scope, "no_meter")
    changed = type(rejection)(also_rejected.position, rejection.event, None, "no_meter", "Why.")
    insert(store, rejected_blocks([changed], scopes))
    assert store.counts()[scope.account, False].wrong_positions == 4


# ---- Claims ----


def claim_all(store: UsageStore, *claims: Claim) -> None:
    digests, positions, days = (list(column) for column in zip(*claims, strict=True))
    insert(store, block.identifiers(Claims(digests, positions, days)))


def new_digest() -> bytes:
    return identifier_digest(1, f"identifier {next_position()}")


def test_a_claim_is_found_by_its_digest(store: UsageStore) -> None:
    one, other = Claim(new_digest(), 2**63 - 1, 7), Claim(new_digest(), 2, 8)
    claim_all(store, one, other)
    assert store.claims([one.digest]) == {one.digest: one}
    asked = [other.digest, new_digest(), one.digest, one.digest]
    assert store.claims(asked) == {one.digest: one, other.digest: other}
    assert store.claims([new_digest()]) == store.claims([]) == {}


def test_both_halves_of_a_digest_count(store: UsageStore) -> None:
    digest = new_digest()
    near = digest[:8] + bytes(8)
    claim_all(store, Claim(near, 1, 7))
    assert store.claims([digest]) == {}
    claim_all(store, Claim(digest, 2, 7))
    assert store.claims([digest, near]) == {
        digest: Claim(digest, 2, 7),
        near: Claim(near, 1, 7),
    }


def test_the_newest_of_several_claims_is_found(store: UsageStore) -> None:
    digest = new_digest()
    for position, day in ((5, 50), (9, 90), (1, 10)):
        claim_all(store, Claim(digest, position, day))
    assert store.claims([digest]) == {digest: Claim(digest, 9, 90)}


def test_many_digests_are_asked_about_in_several_statements(
    store: UsageStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("meterhouse.usage.store.USAGE_ASKED_DIGESTS_MAX", 3)
    claims = [Claim(new_digest(), number, 7) for number in range(10)]
    claim_all(store, *claims)
    assert store.claims([claim.digest for claim in claims]) == {
        claim.digest: claim for claim in claims
    }


@pytest.mark.parametrize("pieces", [1, 3, 7])
def test_the_digests_of_a_day_are_read_in_pieces(store: UsageStore, pieces: int) -> None:
    day = 10_000 + pieces
    ends = [bytes(16), b"\xff" * 16]
    digests = [new_digest() for _ in range(100)] + ends
    claim_all(store, *(Claim(digest, 1, day) for digest in digests), Claim(new_digest(), 1, 9_999))
    assert (day, 102) in store.claim_days(day)
    read = [store.claimed_on(day, piece, pieces, 1, [0]) for piece in range(pieces)]
    found = b"".join(read)
    firsts = sorted(found[at : at + 8] for at in range(0, len(found), 8))
    assert firsts == sorted(digest[:8] for digest in digests)
    some = store.claimed_on(day, 0, 1, 3, [0, 2])
    assert sorted(some[at : at + 8] for at in range(0, len(some), 8)) == sorted(
        digest[:8] for digest in digests if partition_of(digest, 3) != 1
    )
    if pieces > 1:
        assert all(len(piece) < len(found) for piece in read)


def test_claims_are_dropped_by_day(store: UsageStore) -> None:
    store.drop_before("identifiers", 1_000_000)
    claims = [Claim(new_digest(), 1, day) for day in (30_001, 30_002, 30_003)]
    claim_all(store, *claims)
    claim_all(store, Claim(new_digest(), 1, 30_002))
    assert store.claim_days(30_002) == [(30_002, 2), (30_003, 1)]
    assert store.drop_before("identifiers", 30_003) == 2
    assert store.claim_days(0) == [(30_003, 1)]
    assert store.claims([claim.digest for claim in claims]) == {claims[2].digest: claims[2]}
    assert store.drop_before("identifiers", 30_003) == 0
    claim_all(store, claims[0])
    assert store.claim_days(0) == [(30_001, 1), (30_003, 1)]


# ---- Many at a time ----


def test_questions_are_answered_side_by_side_with_inserts(store: UsageStore, scope: Scope) -> None:
    def write(_: int) -> None:
        insert(store, accepted_blocks([accepted(scope, "1")], {scope.id: scope}))

    with ThreadPoolExecutor(8) as pool:
        writes = [pool.submit(write, number) for number in range(20)]
        totals = [pool.submit(total, store, scope) for _ in range(40)]
        for one in writes:
            one.result()
        assert all(0 <= one.result() <= 20 for one in totals)
    assert total(store, scope) == 20


def test_a_block_that_cannot_be_read_is_refused(store: UsageStore) -> None:
    with pytest.raises(StoreError, match="took no block"):
        store.insert("events", b"no Arrow stream", next_token())


def run(command: str, url: str, *numbers: int) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "tests.usage.child", command, url, *map(str, numbers)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )


def put(url: str, number: int) -> list[int]:
    """Make sure of a block in another process; return the accepted events and wrong positions."""
    with run("put", url, number) as child:
        output, trouble = child.communicate(timeout=60)
    assert child.returncode == 0, trouble
    found: list[int] = json.loads(output)
    return found


def test_what_was_inserted_survives_kill_9(tmp_path: Path) -> None:
    url = f"chdb://{tmp_path / 'usage'}"
    acknowledged = -1
    for inserts in (1, 4, 9):
        with run("go", url, acknowledged + 1) as child:
            assert child.stdout is not None
            for _ in range(inserts):
                acknowledged = int(child.stdout.readline())
            child.kill()
            for line in child.stdout:
                acknowledged = int(line)
    assert put(url, acknowledged + 1) == [(acknowledged + 2) * BLOCK_ROWS, 0]


def forget_rows(folder: Path) -> None:
    """Leave the newest token without its rows, as a crash between the two does."""
    [part] = folder.glob("store/*/*/202611_2_2_0")
    shutil.rmtree(part)


def forget_tokens(folder: Path) -> None:
    """Leave the rows without their tokens, as a loss of power does."""
    for log in folder.glob("store/*/*/deduplication_logs/*.txt"):
        log.write_text("")


@pytest.mark.parametrize(("crash", "left"), [(forget_rows, 1), (forget_tokens, 2)])
def test_inserting_again_does_not_rely_on_the_engines_memory(
    tmp_path: Path, crash: Callable[[Path], None], left: int
) -> None:
    url = f"chdb://{tmp_path / 'usage'}"
    put(url, 0)
    assert put(url, 1) == [2 * BLOCK_ROWS, 0]
    crash(tmp_path / "usage")
    assert put(url, 0) == [left * BLOCK_ROWS, 0]
    assert put(url, 1) == [2 * BLOCK_ROWS, 0]


@pytest.mark.parametrize("bytes_max", [0, 500])
@pytest.mark.parametrize("command", ["cut", "cut-merge"])
def test_a_write_that_failed_is_found_out_and_loses_nothing(
    tmp_path: Path, command: str, bytes_max: int
) -> None:
    """Given writes that fail, as on a full disk, then it is told, and nothing stored is lost."""
    url = f"chdb://{tmp_path / 'usage'}"
    with run(command, url, 1, bytes_max) as child:
        told, trouble = child.communicate(timeout=60)
    assert "did not write all that it took; another process has to open it" in told, trouble
    with run("put", url, 2) as child:
        output, trouble = child.communicate(timeout=60)
    assert json.loads(output) == [3 * BLOCK_ROWS, 0]
    assert "broken and has been set aside: events" in trouble


def test_a_folder_serves_one_process(store: UsageStore) -> None:
    if store.path is None:
        pytest.skip("a server is no folder")
    with run("put", f"chdb://{store.place}", 0) as child:
        _, trouble = child.communicate(timeout=60)
    assert child.returncode == 1
    assert f"is in use by process {os.getpid()}, and a folder serves one process" in trouble


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("chdb://{folder}/file", "cannot open"),
        ("chdb://{folder}/what?", "holds a question mark"),
        ("clickhouse://user:secret@127.0.0.1:9", "at 127.0.0.1:9 cannot open"),
    ],
)
def test_what_cannot_be_opened(tmp_path: Path, url: str, sentence: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match=sentence) as refused:
        UsageStore.open(url.format(folder=tmp_path))
    assert "secret" not in str(refused.value)


ENDLESS = "SELECT count() FROM numbers_mt(1000000000000) WHERE NOT ignore(sipHash64(number))"


TRICKLE = "SELECT number, sleepEachRow(0.01) FROM numbers(1000000) SETTINGS max_block_size = 1"


@pytest.mark.parametrize("statement", [ENDLESS, TRICKLE])
def test_a_question_that_takes_too_long_for_its_lane_is_ended(
    store: UsageStore, statement: str
) -> None:
    """And what it had answered so far comes before no other answer."""
    with pytest.raises(SlowError, match="gave no answer in time"):
        store.ask("question", "quick", UsageStore.columns, statement, {})
    assert store.ask("question", "quick", UsageStore.columns, "SELECT 1 AS n", {}).num_rows == 1


def test_a_question_is_ended_from_another_thread(store: UsageStore) -> None:
    """Given one that runs and is ended, then it fails long before its time, and no other does."""

    def ask() -> None:
        with pytest.raises(StoreError) as failed:
            store.ask("question", "slow", UsageStore.columns, ENDLESS, {})
        found.append(failed.value)

    found: list[StoreError] = []
    asking = threading.Thread(target=ask)
    asking.start()
    while asking.is_alive():
        store.end("question")
        assert store.ask("another", "slow", UsageStore.claim_days, 0) is not None
    assert not isinstance(found[0], SlowError)
    store.end("question")
