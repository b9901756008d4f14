"""What the usage store of a server that is stopped takes on disk once everything is merged.

`python -m benchmarks.merged <data folder>` merges the parts of each partition into one, as they
merge by themselves in time, and writes the bytes of each table as JSON.
"""

import sys
from pathlib import Path

import msgspec
from clickhouse_connect import get_client

_BYTES = """
SELECT table, sum(bytes_on_disk)
FROM system.parts
WHERE active AND database = currentDatabase()
GROUP BY table
"""


def main(folder: Path) -> None:
    """Merge, and write the bytes of each table."""
    client = get_client(interface="chdb", path=str(folder / "usage"))
    for (table,) in client.query("SHOW TABLES").result_rows:
        client.command(f"OPTIMIZE TABLE {table} FINAL")
    bytes_of = {str(table): int(taken) for table, taken in client.query(_BYTES).result_rows}
    print(msgspec.json.encode(bytes_of).decode())
    client.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
