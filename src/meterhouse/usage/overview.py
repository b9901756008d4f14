"""The statements that answer an overview: one for each question of it.

What a reader may rely on, beside what `usage.queries` says: a row is the number of a `window`,
whether it is what all `other` groups come to, the values of its group in `group_0`, `group_1` …
(empty where it is other), and the `usage` as text. There is a group even where nothing is asked to
be told apart; its one value is empty.
"""

from string import Template
from typing import Any

from meterhouse.limits import USAGE_BATCH_ROWS_MAX
from meterhouse.metering.meter_usage import plan, windows_of
from meterhouse.metering.overview import Overview
from meterhouse.usage.selection import parts_of

# What is added up: the rows themselves, or, of the formula `last`, one value of each customer.
ROWS = Template("""
    SELECT $window AS window, $keyed, $counted AS counted, $used AS usage
    FROM $source
""")
OF_EACH = Template("""
    SELECT $window AS window, $keyed, sum($counted) AS counted, toDecimal256($usage, 15) AS usage
    FROM $source
    GROUP BY window, $keys, customer
""")

ANSWER = Template("""
SELECT window, other, $groups, toString(sum(usage)) AS usage
FROM (
    SELECT window, toBool($other) AS other, $grouped, counted, usage
    FROM ($added)
)
GROUP BY window, other, $groups
HAVING sum(counted) > 0
ORDER BY window, other, $groups
LIMIT {rows_max:UInt32}
""")

# All groups but the first ones by their usage over the whole range.
OTHER = Template("""($keys) NOT IN (
        SELECT $keys
        FROM ($ranked)
        GROUP BY $keys
        HAVING sum(counted) > 0
        ORDER BY sum(usage) DESC, $keys
        LIMIT {top:UInt32}
    )""")

COUNT = Template("""
SELECT count() AS rows
FROM (SELECT 1 FROM ($added) GROUP BY window, $keys HAVING sum(counted) > 0)
""")


def answer(overview: Overview) -> tuple[str, dict[str, Any]]:
    """Turn an overview, of one question, into a statement and its values."""
    parts, values = _parts(overview)
    places = range(len(parts["keys"].split(", ")))
    other = "false" if overview.top is None else OTHER.substitute(parts)
    statement = ANSWER.substitute(
        parts,
        other=other,
        groups=", ".join(f"group_{place}" for place in places),
        grouped=", ".join(f"if(other, '', key_{place}) AS group_{place}" for place in places),
    )
    return statement, values | {"top": overview.top, "rows_max": USAGE_BATCH_ROWS_MAX + 1}


def count(overview: Overview) -> tuple[str, dict[str, Any]]:
    """Return what counts the rows of the answer to an overview that has no `top`."""
    parts, values = _parts(overview)
    return COUNT.substitute(parts), values


def _parts(overview: Overview) -> tuple[dict[str, str], dict[str, Any]]:
    query = overview.query
    planned = plan(query, windows_of(query))
    [selection] = planned.selections
    parts = parts_of(query, planned, selection)
    columns = (["customer"] if overview.by_customer else []) + list(parts.groups) or ["''"]
    texts = parts.rows._asdict() | {"window": parts.window, "usage": parts.usage}
    if selection.formula == "count":
        texts["used"] = parts.rows.counted
    texts["keyed"] = ", ".join(
        f"toString({column}) AS key_{place}" for place, column in enumerate(columns)
    )
    keys = texts["keys"] = ", ".join(f"key_{place}" for place in range(len(columns)))
    template = OF_EACH if selection.formula == "last" else ROWS
    added = template.substitute(texts)
    ranked = template.substitute(texts | {"window": "0"})
    return {"keys": keys, "added": added, "ranked": ranked}, parts.values
