"""The tables of the ledger.

What a reader may rely on:

- Instants are milliseconds since the epoch.
- A *scope* is one account in one mode (test or live): the wall between books. Every row that
  belongs to a customer of ours carries its scope.
- A *position* numbers acknowledged work. On SQLite they are in commit order: a reader that has seen
  position p will never see a smaller one appear. On PostgreSQL, where several processes commit at a
  time, a smaller one may appear later. Positions that are not needed are left out.
- The migrations from zero give exactly these tables; a test compares them.
- A table is imported from here, whichever file it is in.
"""

from meterhouse.ledger.tables.acceptance import (
    event_id_key,
    idempotency_records,
    journal,
    journal_head,
    journal_positions,
    partitions,
    recent_claims,
)
from meterhouse.ledger.tables.access import (
    accounts,
    api_keys,
    audit_log,
    dashboard_sessions,
    scopes,
    users,
)
from meterhouse.ledger.tables.alert import alert_triggers, alerts, touches
from meterhouse.ledger.tables.base import metadata
from meterhouse.ledger.tables.billing import (
    holdups,
    invoice_items,
    invoice_lines,
    invoice_segments,
    invoices,
    subscription_items,
    subscriptions,
    test_clocks,
    watched_meters,
)
from meterhouse.ledger.tables.catalog import (
    dimension_changes,
    dimension_combinations,
    meters,
    prices,
    products,
    rebuilt_months,
)
from meterhouse.ledger.tables.credit import credit_grants, credit_transactions
from meterhouse.ledger.tables.customer import customers, erasures, terms_of_customer
from meterhouse.ledger.tables.installation import (
    known_settings,
    leases,
    nodes,
    owner,
    signing_secret,
    store_identity,
    timekeeping,
    verification,
    zone_rules,
)
from meterhouse.ledger.tables.notification import (
    attempts,
    deliveries,
    destinations,
    listeners,
    notifications,
)
from meterhouse.ledger.tables.outcome import (
    activity,
    adjustments,
    blocks,
    rejections,
    resends,
    tallies,
)

__all__ = [
    "accounts",
    "activity",
    "adjustments",
    "alert_triggers",
    "alerts",
    "api_keys",
    "attempts",
    "audit_log",
    "blocks",
    "credit_grants",
    "credit_transactions",
    "customers",
    "dashboard_sessions",
    "deliveries",
    "destinations",
    "dimension_changes",
    "dimension_combinations",
    "erasures",
    "event_id_key",
    "holdups",
    "idempotency_records",
    "invoice_items",
    "invoice_lines",
    "invoice_segments",
    "invoices",
    "journal",
    "journal_head",
    "journal_positions",
    "known_settings",
    "leases",
    "listeners",
    "metadata",
    "meters",
    "nodes",
    "notifications",
    "owner",
    "partitions",
    "prices",
    "products",
    "rebuilt_months",
    "recent_claims",
    "rejections",
    "resends",
    "scopes",
    "signing_secret",
    "store_identity",
    "subscription_items",
    "subscriptions",
    "tallies",
    "terms_of_customer",
    "test_clocks",
    "timekeeping",
    "touches",
    "users",
    "verification",
    "watched_meters",
    "zone_rules",
]
