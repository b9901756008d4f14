"""The watermark: up to when all that was acknowledged is stored, where several processes work.

One statement reads all of it, on PostgreSQL, for every question of a reader begins with it.
"""

from typing import NamedTuple

import sqlalchemy as sa

from meterhouse.limits import WATERMARK_JOURNAL_ROWS_MAX


class Watermark(NamedTuple):
    """How far all partitions are, what is in the journal, and who is there.

    `now` is by the database's clock and later than every commit that this has seen. All that was
    committed up to `as_of` is stored. `rows` and `events` are those of the journal, of which no
    more than `WATERMARK_JOURNAL_ROWS_MAX` rows are looked at. `oldest_under_way` is the smallest of
    the other nodes, None where there are none.
    """

    now: int
    as_of: int
    backlog_events: int
    rows: int
    events: int
    oldest_under_way: int | None
    api_nodes: int
    workers: int


# The clock is read after the snapshot was taken, and rounded up: what others round down may not
# come to it before they have seen what this snapshot has.
_READ = f"""
SELECT
  floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint + 1 AS now,
  (SELECT min(as_of) FROM partitions) AS as_of,
  (SELECT sum(backlog_events)::bigint FROM partitions) AS backlog_events,
  waiting.*,
  present.*
FROM
  (SELECT count(*) AS rows, coalesce(sum(events), 0)::bigint AS events
   FROM (SELECT events FROM journal LIMIT {WATERMARK_JOURNAL_ROWS_MAX}) AS oldest) AS waiting,
  (SELECT
     min(oldest_under_way) FILTER (WHERE id <> :node) AS oldest_under_way,
     count(*) FILTER (WHERE role IN ('all', 'api') AND alive) AS api_nodes,
     count(*) FILTER (WHERE role IN ('all', 'worker') AND alive) AS workers
   FROM (
     SELECT *, until > extract(epoch FROM clock_timestamp()) * 1000 AS alive FROM nodes
   ) AS known) AS present
"""  # noqa: S608 - a number
_read = sa.text(_READ)


def read(connection: sa.Connection, node: str) -> Watermark:
    """Read it, as the node of an id sees it; that of one without a row is empty."""
    return Watermark(*connection.execute(_read, {"node": node}).one())
