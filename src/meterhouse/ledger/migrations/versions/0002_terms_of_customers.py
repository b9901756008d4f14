"""The terms of customers, by which they are searched (`ledger.customer_terms`).

Each begins with the number of its scope and the letter of its kind.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_TEXT_CHARS_MAX = 16_384  # of a description of 5,000 letters, each of which folds to three
_TEXTS = {
    "d": "folded_description",
    "e": "folded_email",
    "i": "lower(id)",
    "n": "folded_name",
    "p": "folded_phone",
}
_PIECES = " UNION ALL ".join(
    f"SELECT '{kind}' || hex(substr({text}, at, 3)) AS term"  # noqa: S608 - from the table above
    f" FROM text_places WHERE at <= length({text}) - 2"
    for kind, text in _TEXTS.items()
)
# FTS5 keeps no text: to take a row's terms out it is told them again, from the row as it was. In
# its words, of hexadecimal digits, `x` stands between the parts of a term. Places in a text are
# read from a table because that takes half as long as to count them.
_SQLITE = (
    "CREATE TABLE text_places (at INTEGER PRIMARY KEY)",
    f"""
    INSERT INTO text_places (at)
    WITH RECURSIVE counted (at) AS (
      SELECT 1 UNION ALL SELECT at + 1 FROM counted WHERE at < {_TEXT_CHARS_MAX}
    )
    SELECT at FROM counted
    """,  # noqa: S608 - a number from above
    f"""
    CREATE VIEW customer_texts AS SELECT seq, (
      SELECT group_concat(scope || term, ' ') FROM (
        {_PIECES}
        UNION ALL SELECT 'm' || hex(key) || 'x' || hex(value) FROM json_each(folded_metadata)
        UNION ALL SELECT 'k' || hex(key) FROM json_each(folded_metadata)
        UNION ALL SELECT iif(folded_email IS NULL, 'o', 'q') || hex('e')
        UNION ALL SELECT iif(folded_name IS NULL, 'o', 'q') || hex('n')
        UNION ALL SELECT iif(folded_phone IS NULL, 'o', 'q') || hex('p')
        UNION ALL SELECT 'c'
      )
    ) AS terms FROM customers WHERE deleted_at IS NULL
    """,  # noqa: S608 - from the table above
    """
    CREATE VIRTUAL TABLE customer_terms USING fts5(
      terms, content = 'customer_texts', content_rowid = 'seq',
      tokenize = 'ascii', detail = 'none', columnsize = 0
    )
    """,
)
_CHANGED = "({}) IS NOT ({})".format(
    *(
        ", ".join(
            f"{row}.{column}"
            for column in (
                "scope",
                "id",
                "folded_description",
                "folded_email",
                "folded_name",
                "folded_phone",
                "folded_metadata",
                "deleted_at",
            )
        )
        for row in ("old", "new")
    )
)
_TAKEN_OUT = (
    "INSERT INTO customer_terms (customer_terms, rowid, terms)"
    " SELECT 'delete', seq, terms FROM customer_texts WHERE seq = old.seq;"
)
_PUT_IN = (
    "INSERT INTO customer_terms (rowid, terms)"
    " SELECT seq, terms FROM customer_texts WHERE seq = new.seq;"
)
_TRIGGERS = {
    "inserted": f"AFTER INSERT ON customers BEGIN {_PUT_IN} END",
    "updating": f"BEFORE UPDATE ON customers WHEN {_CHANGED} BEGIN {_TAKEN_OUT} END",
    "updated": f"AFTER UPDATE ON customers WHEN {_CHANGED} BEGIN {_PUT_IN} END",
    "deleting": f"BEFORE DELETE ON customers BEGIN {_TAKEN_OUT} END",
}
_POSTGRESQL = (
    # What it costs tells the planner that an index is the better way. The index is of all rows,
    # for PostgreSQL heeds no statistics of an expression in an index of some.
    """
    CREATE FUNCTION customer_terms(
      deleted_at bigint, scope integer, id text,
      description text, email text, name text, phone text, metadata json
    ) RETURNS text[] LANGUAGE sql IMMUTABLE PARALLEL SAFE COST 2000 AS $$
      SELECT array_agg(DISTINCT scope || term) FROM (
        SELECT kind || substr(text, at, 3) AS term
        FROM (VALUES ('d', description), ('e', email), ('i', lower(id)), ('n', name), ('p', phone))
          AS texts (kind, text), generate_series(1, length(text) - 2) AS at
        UNION ALL SELECT 'k' || key FROM json_each_text(metadata)
        UNION ALL SELECT 'm' || hashtextextended(key || chr(31) || value, 0)
        FROM json_each_text(metadata)
        UNION ALL SELECT CASE WHEN email IS NULL THEN 'o' ELSE 'q' END || 'e'
        UNION ALL SELECT CASE WHEN name IS NULL THEN 'o' ELSE 'q' END || 'n'
        UNION ALL SELECT CASE WHEN phone IS NULL THEN 'o' ELSE 'q' END || 'p'
      ) AS terms WHERE deleted_at IS NULL
    $$
    """,
    """
    CREATE INDEX ix_customers_terms ON customers USING gin (customer_terms(
      deleted_at, scope, id,
      folded_description, folded_email, folded_name, folded_phone, folded_metadata
    ))
    """,
)


def upgrade() -> None:
    """Make what finds customers by their terms, and fill it."""
    connection = op.get_bind()
    statements: tuple[str, ...] = _POSTGRESQL
    if connection.dialect.name == "sqlite":
        triggers = (f"CREATE TRIGGER customer_{when} {what}" for when, what in _TRIGGERS.items())
        filled = "INSERT INTO customer_terms (rowid, terms) SELECT seq, terms FROM customer_texts"
        statements = (*_SQLITE, *triggers, filled)
    for statement in statements:
        connection.execute(sa.text(statement))
