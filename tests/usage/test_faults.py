"""A ClickHouse server whose answers get lost: every block is there once."""

from collections.abc import Iterator

import pytest

from meterhouse.errors import StoreError
from meterhouse.metering.model import Scope
from meterhouse.metering.usage import SummaryQuery
from meterhouse.usage.store import UsageStore
from tests.clickhouse import Double
from tests.metering.samples import at, meter
from tests.usage.samples import accepted, accepted_blocks, next_token


@pytest.fixture(scope="module")
def remote(clickhouse_server: Double) -> Iterator[UsageStore]:
    opened = UsageStore.open(clickhouse_server.url)
    yield opened
    opened.close()


@pytest.mark.parametrize(("kind", "heard"), [("drop", True), ("refuse", True), ("503", False)])
def test_a_block_counts_once_whatever_is_heard(
    clickhouse_server: Double, remote: UsageStore, scope: Scope, kind: str, *, heard: bool
) -> None:
    """Given an insert that is done and not answered, or not done, then repeating it is right."""
    [one] = [
        block
        for block in accepted_blocks([accepted(scope, "7")], {scope.id: scope})
        if block.destination == "events"
    ]
    token = next_token()
    clickhouse_server.fail(kind)
    if heard:  # the driver repeats it, under the same token
        remote.insert(one.destination, one.body, token)
    else:
        with pytest.raises(StoreError, match="took no block"):
            remote.insert(one.destination, one.body, token)
    remote.insert_again(one.destination, one.body, token)
    asked = SummaryQuery(scope, meter(), "cus_1", at("1"), at("30"), None)
    [summary] = remote.summaries(asked)
    assert summary.value == 7
