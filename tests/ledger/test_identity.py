from meterhouse.ledger import accounts, adjustments, identity, journal, tallies
from meterhouse.ledger.adjustments import Adjustment
from meterhouse.ledger.engine import Ledger
from meterhouse.ledger.identity import Identity
from meterhouse.ledger.tallies import Line
from meterhouse.limits import JOURNAL_COMMIT_POSITIONS
from tests.metering.samples import NOW


def test_a_new_ledger_has_an_identity_and_awaits_a_new_usage_store(ledger: Ledger) -> None:
    with ledger.read() as connection:
        made = identity.read(connection)
    assert made == Identity(made.identity, "", 0)
    assert len(made.identity) == 32


def test_an_identity_is_kept_instead_of_the_one_before(ledger: Ledger) -> None:
    kept = Identity("b", None, -3)
    with ledger.write() as connection:
        identity.save(connection, kept)
    with ledger.read() as connection:
        assert identity.read(connection) == kept


def test_accepted_events_and_cancellations_that_were_applied_are_counted(ledger: Ledger) -> None:
    with ledger.write() as connection:
        assert identity.counted_events(connection) == 0
        account = accounts.default_account(connection, NOW)
        test, live = accounts.scopes_of(connection, account.id)
        tallies.add(
            connection,
            {
                Line(test.id, "acknowledged"): 9,
                Line(test.id, "accepted"): 5,
                Line(live.id, "accepted"): 2,
                Line(test.id, "duplicate"): 1,
                Line(test.id, "rejected", "no_meter"): 1,
            },
        )
        for position, status in ((1, "complete"), (2, "pending")):
            made = Adjustment(f"mtr_adj_{position}", test.id, "a", "calls", position, status, NOW)
            adjustments.put(connection, made)
        assert identity.counted_events(connection) == 8


def test_positions_that_are_known_elsewhere_are_not_given_out(ledger: Ledger) -> None:
    with ledger.write() as connection:
        journal.give_out_after(connection, 7)
        assert journal.reserve(connection, 2) == 8
        journal.give_out_after(connection, 3)
        journal.give_out_after(connection, 9)
        step = JOURNAL_COMMIT_POSITIONS if ledger.shared else 2
        assert journal.reserve(connection, 1) == 8 + step
