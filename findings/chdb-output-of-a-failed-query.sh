#!/bin/sh
# A query that fails half-way leaves what it had written to the next query of the connection.
#
# Versions: chdb 4.4.0 with chdb-core 26.9.0 (ClickHouse 26.9.2.1), Python 3.11
#
# One would swear that an answer holds the rows of its own query. With chdb, the embedded ClickHouse,
# a query that raises after some blocks were written (here by throwIf; a time limit or a limit of
# memory does the same) loses only its error message to the caller. The blocks stay in the buffer
# of the connection, and the next query, which succeeds and reports no error, returns them in front of its
# own rows. A parser of lines takes them for rows of the second query; a parser of a binary format fails.
# The query after that one is clean again. A server of ClickHouse does not do so: each request has a
# buffer of its own.
#
# What helps: close a connection on which a query has failed, and make a new one.
#
# Seen: failed: Code 395; next: 17549328 bytes, last line {"x":1}; then: 8 bytes
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet chdb==4.4.0 chdb-core==26.9.0
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import re

import chdb

connection = chdb.connect("store")
asked = "SELECT number, throwIf(number = 500000) FROM numbers(1000000)"
try:
    connection.query(asked, "JSONEachRow")
    raise SystemExit("changed: the first query did not fail")
except RuntimeError as error:
    print("failed: Code", re.search(r"Code: (\d+)", str(error))[1], end="; ")
answers = []
for _ in range(2):
    result = connection.query("SELECT 1 AS x", "JSONEachRow")
    assert not result.has_error()
    answers.append(result.bytes())
last = answers[0].splitlines()[-1].decode()
print(f"next: {len(answers[0])} bytes, last line {last}; then: {len(answers[1])} bytes")
own = b'{"x":1}\n'
if answers[0] == own:
    raise SystemExit("changed: the next answer holds its own row alone")
assert answers[0].endswith(own)
assert answers[0].count(b'"number"') > 1_000
assert answers[1] == own
PYTHON
