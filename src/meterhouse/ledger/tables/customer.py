"""Whose usage it is, and what is to be forgotten of it."""

from typing import Any

import sqlalchemy as sa

from meterhouse.ledger.tables.base import Whole64, metadata

customers = sa.Table(
    "customers",
    metadata,
    sa.Column("seq", Whole64, primary_key=True),
    sa.Column("id", sa.Text, nullable=False, unique=True),
    sa.Column("scope", sa.Integer, sa.ForeignKey("scopes.id"), nullable=False),
    sa.Column("email", sa.Text),
    sa.Column("metadata", sa.JSON, nullable=False),
    sa.Column("details", sa.JSON, nullable=False),  # the rest of what the sender told us
    sa.Column("created", Whole64, nullable=False),
    sa.Column("deleted_at", Whole64),
    sa.Column("test_clock", sa.Text),
    sa.Column("balance", Whole64, nullable=False, server_default="0"),  # negative: a credit
    sa.Column("currency", sa.Text),  # null until it is billed
    sa.Column("invoice_prefix", sa.Text),
    sa.Column("next_invoice_sequence", Whole64, nullable=False, server_default="1"),
    sa.Column("folded_description", sa.Text),  # as they are searched, see `wire.search`
    sa.Column("folded_email", sa.Text),
    sa.Column("folded_name", sa.Text),
    sa.Column("folded_phone", sa.Text),
    sa.Column("folded_metadata", sa.JSON(none_as_null=True)),
)
_alive = customers.c.deleted_at.is_(None)
# Lists go through it in order and read the rows of those alone that were created then.
sa.Index(
    "ix_customers_scope_seq_created",
    customers.c.scope,
    customers.c.seq,
    customers.c.created,
    sqlite_where=_alive,
    postgresql_where=_alive,
)
sa.Index("ix_customers_scope_email", customers.c.scope, customers.c.email)
sa.Index("ix_customers_test_clock", customers.c.test_clock)
sa.Index("ix_customers_scope_folded_email", customers.c.scope, customers.c.folded_email)
# What PostgreSQL finds customers by; SQLite has a table for it (`ledger.customer_terms`).
terms_of_customer: sa.ColumnElement[Any] = sa.func.customer_terms(
    customers.c.deleted_at,
    customers.c.scope,
    customers.c.id,
    customers.c.folded_description,
    customers.c.folded_email,
    customers.c.folded_name,
    customers.c.folded_phone,
    customers.c.folded_metadata,
)
sa.Index("ix_customers_terms", terms_of_customer, postgresql_using="gin").ddl_if(
    dialect="postgresql"
)
_deleted = customers.c.deleted_at.is_not(None)
sa.Index(
    "ix_customers_deleted_at",
    customers.c.deleted_at,
    sqlite_where=_deleted,
    postgresql_where=_deleted,
)

# What is to be forgotten of a customer, and how far that is (`ledger.erasures`).
erasures = sa.Table(
    "erasures",
    metadata,
    sa.Column("seq", Whole64, primary_key=True),
    sa.Column("id", sa.Text, nullable=False, unique=True),
    sa.Column("scope", sa.Integer, sa.ForeignKey("scopes.id"), nullable=False),
    sa.Column("customer", sa.Text, nullable=False),
    sa.Column("payload_keys", sa.JSON, nullable=False),
    sa.Column("at_once", sa.Boolean(create_constraint=True, name="at_once"), nullable=False),
    sa.Column("step", sa.Text, nullable=False),
    sa.Column("due_at", Whole64, nullable=False),  # when to go on
    sa.Column("events", Whole64, nullable=False),  # that have lost something
    sa.Column("events_erased_at", Whole64),
    sa.Column("rewritten", sa.Boolean(create_constraint=True, name="rewritten"), nullable=False),
    sa.Column("created", Whole64, nullable=False),
    sa.CheckConstraint("step IN ('complete', 'customer', 'events', 'files', 'slots')", name="step"),
)
_unfinished = erasures.c.step != "complete"
sa.Index(
    "ix_erasures_due_at",
    erasures.c.due_at,
    sqlite_where=_unfinished,
    postgresql_where=_unfinished,
)
sa.Index("ix_erasures_created", erasures.c.created)
