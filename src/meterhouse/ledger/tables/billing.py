"""Who is billed for what, by which clock, and what they owe."""

import sqlalchemy as sa

from meterhouse.ledger.tables.base import Whole64, metadata

# Clocks that customers live by instead of the machine's (`ledger.test_clocks`).
test_clocks = sa.Table(
    "test_clocks",
    metadata,
    sa.Column("seq", Whole64, primary_key=True),
    sa.Column("id", sa.Text, nullable=False, unique=True),
    sa.Column("scope", sa.Integer, sa.ForeignKey("scopes.id"), nullable=False),
    sa.Column("name", sa.Text),
    sa.Column("frozen_time", Whole64, nullable=False),
    sa.Column("target", Whole64),  # where it goes to; null while it stands
    sa.Column("failed", sa.Boolean(create_constraint=True, name="failed"), nullable=False),
    sa.Column("created", Whole64, nullable=False),
)
sa.Index("ix_test_clocks_scope_seq", test_clocks.c.scope, test_clocks.c.seq)

subscriptions = sa.Table(
    "subscriptions",
    metadata,
    sa.Column("seq", Whole64, primary_key=True),
    sa.Column("id", sa.Text, nullable=False, unique=True),
    sa.Column("scope", sa.Integer, sa.ForeignKey("scopes.id"), nullable=False),
    sa.Column("customer", sa.Text, sa.ForeignKey("customers.id"), nullable=False),
    sa.Column("test_clock", sa.Text),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("collection", sa.Text, nullable=False),
    sa.Column("due", Whole64),  # when something happens to it of itself; null: never
    sa.Column("watched", sa.Boolean, server_default=sa.false(), nullable=False),
    sa.Column("revision", Whole64, nullable=False),
    sa.Column("metadata", sa.JSON, nullable=False),
    sa.Column("details", sa.JSON, nullable=False),  # the rest of it (`ledger.subscriptions`)
    sa.Column("created", Whole64, nullable=False),
)
sa.Index("ix_subscriptions_scope_seq", subscriptions.c.scope, subscriptions.c.seq)
sa.Index("ix_subscriptions_customer_seq", subscriptions.c.customer, subscriptions.c.seq)
sa.Index("ix_subscriptions_test_clock_due", subscriptions.c.test_clock, subscriptions.c.due)
sa.Index("ix_subscriptions_watched", subscriptions.c.watched)

subscription_items = sa.Table(
    "subscription_items",
    metadata,
    sa.Column("seq", Whole64, primary_key=True),
    sa.Column("id", sa.Text, nullable=False, unique=True),
    sa.Column("subscription", sa.Text, sa.ForeignKey("subscriptions.id"), nullable=False),
    sa.Column("price", sa.Text, sa.ForeignKey("prices.id"), nullable=False),
    sa.Column("quantity", Whole64),  # null: metered
    sa.Column("period_start", Whole64, nullable=False),
    sa.Column("period_end", Whole64, nullable=False),
    sa.Column("since", Whole64, nullable=False),  # from when on its usage is not billed yet
    sa.Column("usage_gte", Whole64),  # of which an invoice is made at once; null: never
    sa.Column("metadata", sa.JSON, nullable=False),
    sa.Column("created", Whole64, nullable=False),
)
sa.Index(
    "ix_subscription_items_subscription_seq",
    subscription_items.c.subscription,
    subscription_items.c.seq,
)
sa.Index("ix_subscription_items_price", subscription_items.c.price)

# Meters on which a subscription has thresholds, or had them (`ledger.watched_meters`).
watched_meters = sa.Table(
    "watched_meters",
    metadata,
    sa.Column("meter", sa.Text, sa.ForeignKey("meters.id"), primary_key=True),
    sqlite_with_rowid=False,
)

invoices = sa.Table(
    "invoices",
    metadata,
    sa.Column("seq", Whole64, primary_key=True),
    sa.Column("id", sa.Text, nullable=False, unique=True),
    sa.Column("scope", sa.Integer, sa.ForeignKey("scopes.id"), nullable=False),
    sa.Column("customer", sa.Text, sa.ForeignKey("customers.id"), nullable=False),
    sa.Column("subscription", sa.Text, sa.ForeignKey("subscriptions.id")),
    sa.Column("test_clock", sa.Text),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("collection", sa.Text, nullable=False),
    sa.Column("currency", sa.Text, nullable=False),
    sa.Column("number", sa.Text),
    sa.Column("due", Whole64),  # when something happens to it of itself; null: never
    sa.Column("due_date", Whole64),
    sa.Column("total", Whole64, nullable=False),
    sa.Column("finalized_at", Whole64),
    sa.Column("revision", Whole64, nullable=False),
    sa.Column("metadata", sa.JSON, nullable=False),
    sa.Column("details", sa.JSON, nullable=False),  # the rest of it (`ledger.invoices`)
    sa.Column("created", Whole64, nullable=False),
    sa.UniqueConstraint("customer", "number"),
)
sa.Index("ix_invoices_scope_seq", invoices.c.scope, invoices.c.seq)
sa.Index("ix_invoices_scope_finalized_at", invoices.c.scope, invoices.c.finalized_at)
sa.Index("ix_invoices_customer_seq", invoices.c.customer, invoices.c.seq)
sa.Index("ix_invoices_subscription_seq", invoices.c.subscription, invoices.c.seq)
sa.Index("ix_invoices_test_clock_due", invoices.c.test_clock, invoices.c.due)

