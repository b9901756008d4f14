import re
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from meterhouse import limits
from meterhouse.cli.demo_traffic import COMPANIES, METERS, MISTAKES, DemoMeter, Event, Traffic

NOW = datetime(2026, 11, 25, 15, 20, tzinfo=UTC)  # a Wednesday
CUSTOMERS = {company.domain: f"cus_{rank}" for rank, company in enumerate(COMPANIES)}
LONG_AGO = "2020"


def events(number: int = 20_000, *, seed: int = 1, now: datetime = NOW) -> list[Event]:
    return list(Traffic(seed, number, now).events(CUSTOMERS))


def by_day(sent: list[Event]) -> Counter[str]:
    return Counter(re.findall(r"-(\d{8})\d\d-", " ".join(one["identifier"] for one in sent)))


def day(days_ago: int) -> str:
    return f"{NOW - timedelta(days=days_ago):%Y%m%d}"


def test_a_seed_makes_the_same_events_again() -> None:
    assert events(2_000) == events(2_000)
    assert events(2_000) != events(2_000, seed=2)


@pytest.mark.parametrize("number", [1, 7, 999, 20_000])
def test_as_many_are_made_as_asked_for(number: int) -> None:
    assert len(events(number)) == number


def test_they_happened_within_the_last_days() -> None:
    first = f"{NOW - timedelta(days=limits.DEMO_DAYS):%Y-%m-%dT%H}"
    stamps = [one["timestamp"] for one in events() if one["timestamp"][:4] != LONG_AGO]
    assert first <= min(stamps)
    assert max(stamps) <= "2026-11-25T15:20:00.000Z"


def test_what_comes_twice_is_the_same_event() -> None:
    sent = events()
    first = {one["identifier"]: one for one in sent}
    assert all(first[one["identifier"]] == one for one in sent)
    assert 0.001 < 1 - len(first) / len(sent) < 0.006


def test_a_later_run_sends_the_same_identifiers() -> None:
    earlier = {one["identifier"] for one in events()}
    later = {one["identifier"] for one in events(now=NOW + timedelta(minutes=20))}
    assert len(earlier & later) > 0.97 * len(earlier)


def test_usage_grows_rests_at_weekends_and_has_a_launch() -> None:
    days = by_day(events())
    assert days[day(1)] > 2 * days[day(29)]  # Tuesday and Tuesday
    assert days[day(4)] < 0.7 * days[day(2)]  # Saturday and Monday
    assert days[day(8)] > 1.7 * days[day(9)]  # the launch


def test_nights_are_quiet() -> None:
    hours = Counter(one["timestamp"][11:13] for one in events())
    assert max(hours.values()) > 1.5 * min(hours.values())


def test_companies_are_of_very_different_size() -> None:
    customers = Counter(one["payload"].get("stripe_customer_id") for one in events())
    known = [customers[one] for one in CUSTOMERS.values()]
    assert max(known) > 20 * min(known)
    assert min(known) > 0


def test_meters_have_all_their_dimensions_and_users_are_many() -> None:
    sent = events()
    users = {one["payload"].get("user_id") for one in sent}
    assert len(users) > 1_000
    for meter in METERS:
        mine = [one["payload"] for one in sent if one["event_name"] == meter.event_name]
        whole = [payload for payload in mine if {*meter.dimensions} <= payload.keys()]
        assert len(mine) > 0
        assert len(whole) > 0.98 * len(mine)


def test_values_are_texts_of_exact_decimals() -> None:
    values = [one["payload"]["value"] for one in events()]
    right = [value for value in values if re.fullmatch(r"\d+(\.\d{1,2})?", value)]
    assert len(right) > 0.98 * len(values)
    assert any("." in value for value in right)


def test_a_few_events_are_mistakes_of_every_kind() -> None:
    names = {meter.event_name for meter in METERS}
    sent = events(100_000)
    assert any(one["event_name"] not in names for one in sent)
    assert any(one["payload"]["value"] == "many" for one in sent)
    assert any(one["payload"]["value"].endswith(",5") for one in sent)
    assert any("customer_id" in one["payload"] for one in sent)
    assert any(one["payload"].get("stripe_customer_id", "").endswith("x") for one in sent)
    assert any(one["timestamp"].startswith(LONG_AGO) for one in sent)


@pytest.mark.parametrize("meter", METERS, ids=lambda meter: meter.event_name)
@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_changes_an_event_of_any_meter(
    meter: DemoMeter, mistake: Callable[[Event], None]
) -> None:
    [right] = [one for one in events(2_000) if one["event_name"] == meter.event_name][:1]
    before = repr(right)
    mistake(right)
    assert repr(right) != before


def test_companies_can_be_told_apart() -> None:
    assert len({company.email for company in COMPANIES}) == len(COMPANIES)
