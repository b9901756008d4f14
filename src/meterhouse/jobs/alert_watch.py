"""The active alerts by what they measure, and whom to ask about when usage has come in.

What a reader may rely on: whoever has used something since an alert was made, and has reached a
step of it, is asked about. What is known of totals is forgotten where an alert changes.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import NamedTuple

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.compute as pc  # type: ignore[import-untyped]

from meterhouse.billing.alert import Alert, Measure, Step
from meterhouse.billing.period import Period
from meterhouse.jobs.alert_totals import Numbers, Totals
from meterhouse.limits import ALERT_TOTALS_ROWS_MAX
from meterhouse.metering.model import Meter
from meterhouse.metering.window import MILLISECONDS

_DAY = MILLISECONDS["day"]


class Use(NamedTuple):
    """What customers have used of a meter: columns, a row for each customer."""

    customers: list[str]
    used: Numbers
    first: Numbers
    last: Numbers
    position: Numbers

    @classmethod
    def of(cls, rows: pa.RecordBatch, meter: Meter) -> "Use":
        """Return what rows of one meter say, as `usage.touched` makes them."""
        used = "events" if meter.formula == "count" else "used"
        numbers = (rows[name].to_numpy() for name in (used, "first", "last", "position"))
        return cls(rows["customer"].to_pylist(), *numbers)

    def at(self, places: Sequence[int]) -> "Use":
        """Return what some of the customers have used."""
        some = np.array(places, np.int64)
        customers = [self.customers[place] for place in places]
        return Use(customers, *(column[some] for column in self[1:]))


class Asked(NamedTuple):
    """A customer whose total in a period has to be known; its newest event has the position."""

    group: "Group"
    meter: Meter
    period: Period
    customer: str
    position: int


class Reached(NamedTuple):
    """A step of an alert that a customer has reached in a period, and by which total."""

    alert: Alert
    number: int
    step: Step
    period: Period
    customer: str
    total: Decimal


class Group:
    """The active alerts of one measure."""

    def __init__(self, measure: Measure) -> None:
        self.measure = measure
        self.alerts: dict[str, Alert] = {}
        self._totals: defaultdict[int, Totals] = defaultdict(Totals)

    def __len__(self) -> int:
        return sum(map(len, self._totals.values()))

    def forget(self, customer: str | None = None) -> None:
        """Know nothing of the totals of a customer any more, or of everybody's."""
        if customer is None:
            self._totals.clear()
        for totals in self._totals.values():
            totals.forget(customer or "")

    def asked(self, use: Use, meter: Meter) -> Iterator[Asked]:
        """Add what was used; return whom to ask about."""
        about = {one.customer for one in self.alerts.values()}
        if None not in about:
            use = use.at([place for place, one in enumerate(use.customers) if one in about])
        for period, some in self._by_period(use):
            places: Iterable[int] = range(len(some.customers))
            if meter.slotted:  # else a total may rise by more than what is used
                places = self._totals[period.start].add(some.customers, some.used)
            for place in places:
                customer, position = some.customers[place], int(some.position[place])
                yield Asked(self, meter, period, customer, position)

    def reached(self, asked: Asked, total: Decimal) -> list[Reached]:
        """Hear the total of a customer; return the steps that it has reached."""
        reached: list[Reached] = []
        next_step: Decimal | None = None
        for alert in self.alerts.values():
            if alert.customer not in (None, asked.customer):
                continue
            for number, step in enumerate(alert.lines):
                if total >= step.gte and asked.position > alert.since:
                    one = Reached(alert, number, step, asked.period, asked.customer, total)
                    reached.append(one)
                else:
                    next_step = step.gte if next_step is None else min(next_step, step.gte)
        if asked.meter.slotted:
            self._totals[asked.period.start].learn(asked.customer, total, next_step)
        return reached

    def _by_period(self, use: Use) -> Iterator[tuple[Period, Use]]:
        """Return what was used in each period that may have some of it.

        Whose events lie in several may have used all of it in each of these.
        """
        if self.measure.recurs == "one_time":
            yield self.measure.period_at(0), use
            return
        places: defaultdict[Period, list[int]] = defaultdict(list)
        days = zip((use.first // _DAY).tolist(), (use.last // _DAY).tolist(), strict=True)
        periods: dict[tuple[int, int], list[Period]] = {}
        for place, both in enumerate(days):
            if both not in periods:
                periods[both] = self.measure.periods(both[0] * _DAY, both[1] * _DAY)
            for period in periods[both]:
                places[period].append(place)
        for period, some in places.items():
            yield period, use.at(some)


class Watch:
    """All active alerts, as they were at a `revision`."""

    def __init__(self) -> None:
        self.revision = 0
        self._alerts: dict[str, Alert] = {}
        self._groups: defaultdict[str, dict[Measure, Group]] = defaultdict(dict)  # by meter

    def __bool__(self) -> bool:
        return bool(self._alerts)

    def change(self, changed: Iterable[Alert]) -> None:
        """Hear which alerts are new or have changed."""
        for alert in changed:
            groups = self._groups[alert.meter]
            if self._alerts.pop(alert.id, None) is not None:
                del groups[alert.measure].alerts[alert.id]
                if not groups[alert.measure].alerts:
                    del groups[alert.measure]
            if alert.status == "active":
                group = groups.setdefault(alert.measure, Group(alert.measure))
                group.alerts[alert.id] = self._alerts[alert.id] = alert
                group.forget(alert.customer)
            self.revision = max(self.revision, alert.revision)

    def asked(self, rows: pa.RecordBatch, meters: Mapping[str, Meter]) -> list[Asked]:
        """Add what rows of `usage.touched` say was used; return whom to ask about."""
        every = [group for groups in self._groups.values() for group in groups.values()]
        if sum(map(len, every)) > ALERT_TOTALS_ROWS_MAX:
            for group in every:
                group.forget()
        asked: list[Asked] = []
        for number, meter in enumerate(rows["meter"].dictionary.to_pylist()):
            groups = self._groups.get(meter)
            if groups:
                own = rows.filter(pc.equal(rows["meter"].indices, number))
                use = Use.of(own, meters[meter])
                asked += [
                    one for group in groups.values() for one in group.asked(use, meters[meter])
                ]
        return asked
