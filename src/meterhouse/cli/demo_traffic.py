"""Invented traffic: a month of an AI product's usage, as believable as a few rules can make it.

What a reader may rely on:

- The same seed, number of events and present give the same events, in the order of their hours.
- An identifier is made of the seed, the hour and a number, so what was sent before is sent again as
  a duplicate and counts once.
- Exactly as many events are made as asked for. A few in a thousand are mistakes, or come twice.

Usage grows, sleeps at night and at weekends, each in its own part of the world, and has one launch;
companies are of very different size, come and go.
"""

# ruff: noqa: S311 - invented traffic needs no secrets, but must be repeatable

import math
import random
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from itertools import accumulate
from typing import Any, NamedTuple

from meterhouse.limits import DEMO_DAYS
from meterhouse.wire.timestamp import print_timestamp

Event = dict[str, Any]
Payload = dict[str, str]

_HOUR = timedelta(hours=1)
_GROWTH = 3.0  # from the first day to the last
_LAUNCH = {8: 2.6, 7: 1.9, 6: 1.4}  # days before the present, and how much more was used then
_UTC_OFFSETS = {"us-east": -5, "us-west": -8, "eu-west": 1, "eu-north": 1, "ap-south": 8}
_WEEKEND = (5, 6)
_AT_HOME = 0.85  # of requests come from the company's own region
_MISTAKES = 0.004
_CARELESS_MISTAKES = 0.06
_CARELESS_DAYS = range(2, 5)
_REPEATS = 0.003


class Company(NamedTuple):
    """A customer of the product: how large, where, since how many days before the present."""

    name: str
    domain: str
    size: float
    region: str
    tier: str
    users: int
    since: int
    until: int = 0
    weekends: float = 0.35

    @property
    def email(self) -> str:
        """The address by which a second run finds the customer of the first."""
        return f"billing@{self.domain}"


class DemoMeter(NamedTuple):
    """A meter of the product, its share of all events, and what makes a payload for it."""

    event_name: str
    display_name: str
    formula: str
    dimensions: tuple[str, ...]
    share: float
    payload: Callable[[random.Random, Company, int], Payload]


class Traffic:
    """The events of the `DEMO_DAYS` before `now`, which is in UTC."""

    def __init__(self, seed: int, events: int, now: datetime) -> None:
        self._seed = seed
        self._now = now
        self._events = events

    def events(self, customers: Mapping[str, str]) -> Iterator[Event]:
        """Yield the events; `customers` are the ids of the companies by their domains."""
        for hour, count in self._hours():
            yield from self._hour(hour, count, customers)

    def _hours(self) -> Iterator[tuple[datetime, int]]:
        """Yield each hour, and how many events are to be made for it."""
        present = self._now.replace(minute=0, second=0, microsecond=0)
        hours = [present - _HOUR * back for back in reversed(range(24 * DEMO_DAYS))]
        weights = [sum(self._weights(hour)) for hour in hours]
        weights[-1] *= (self._now - present) / _HOUR  # it is not over
        totals = list(accumulate(weights))
        made = 0
        for hour, total in zip(hours, totals, strict=True):
            due = round(self._events * total / totals[-1])
            yield hour, due - made
            made = due

    def _weights(self, hour: datetime) -> list[float]:
        """Return how much each company uses in an hour, relative to the others."""
        days_ago = (self._now.date() - hour.date()).days
        trend = _GROWTH ** (1 - days_ago / DEMO_DAYS) * _LAUNCH.get(days_ago, 1.0)
        return [trend * _demand(company, hour, days_ago) for company in COMPANIES]

    def _hour(self, hour: datetime, count: int, customers: Mapping[str, str]) -> Iterator[Event]:
        rng = random.Random(f"{self._seed}/{hour:%Y%m%d%H}")
        days_ago = (self._now.date() - hour.date()).days
        elapsed = min(int((self._now - hour).total_seconds()), 3_599)
        weights = list(accumulate(self._weights(hour)))
        event: Event = {}
        for number in range(count):
            if event and rng.random() < _REPEATS:
                yield event
                continue
            [company] = rng.choices(COMPANIES, cum_weights=weights)
            [meter] = rng.choices(METERS, cum_weights=_SHARES)
            second = int(rng.random() * elapsed)
            event = {
                "event_name": meter.event_name,
                "identifier": f"demo-{self._seed}-{hour:%Y%m%d%H}-{number}",
                "timestamp": print_timestamp(int(hour.timestamp() + second) * 1000),
                "payload": {
                    "stripe_customer_id": customers[company.domain],
                    **meter.payload(rng, company, days_ago),
                },
            }
            careless = company is COMPANIES[_CARELESS] and days_ago in _CARELESS_DAYS
            if rng.random() < (_CARELESS_MISTAKES if careless else _MISTAKES):
                rng.choice(MISTAKES)(event)
            yield event


