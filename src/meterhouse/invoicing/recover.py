"""What becomes of a subscription when an invoice of it is settled, one way or the other."""

import sqlalchemy as sa
from msgspec.structs import replace

from meterhouse.billing.subscription import Subscription
from meterhouse.invoicing.posting import posted
from meterhouse.invoicing.turn import Terms, due_of, tell_of_subscription
from meterhouse.ledger import invoices
from meterhouse.ledger.announce import Cause


def recover(
    connection: sa.Connection, cause: Cause, subscription: Subscription, terms: Terms
) -> None:
    """Make a subscription that was past due active again, once nothing of it is overdue.

    An invoice that was paid, written off or voided is not. The subscription is locked.
    """
    if subscription.status != "past_due" or invoices.late(connection, subscription.id):
        return
    active = replace(subscription, status="active")
    with posted(connection) as posting:
        active = posting.update_subscription(active, due_of(active, terms))
        tell_of_subscription(posting, cause, "updated", active, subscription)
