"""The statements that answer an overview: one for each question of it.

What a reader may rely on, beside what `usage.queries` says: a row is the number of a `window`,
whether it is what all `other` groups come to, the values of its group in `group_0`, `group_1` …
(empty where it is other), and the `usage` as text. There is a group even where nothing is asked to
be told apart; its one value is empty.
"""

from decimal import Decimal
from string import Template
from typing import Any

from meterhouse.limits import USAGE_BATCH_ROWS_MAX
from meterhouse.metering.meter_usage import plan, windows_of
from meterhouse.metering.overview import Overview
from meterhouse.usage.selection import OF_ALL, OF_EACH, Parts, parts_of
from meterhouse.usage.store import UsageStore

# What each group comes to in each window; of the formula `last` one value of each customer.
ADDED = Template("""
    SELECT $window AS window, $keyed, sum($counted) AS counted, $usage AS usage
    FROM $source
    GROUP BY window, $keys
""")
ADDED_LAST = Template("""
    SELECT window, $keys, sum(counted) AS counted, sum(usage) AS usage
    FROM (
        SELECT
            $window AS window, $keyed, sum($counted) AS counted, toDecimal256($usage, 15) AS usage
        FROM $source
        GROUP BY window, $keys, customer
    )
    GROUP BY window, $keys
""")

ANSWER = Template("""
SELECT window, other, $groups, toString(sum(usage)) AS usage
FROM ($found)
GROUP BY window, other, $groups
HAVING sum(counted) > 0
ORDER BY window, other, $groups
LIMIT {rows_max:UInt32}
""")

# All groups, or the first ones by their usage over the whole range and what the others come to.
# That follows from their usage in each window, except for the last value of a range.
ALL = Template("SELECT window, false AS other, $grouped, counted, usage FROM ($added)")
TOP = Template("""
    SELECT
        row.1 AS window, toBool(place > {top:UInt32}) AS other, $grouped,
        row.2 AS counted, row.3 AS usage
    FROM (
        SELECT
            $keys,
            groupArray((window, counted, usage)) AS rows,
            row_number() OVER (ORDER BY sum(usage) DESC, $keys) AS place
        FROM ($added)
        GROUP BY $keys
        HAVING sum(counted) > 0
    )
    ARRAY JOIN rows AS row
""")
TOP_LAST = Template("""
    SELECT window, toBool(($keys) GLOBAL NOT IN ($first)) AS other, $grouped, counted, usage
    FROM ($added)
""")
FIRST = Template("""
        SELECT $keys
        FROM ($added)
        WHERE counted > 0
        ORDER BY usage DESC, $keys
        LIMIT {top:UInt32}
""")

# The first customers, of slots: what the others come to is what all come to without the first, so
# only the ranking reads the slots of every customer.
TOP_CUSTOMERS = Template("""
    SELECT
        window, other, if(other, '', key_0) AS group_0,
        few.counted * share AS counted, few.usage * share AS usage
    FROM ($added) AS few
    ARRAY JOIN
        if(key_0 = '', [true], [false, true]) AS other,
        if(key_0 = '', [1], [1, -1]) AS share
""")
OF_FIRST = Template("""(version, customer) GLOBAL IN (
        SELECT toUInt32($version_of_all), ''
        UNION ALL
        SELECT toUInt32($version), key_0 FROM ($first)
    )""")

COUNT = Template("SELECT count() AS rows FROM ($added) WHERE counted > 0")


def answer(overview: Overview) -> tuple[str, dict[str, Any]]:
    """Turn an overview, of one question, into a statement and its values."""
    parts, values = _parts(overview)
    return ANSWER.substitute(parts), values | {
        "top": overview.top,
        "rows_max": USAGE_BATCH_ROWS_MAX + 1,
    }


def count(overview: Overview) -> tuple[str, dict[str, Any]]:
    """Return what counts the rows of the answer to an overview that has no `top`."""
    parts, values = _parts(overview)
    return COUNT.substitute(parts), values


def _parts(overview: Overview) -> tuple[dict[str, str], dict[str, Any]]:
    """Return the texts that statements are made of, and what they bind."""
    query = overview.query
    planned = plan(query, windows_of(query))
    [selection] = planned.selections
    of_all = OF_EACH if overview.by_customer else OF_ALL
    parts = parts_of(query, planned, selection, of_all=of_all)
    texts = _texts(overview, parts)
    last = selection.formula == "last"
    added = ADDED_LAST if last else ADDED
    ranked = added.substitute(texts | {"window": "0"})
    texts["first"] = FIRST.substitute(texts, added=ranked)
    found = ALL if overview.top is None else TOP_LAST if last else TOP
    if found is TOP and selection.slotted and overview.of_customers:
        of_first = Template(OF_FIRST.safe_substitute(texts))
        few = parts_of(query, planned, selection, of_all=of_first)
        found, texts["source"] = TOP_CUSTOMERS, few.rows.source
    texts["added"] = added.substitute(texts)
    return texts | {"found": found.substitute(texts)}, parts.values


def _texts(overview: Overview, parts: Parts) -> dict[str, str]:
    """Return the expressions of an overview: what is added up, and how groups are told apart."""
    columns = (["customer"] if overview.by_customer else []) + list(parts.groups) or ["''"]
    texts = parts.rows._asdict() | {"window": parts.window, "usage": parts.usage}
    for name, text in (
        ("keyed", "{column} AS key_{place}"),
        ("keys", "key_{place}"),
        ("groups", "group_{place}"),
        ("grouped", "if(other, '', key_{place}) AS group_{place}"),
    ):
        cells = (text.format(column=one, place=place) for place, one in enumerate(columns))
        texts[name] = ", ".join(cells)
    return texts


def usage_of_each(store: UsageStore, overview: Overview) -> list[tuple[str, Decimal]]:
    """Return each customer's usage of the only meter of an overview, which has no windows.

    More than `USAGE_BATCH_ROWS_MAX` rows tell that there are too many to tell them all.
    """
    found = store.columns(*answer(overview))
    customers, usage = found["group_0"].to_pylist(), found["usage"].to_pylist()
    return [(customer, Decimal(text)) for customer, text in zip(customers, usage, strict=True)]