def _demand(company: Company, hour: datetime, days_ago: int) -> float:
    """Return how much a company uses in an hour of an ordinary month."""
    if not company.until <= days_ago <= company.since:
        return 0.0
    local = hour + _HOUR * _UTC_OFFSETS[company.region]
    awake = 0.15 + math.exp(-(((local.hour - 14) / 4.5) ** 2))
    working = company.weekends if local.weekday() in _WEEKEND else 1.0
    ramp = min(1.0, (company.since - days_ago + 2) / 7) if company.since < DEMO_DAYS else 1.0
    return company.size * awake * working * ramp


# ---- Payloads: usage is made of whole numbers, so that no float touches it. ----


def _user(rng: random.Random, company: Company) -> str:
    """Return one of a company's users, some of whom do most of the work."""
    return f"{company.domain.partition('.')[0]}-user-{int(company.users * rng.random() ** 3):05d}"


def _region(rng: random.Random, company: Company) -> str:
    return company.region if rng.random() < _AT_HOME else rng.choice(list(_UTC_OFFSETS))


def _tokens(rng: random.Random, company: Company, _: int) -> Payload:
    [model] = rng.choices(list(_MODELS), weights=list(_MODELS.values()))
    [kind] = rng.choices(("input", "output", "cached"), weights=(50, 35, 15))
    length = rng.randint(5, 60) * rng.randint(4, 90)
    return {
        "value": str(length if kind == "output" else length * rng.randint(2, 9)),
        "model": model,
        "token_type": kind,
        "tier": company.tier,
        "user_id": _user(rng, company),
    }


def _requests(rng: random.Random, company: Company, _: int) -> Payload:
    [endpoint] = rng.choices(list(_ENDPOINTS), weights=list(_ENDPOINTS.values()))
    return {
        "value": "1",
        "endpoint": endpoint,
        "region": _region(rng, company),
        "user_id": _user(rng, company),
    }


def _agent_minutes(rng: random.Random, company: Company, _: int) -> Payload:
    hundredths = rng.randint(3, 90) * rng.randint(5, 60)
    [agent] = rng.choices(("coder", "researcher", "support", "analyst"), weights=(45, 25, 20, 10))
    return {
        "value": f"{hundredths // 100}.{hundredths % 100:02d}",
        "agent": agent,
        "region": _region(rng, company),
        "user_id": _user(rng, company),
    }


def _storage(rng: random.Random, company: Company, days_ago: int) -> Payload:
    tenths = int(company.users * 40 * (1.5 * DEMO_DAYS - days_ago)) + rng.randint(0, 99)
    return {"value": f"{tenths // 10}.{tenths % 10}", "region": company.region}


# ---- Mistakes: each changes an event into one that is rejected, on most meters. ----


def _misspelled_name(event: Event) -> None:
    event["event_name"] = _MISSPELLED[event["event_name"]]


def _value_in_words(event: Event) -> None:
    event["payload"]["value"] = "many"


def _value_with_comma(event: Event) -> None:
    event["payload"]["value"] = event["payload"]["value"] + ",5"


def _unknown_customer(event: Event) -> None:
    event["payload"]["stripe_customer_id"] += "x"


def _wrong_customer_key(event: Event) -> None:
    event["payload"]["customer_id"] = event["payload"].pop("stripe_customer_id")


def _missing_dimension(event: Event) -> None:
    """Leave out a dimension, which every meter of the demo has."""
    for key in ("model", "endpoint", "agent", "region"):
        if event["payload"].pop(key, None) is not None:
            return


def _long_ago(event: Event) -> None:
    event["timestamp"] = f"2020{event['timestamp'][4:]}"  # a leap year, so it has every date


