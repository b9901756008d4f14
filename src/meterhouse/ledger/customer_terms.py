"""The terms by which a database finds customers without looking at each.

What a reader may rely on:

- The terms of a customer are the pieces of three characters of its texts, as they are searched;
  which of its texts are there; each key of its metadata, and each with its value.
- The database makes them from the row, in the statement that writes it; a customer that is deleted
  has none. The migrations tell how: a table of SQLite's FTS5 and triggers, an index of PostgreSQL
  over a function.
- Whoever meets a clause has its terms. Others may have them too, so the clause is asked as well.
"""

from typing import Any, NamedTuple, TypeAlias

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from meterhouse.ledger.tables import customers, terms_of_customer
from meterhouse.limits import SEARCH_INDEXED_CHARS_MAX, SEARCH_SUBSTRING_LEAST_CHARS
from meterhouse.wire.search import METADATA, Clause, fold, fold_part, fold_words

Term: TypeAlias = tuple[str, ...]  # its kind, and what it is made of

_PIECE: dict[str, str] = {"description": "d", "email": "e", "id": "i", "name": "n", "phone": "p"}
_ABSENT, _PRESENT = "o", "q"  # of a text
_KEY, _PAIR = "k", "m"  # of metadata
_EVERYBODY: Term = ("c",)
_PIECE_CHARS = SEARCH_SUBSTRING_LEAST_CHARS

_index = sa.table("customer_terms", sa.column("rowid"), sa.column("customer_terms"))


class Terms(NamedTuple):
    """What a customer must have, and what it must not."""

    needed: tuple[Term, ...] = ()
    barred: tuple[Term, ...] = ()


class Way(NamedTuple):
    """Where to read customers from, the column of their numbers there, and which of them to read.

    It is `ordered` where they come by their numbers in any case.
    """

    source: sa.FromClause
    seq: sa.ColumnElement[int]
    condition: sa.ColumnElement[bool]
    ordered: bool = False


def terms_of(clause: Clause) -> Terms:
    """Return the terms of a clause, none where no term tells who meets it."""
    field, operator, value, key, negated = clause
    if field == METADATA:
        term = (_KEY, key) if value is None else (_PAIR, key, fold(str(value)))
        return Terms(barred=(term,)) if negated != (value is None) else Terms(needed=(term,))
    if field not in _PIECE:
        return Terms()
    if value is None:
        return Terms(needed=((_PRESENT if negated else _ABSENT, _PIECE[field]),))
    if negated:  # who has all pieces of a text need not have the text
        return Terms()
    text = str(value)
    return pieces(field, fold_part(text) if operator == "~" else fold_words(text))


def pieces(field: str, text: str) -> Terms:
    """Return the terms of those who have `text` in a field, where both are as they are searched."""
    looked_up = text[:SEARCH_INDEXED_CHARS_MAX]
    last = len(looked_up) - _PIECE_CHARS
    found = dict.fromkeys(looked_up[at : at + _PIECE_CHARS] for at in range(last + 1))
    return Terms(needed=tuple((_PIECE[field], piece) for piece in found))


def way_to(dialect: str, scope: int, terms: Terms, condition: sa.ColumnElement[bool]) -> Way:
    """Return the way to the customers that meet a condition: those of a scope have the terms."""
    if dialect == "sqlite" and any(terms):
        source = _index.join(customers, customers.c.seq == _index.c.rowid)
        matches = _index.c.customer_terms.op("MATCH")(_words(scope, terms))
        return Way(source, _index.c.rowid, sa.and_(matches, condition), ordered=True)
    if dialect != "sqlite" and terms.needed:
        names = [_element(scope, term) for term in terms.needed]
        wanted: sa.ColumnElement[Any] = postgresql.array(names, type_=sa.Text())
        # PostgreSQL would take the condition for a second one, and hardly anybody to meet both.
        hidden = sa.case((condition, sa.true()), else_=sa.false())
        return Way(customers, customers.c.seq, terms_of_customer.op("@>")(wanted) & hidden)
    return Way(customers, customers.c.seq, condition)


def _words(scope: int, terms: Terms) -> str:
    """Ask SQLite, where each term is a word of letters and digits."""

    def word(term: Term) -> str:
        kind, *parts = term
        return f"{scope}{kind}{'x'.join(part.encode().hex() for part in parts)}"

    wanted = " AND ".join(map(word, terms.needed or (_EVERYBODY,)))
    return " NOT ".join((wanted, *map(word, terms.barred)))


def _element(scope: int, term: Term) -> sa.ColumnElement[str]:
    """Name a term to PostgreSQL, whose indexes take no value as long as metadata may be."""
    kind, *parts = term
    text: sa.ColumnElement[str] = sa.literal("\x1f".join(parts), sa.Text())
    if kind == _PAIR:
        text = sa.cast(sa.func.hashtextextended(text, 0), sa.Text)
    return sa.literal(f"{scope}{kind}", sa.Text()).concat(text)