invoice_lines = sa.Table(
    "invoice_lines",
    metadata,
    sa.Column("seq", Whole64, primary_key=True),
    sa.Column("id", sa.Text, nullable=False, unique=True),
    sa.Column("scope", sa.Integer, sa.ForeignKey("scopes.id"), nullable=False),
    sa.Column("invoice", sa.Text, sa.ForeignKey("invoices.id"), nullable=False),
    sa.Column("place", sa.Integer, nullable=False),  # among the lines of the invoice
    sa.Column("segment", sa.Integer),  # null: usage has no part in it
    sa.Column("amount", Whole64, nullable=False),
    sa.Column("metadata", sa.JSON, nullable=False),
    sa.Column("details", sa.JSON, nullable=False),  # the rest of it (`ledger.invoice_lines`)
)
sa.Index("ix_invoice_lines_invoice_place", invoice_lines.c.invoice, invoice_lines.c.place)

# The usage that an invoice bills, and how it was counted (`billing.invoice.Segment`).
invoice_segments = sa.Table(
    "invoice_segments",
    metadata,
    sa.Column("seq", Whole64, primary_key=True),
    sa.Column("scope", sa.Integer, sa.ForeignKey("scopes.id"), nullable=False),
    sa.Column("invoice", sa.Text, sa.ForeignKey("invoices.id"), nullable=False),
    sa.Column("place", sa.Integer, nullable=False),  # among the segments of the invoice
    sa.Column("customer", sa.Text, nullable=False),
    sa.Column("meter", sa.Text, sa.ForeignKey("meters.id"), nullable=False),
    sa.Column("price", sa.Text, sa.ForeignKey("prices.id"), nullable=False),
    sa.Column("subscription_item", sa.Text),
    sa.Column("invoice_item", sa.Text),
    sa.Column("usage_start", Whole64, nullable=False),
    sa.Column("usage_end", Whole64, nullable=False),
    sa.Column("period_start", Whole64, nullable=False),
    sa.Column("period_end", Whole64, nullable=False),
    sa.Column("free", sa.Boolean(create_constraint=True, name="free"), nullable=False),
    # Its range is billed again by whoever bills the rest.
    sa.Column("early", sa.Boolean, server_default=sa.false(), nullable=False),
    sa.Column("late", sa.Text),  # what becomes of a change since; null: billed for the first time
    sa.Column("billed_before", Whole64, nullable=False),
    sa.Column("usage", sa.Text, nullable=False),  # an exact decimal
    sa.Column("events", Whole64, nullable=False),
    sa.Column("amount", Whole64, nullable=False),
    sa.Column("counted_at", Whole64),
    sa.UniqueConstraint("invoice", "place"),
)
sa.Index(
    "ix_invoice_segments_customer_meter",
    invoice_segments.c.customer,
    invoice_segments.c.meter,
    invoice_segments.c.usage_start,
)
sa.Index(
    "ix_invoice_segments_scope_usage_end", invoice_segments.c.scope, invoice_segments.c.usage_end
)

invoice_items = sa.Table(
    "invoice_items",
    metadata,
    sa.Column("seq", Whole64, primary_key=True),
    sa.Column("id", sa.Text, nullable=False, unique=True),
    sa.Column("scope", sa.Integer, sa.ForeignKey("scopes.id"), nullable=False),
    sa.Column("customer", sa.Text, sa.ForeignKey("customers.id"), nullable=False),
    sa.Column("subscription", sa.Text, sa.ForeignKey("subscriptions.id")),
    sa.Column("invoice", sa.Text, sa.ForeignKey("invoices.id")),  # null: pending
    sa.Column("test_clock", sa.Text),
    sa.Column("metadata", sa.JSON, nullable=False),
    sa.Column("details", sa.JSON, nullable=False),  # the rest of it (`ledger.invoice_items`)
    sa.Column("created", Whole64, nullable=False),
)
sa.Index("ix_invoice_items_scope_seq", invoice_items.c.scope, invoice_items.c.seq)
sa.Index("ix_invoice_items_customer_invoice", invoice_items.c.customer, invoice_items.c.invoice)
sa.Index("ix_invoice_items_invoice", invoice_items.c.invoice)

# What time cannot bring about of a subscription, an invoice or a credit grant, and why
# (`ledger.holdups`).
holdups = sa.Table(
    "holdups",
    metadata,
    sa.Column("object", sa.Text, primary_key=True),
    sa.Column("due", Whole64, nullable=False),  # that of the object: what is due later is no part
    sa.Column("scope", sa.Integer, sa.ForeignKey("scopes.id"), nullable=False),
    sa.Column("customer", sa.Text, nullable=False),
    sa.Column("test_clock", sa.Text),
    sa.Column("code", sa.Text),
    sa.Column("message", sa.Text, nullable=False),
    sa.Column("since", Whole64, nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("again_at", Whole64),  # null: when its test clock is advanced again
)
sa.Index("ix_holdups_scope_since", holdups.c.scope, holdups.c.since)
