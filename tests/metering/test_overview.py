from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from meterhouse.metering.meter_usage import MeterQuestion, MeterUsageQuery, windows_of
from meterhouse.metering.model import Scope
from meterhouse.metering.overview import Overview, pieces
from tests.metering.samples import DAY, HOUR, NOW, meter


@given(
    st.integers(0, 40 * 24),
    st.integers(0, 100),
    st.sampled_from(["day", "hour", None]),
    st.integers(1, 7),
)
def test_pieces_are_the_whole(start: int, hours: int, window: str | None, count: int) -> None:
    query = MeterUsageQuery(
        scope=Scope(1, "acct_1", livemode=False),
        customer=None,
        start=NOW // DAY * DAY + start * HOUR,
        end=NOW // DAY * DAY + (start + hours) * HOUR,
        questions=(MeterQuestion(meter()),),
        window=window,  # type: ignore[arg-type]
        zone="Asia/Kathmandu",
    )
    windows = windows_of(query)
    parts = [one.query for one in pieces(Overview(query=query), windows, count)]
    assert [window for part in parts for window in windows_of(part)] == list(windows)
    if parts:
        assert (parts[0].start, parts[-1].end) == (query.start, query.end)
        assert all(one.end == other.start for one, other in pairwise(parts))