MISTAKES = (
    _misspelled_name,
    _misspelled_name,
    _misspelled_name,
    _value_in_words,
    _value_with_comma,
    _unknown_customer,
    _unknown_customer,
    _wrong_customer_key,
    _missing_dimension,
    _long_ago,
)

_MISSPELLED = {
    "ai_tokens": "ai_tokns",
    "api_requests": "api_request",
    "agent_minutes": "agent_mintues",
    "storage_gb": "storage",
}
_MODELS = {"atlas-2-large": 22, "atlas-2-mini": 48, "atlas-embed": 18, "orion-1": 9, "orion-vl": 3}
_ENDPOINTS = {
    "/v1/chat": 52,
    "/v1/embeddings": 24,
    "/v1/search": 14,
    "/v1/files": 7,
    "/v1/batches": 3,
}

METERS = (
    DemoMeter("ai_tokens", "AI tokens", "sum", ("model", "token_type", "tier"), 0.58, _tokens),
    DemoMeter("api_requests", "API requests", "count", ("endpoint", "region"), 0.31, _requests),
    DemoMeter("agent_minutes", "Agent minutes", "sum", ("agent", "region"), 0.08, _agent_minutes),
    DemoMeter("storage_gb", "Storage (GB)", "last", ("region",), 0.03, _storage),
)
_SHARES = list(accumulate(meter.share for meter in METERS))


def _companies() -> tuple[Company, ...]:
    """Make the companies of the list: each is somewhat smaller than the one before it."""
    regions, tiers = list(_UTC_OFFSETS), ("enterprise", "pro", "pro", "free")
    made: list[Company] = []
    for rank, (name, domain) in enumerate(_NAMES):
        size = 100 / (rank + 1) ** 1.15
        made.append(
            Company(
                name,
                f"{domain}.example",
                size,
                regions[rank * 7 % len(regions)],
                tiers[min(rank * len(tiers) // len(_NAMES), len(tiers) - 1)],
                max(2, int(size * 45)),
                _SINCE.get(rank, DEMO_DAYS),
                _UNTIL.get(rank, 0),
                0.9 if rank in _CONSUMER else 0.35,
            )
        )
    return tuple(made)


_NAMES = (
    ("Northgate Robotics", "northgate"),
    ("Lumen & Vale", "lumenvale"),
    ("Halcyon Health", "halcyon"),
    ("Papertrail Legal", "papertrail"),
    ("Tidewater Bank", "tidewater"),
    ("Fernweh Travel", "fernweh"),
    ("Quillfeather", "quillfeather"),
    ("Blue Heron Games", "blueheron"),
    ("Kestrel Logistics", "kestrel"),
    ("Marigold Learning", "marigold"),
    ("Ostinato Music", "ostinato"),
    ("Basalt Security", "basalt"),
    ("Cinder & Co.", "cinder"),
    ("Überflug GmbH", "ueberflug"),
    ("ひまわり研究所", "himawari"),
    ("Foxglove Studio", "foxglove"),
    ("Granite Insurance", "granite"),
    ("Hollow Tree Books", "hollowtree"),
    ("Ironbark Mining", "ironbark"),
    ("Juniper Dental", "juniper"),
    ("Kelp Analytics", "kelp"),
    ("Larkspur Media", "larkspur"),
    ("Mosaic Retail", "mosaic"),
    ("Nimbus Weather", "nimbus"),
    ("Old Harbour Brewing", "oldharbour"),
    ("Pinwheel Toys", "pinwheel"),
    ("Quarry Lane Architects", "quarrylane"),
    ("Redshift Observatory", "redshift"),
    (
        "The Incorporated Society of Lighthouse Keepers and Maritime Signal Operators",
        "lighthousekeepers",
    ),
    ("Saffron Kitchens", "saffron"),
    ("Thistle Pharma", "thistle"),
    ("Umbra Films", "umbra"),
    ("Vesper", "vesper"),
    ("Wren & Daughters", "wren"),
    ("Yarrow Farms", "yarrow"),
    ("Zephyr Bikes", "zephyr"),
)
_SINCE = {5: 16, 9: 8, 20: 21, 31: 3}  # the rank of a company, and since how many days ago it is
_UNTIL = {7: 11, 17: 5}  # the rank of a company that left, and how many days ago
_CONSUMER = (5, 7, 10, 25)  # used at weekends, too
_CARELESS = 3
COMPANIES = _companies()
