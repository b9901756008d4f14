from meterhouse.ledger import journal, partitions
from meterhouse.ledger.engine import Ledger
from meterhouse.ledger.journal import Packed
from meterhouse.ledger.partitions import Partition


def test_a_new_ledger_gets_the_partitions_that_the_first_start_wants(ledger: Ledger) -> None:
    with ledger.write() as connection:
        assert partitions.read(connection) == [Partition(0, 0, 0, 0)]
        assert partitions.provision(connection, 3) == 3
        assert partitions.provision(connection, 8) == 3
        assert [one.number for one in partitions.read(connection)] == [0, 1, 2]


def test_a_ledger_with_events_keeps_its_partitions(ledger: Ledger) -> None:
    with ledger.write() as connection:
        journal.reserve(connection, 1)
        assert partitions.provision(connection, 8) == 1


def test_a_partition_counts_its_batches(ledger: Ledger) -> None:
    with ledger.write() as connection:
        partitions.provision(connection, 2)
        assert partitions.next_batches(connection, [1], 1) == {1: 1}
        assert partitions.last_batches(connection, [0, 1]) == {0: 0, 1: 1}


def test_a_batch_of_several_partitions_is_kept_under_one_of_them(ledger: Ledger) -> None:
    with ledger.write() as connection:
        partitions.provision(connection, 4)
        assert partitions.kept_under(connection, [1, 3]) == {1: 1, 3: 3}
        partitions.next_batches(connection, [3], 3)
        assert partitions.next_batches(connection, [1, 3], 1) == {1: 1, 3: 2}
        assert partitions.kept_under(connection, range(4)) == {0: 0, 1: 1, 2: 2, 3: 1}
        partitions.part(connection, [2, 3])
        assert partitions.kept_under(connection, [1, 3]) == {1: 1, 3: 3}


def test_how_far_a_partition_is_never_goes_back(ledger: Ledger) -> None:
    with ledger.write() as connection:
        partitions.publish(connection, [(0, 1_796_000_000_000, 5)])
        partitions.publish(connection, [(0, 7, 6)])
        assert partitions.read(connection) == [Partition(0, 0, 1_796_000_000_000, 6)]


def test_batches_are_numbered_after_those_that_are_known(ledger: Ledger) -> None:
    with ledger.write() as connection:
        partitions.provision(connection, 3)
        partitions.number_after(connection, {0: 5, 1: 7, 9: 3})
        partitions.number_after(connection, {0: 6, 1: 2})
        assert [one.batch for one in partitions.read(connection)] == [6, 7, 0]
        assert partitions.next_batches(connection, [1], 1) == {1: 8}


def test_a_partition_is_read_and_released_by_itself(ledger: Ledger) -> None:
    """Given rows of two partitions, then each is read alone, or both, or all, and without some."""
    with ledger.write() as connection:
        first = journal.reserve(connection, 4)
        rows = [Packed(1, b"\x90", number % 2) for number in range(4)]
        journal.append(connection, first, rows)
        second, third, fourth = first + 1, first + 2, first + 3

        def read(*partitions: int, without: tuple[int, ...] = ()) -> list[int]:
            found = journal.read(
                connection, 100, 100, 1_000, partitions=partitions or None, without=without
            )
            return [entry.position for entry in found]

        assert read() == [first, second, third, fourth]
        assert read(1) == [second, fourth]
        assert read(0, 1) == [first, second, third, fourth]
        assert read(0, without=(first,)) == [third]
        assert read(without=(first, third)) == [second, fourth]
        assert read(0, without=(first, third)) == []
        assert journal.pending_events(connection) == 4
        journal.release(connection, [second, third])
        assert read() == [first, fourth]
        assert journal.pending_events(connection, [1]) == 1
