import pytest

from meterhouse.ledger import tallies
from meterhouse.ledger.engine import Ledger
from meterhouse.ledger.tallies import Line
from tests.ledger.samples import two_scopes


def test_lines_of_several_processes_are_one_count(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    scope, other = two_scopes(ledger)
    accepted, rejected = Line(scope, "accepted"), Line(other, "rejected", "no_meter")
    for stripe in (3, 4, 4):
        monkeypatch.setattr(tallies, "_STRIPE", stripe)
        with ledger.write() as connection:
            tallies.add(connection, {rejected: 2, accepted: 1})
    with ledger.read() as connection:
        assert tallies.read(connection) == {accepted: 3, rejected: 6}
        assert tallies.read(connection, scope) == {accepted: 3}
