from meterhouse.ledger.engine import Ledger, open_ledger
from meterhouse.ledger.sessions import read_secret


def test_every_process_finds_the_same_secret(ledger: Ledger, url: str) -> None:
    with ledger.read() as connection:
        secret = read_secret(connection)
    assert len(secret) == 32
    with open_ledger(url) as again, again.read() as connection:
        assert read_secret(connection) == secret
