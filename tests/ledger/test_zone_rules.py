from meterhouse.ledger import zone_rules
from meterhouse.ledger.engine import Ledger


def test_a_start_hears_which_rules_the_one_before_used(ledger: Ledger) -> None:
    def use(version: str) -> str | None:
        with ledger.write() as connection:
            return zone_rules.use(connection, version)

    assert use("2025b") is None
    assert use("2025b") == "2025b"
    assert use("2026f") == "2025b"
    assert use("2026f") == "2026f"
    assert use("2025b") == "2026f"
    assert use("2026f") == "2025b"
