"""An overview: the usage of all customers, and which groups have most of it.

What a reader may rely on, beside what `metering.meter_usage` says:

- The usage of all customers is the sum of the usage of each. On a meter that takes the last value,
  too: there it adds up one value for each customer.
- Groups are told apart by the keys of the question, and by customer where that is asked for.
- The `top` groups are those with most usage over the whole range, as if it had no windows; of two
  with the same usage the one whose values come first. All others are one row, *other*, in each
  window in which one of them counts.
- Rows are in the order of the questions, then of their windows, then of their groups; other is the
  last of its window.
"""

from collections.abc import Iterator, Sequence

import msgspec

from meterhouse.metering.meter_usage import MeterQuestion, MeterUsageQuery
from meterhouse.metering.window import Window


class Overview(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked: `query`, whose `customer` is None for all of them, and is not `together`.

    `top` is None where every group has rows of its own. `local` tells that rows also say what the
    zone's clock shows, `decimal` that JSON also says the value as a text.
    """

    query: MeterUsageQuery
    by_customer: bool = False
    top: int | None = None
    local: bool = False
    decimal: bool = False

    @property
    def of_customers(self) -> bool:
        """Whether its groups are all customers, and nothing else."""
        groups = any(one.groups for one in self.query.questions)
        return self.by_customer and self.query.customer is None and not groups

    def about(self, question: MeterQuestion) -> "Overview":
        """Return the overview of one of the questions alone."""
        return msgspec.structs.replace(
            self, query=msgspec.structs.replace(self.query, questions=(question,))
        )

    def grouped(self, question: MeterQuestion) -> bool:
        """Tell whether the usage that a question asks for is cut into groups."""
        return self.by_customer or bool(question.groups)


def pieces(overview: Overview, windows: Sequence[Window], count: int) -> Iterator[Overview]:
    """Cut an overview, whose query has these windows, into about `count` of consecutive windows.

    Their answers, one after the other, are the answer: there must be no `top`, which is ranked over
    the whole range.
    """
    query = overview.query
    each = max(1, len(windows) // count)
    for first in range(0, len(windows), each):
        some = windows[first : first + each]
        part = msgspec.structs.replace(
            query, start=max(some[0].start, query.start), end=min(some[-1].end, query.end)
        )
        yield msgspec.structs.replace(overview, query=part)
