"""What customers may have used at most, so that few totals have to be asked for.

What a reader may rely on:

- A customer is asked about that is not known here, and one whose total may have reached its next
  step. A total that has reached it is never missed: what is kept is the last exact total, rounded
  up, and all that was added since.
- Numbers are whole and bounded by `USED_LIMIT`; whoever may be there is asked about every time.
- Nothing here is needed: what is forgotten is asked for.
"""

from collections.abc import Sequence
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

import numpy as np
import numpy.typing as npt

from meterhouse.usage.touched import USED_LIMIT

Numbers = npt.NDArray[np.int64]

_NEVER = np.iinfo(np.int64).max
_FIRST_ROWS = 64


class Totals:
    """Those of one measure in one period."""

    def __init__(self) -> None:
        self._rows: dict[str, int] = {}
        self._most: Numbers = np.zeros(_FIRST_ROWS, np.int64)
        self._next: Numbers = np.zeros(_FIRST_ROWS, np.int64)

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, customers: Sequence[str], used: Numbers) -> list[int]:
        """Add what each of some customers has used at most; return the places of whom to ask."""
        rows = np.array([self._rows.get(one, -1) for one in customers], np.int64)
        known = rows >= 0
        at = rows[known]
        self._most[at] = np.minimum(self._most[at] + used[known], USED_LIMIT)
        asked = ~known
        asked[known] = self._most[at] >= self._next[at]
        places: list[int] = np.flatnonzero(asked).tolist()
        return places

    def learn(self, customer: str, total: Decimal, next_step: Decimal | None) -> None:
        """Hear what a customer's total is, and the least that it is to be asked about again."""
        row = self._rows.setdefault(customer, len(self._rows))
        if row == len(self._most):
            self._most = np.resize(self._most, 2 * row)
            self._next = np.resize(self._next, 2 * row)
        self._most[row] = min(int(total.to_integral_value(ROUND_CEILING)), USED_LIMIT)
        self._next[row] = _NEVER
        if next_step is not None:
            self._next[row] = min(int(next_step.to_integral_value(ROUND_FLOOR)), USED_LIMIT)

    def forget(self, customer: str) -> None:
        """Have a customer be asked about when it uses anything again."""
        row = self._rows.get(customer)
        if row is not None:
            self._next[row] = np.iinfo(np.int64).min
