"""What a transaction writes of bills: noted while it is decided, and written at its end, at once.

What a reader may rely on:

- Who decides sees what was noted as if it were written: customers and subscriptions as they have
  become, and the lines that an invoice has now.
- As many invoices as there are take as many statements as one does; what is read for each of them
  can be read for all before (`expect_…`).
- Whatever is noted is written together, or nothing of it. Events are told in the order in which
  they were noted.
- Customers are changed by whoever holds them (`held`), so nobody else does until we commit.

```
with posted(connection) as posting:
    finalize(posting, …)
```
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TypeVar

import sqlalchemy as sa
from msgspec.structs import replace

from meterhouse.billing.credit import Grant, Transaction
from meterhouse.billing.invoice import Invoice, InvoiceItem, Line, Segment
from meterhouse.billing.subscription import Subscription
from meterhouse.ledger import (
    accounts,
    credit_grants,
    credit_transactions,
    customers,
    invoice_items,
    invoice_lines,
    invoice_segments,
    invoices,
    outbox,
    subscriptions,
)
from meterhouse.ledger.customers import Customer
from meterhouse.ledger.memo import remembered
from meterhouse.wire.notification import Notification

T = TypeVar("T")


@contextmanager
def posted(connection: sa.Connection) -> Iterator["Posting"]:
    """Write what is noted, unless an error is raised."""
    posting = Posting(connection)
    yield posting
    posting._post()  # noqa: SLF001 - it is one of us


class Posting:
    """What is to be written over `connection`, and what was read of it to decide that."""

    def __init__(self, connection: sa.Connection) -> None:
        self.connection = connection
        self._held: dict[str, Customer] = {}
        self._customers: dict[str, Customer] = {}
        self._known: dict[str, Subscription] = {}
        self._begun: list[tuple[Subscription, int | None]] = []
        self._changed: dict[str, tuple[Subscription, int | None]] = {}
        self._lines: dict[str, Sequence[Line]] = {}
        self._numbers: dict[tuple[str, str], bool] = {}
        self._new: dict[str, Invoice] = {}
        self._revised: dict[str, Invoice] = {}
        self._put_lines: dict[str, tuple[int, str, Sequence[Line]]] = {}
        self._put_segments: dict[str, tuple[int, str, Sequence[Segment]]] = {}
        self._items: list[InvoiceItem] = []
        self._assigned: list[tuple[str, str]] = []
        self._grants: dict[str, Grant] = {}
        self._unspent: dict[str, list[str]] = {}
        self._granted: dict[str, Grant] = {}
        self._regranted: dict[str, Grant] = {}
        self._booked: list[Transaction] = []
        self._told: list[Notification] = []

    def hold(self, ids: Iterable[str]) -> None:
        """Hold customers, in the order of their ids, for us to change."""
        self._held |= customers.hold(self.connection, ids)

    def held(self, invoice: Invoice) -> Customer:
        """Return the customer of an invoice as it has become, whom nobody else changes."""
        if invoice.customer not in self._held:
            self.hold([invoice.customer])
        return self._held[invoice.customer]

    def customer(self, invoice: Invoice) -> Customer | None:
        """Return the customer of an invoice; None where there is none."""
        found = self._held.get(invoice.customer)
        return found or customers.find_customer(self.connection, invoice.scope, invoice.customer)

    def update_account(self, customer: Customer) -> None:
        """Note what a customer that is held owes beside its invoices, and its next number."""
        self._held[customer.id] = self._customers[customer.id] = customer

    def know(self, found: Mapping[str, Subscription]) -> None:
        """Take subscriptions for what they are: they are held."""
        self._known |= found

    def seller(self, scope: int) -> str | None:
        """Return the name of the account that a scope is of."""
        return remembered(
            self.connection, f"seller {scope}", partial(accounts.name_of, self.connection, scope)
        )

    def subscription_metadata(self, subscription_id: str) -> dict[str, str]:
        """Return the metadata that a subscription has now."""
        known = self._known.get(subscription_id)
        if known is not None:
            return known.metadata
        return subscriptions.metadata_of(self.connection, subscription_id)

    def create_subscription(self, one: Subscription, due: int | None) -> Subscription:
        """Note a new subscription, and when something happens to it of itself."""
        self._begun.append((one, due))
        self._known[one.id] = one
        return one

    def update_subscription(self, one: Subscription, due: int | None) -> Subscription:
        """Note what a subscription has become; return it in its new revision."""
        changed = subscriptions.revised(one)
        self._known[one.id] = changed
        self._changed[one.id] = (changed, due)
        return changed

    def expect_lines(self, invoice_ids: Iterable[str]) -> None:
        """Read the lines of many invoices, whose `lines` will be asked for."""
        self._lines |= invoice_lines.lines_of(self.connection, invoice_ids)

    def expect_numbers(self, numbers: Collection[tuple[str, str]]) -> None:
        """Look for many numbers of customers' invoices, each of which `is_taken` will be asked."""
        taken = invoices.taken_numbers(self.connection, numbers)
        self._numbers |= {number: number in taken for number in numbers}

    def lines(self, invoice_id: str) -> Sequence[Line]:
        """Return the lines that an invoice has now."""
        if invoice_id not in self._lines:
            self.expect_lines([invoice_id])
        return self._lines[invoice_id]

    def is_taken(self, customer_id: str, number: str) -> bool:
        """Tell whether an invoice of a customer has a number already."""
        if (customer_id, number) not in self._numbers:
            self.expect_numbers([(customer_id, number)])
        return self._numbers[customer_id, number]

    def create_invoice(
        self, invoice: Invoice, lines: Sequence[Line], segments: Sequence[Segment]
    ) -> None:
        """Note a new invoice with its lines and segments."""
        self._new[invoice.id] = invoice
        self.put_lines(invoice, lines, segments)

    def update_invoice(self, invoice: Invoice) -> Invoice:
        """Note what an invoice has become; return it in its new revision."""
        changed = invoices.revised(invoice)
        noted = self._new if invoice.id in self._new else self._revised
        noted[invoice.id] = changed
        return changed

    def put_lines(
        self, invoice: Invoice, lines: Sequence[Line], segments: Sequence[Segment]
    ) -> None:
        """Note all the lines and segments of a draft; lines that it has already stay."""
        self._put_segments[invoice.id] = (invoice.scope, invoice.id, segments)
        if self._lines.get(invoice.id) != lines:
            self._lines[invoice.id] = lines
            self._put_lines[invoice.id] = (invoice.scope, invoice.id, lines)

    def create_item(self, item: InvoiceItem) -> None:
        """Note a new invoice item."""
        self._items.append(item)

    def assign(self, item_ids: Iterable[str], invoice: Invoice) -> None:
        """Note that an invoice has items which were pending."""
        self._assigned += [(id_, invoice.id) for id_ in item_ids]

    def expect_grants(self, customers_: Iterable[str]) -> None:
        """Read the credit grants of many customers, whose `grants` will be asked for."""
        for customer_id, found in credit_grants.unspent(self.connection, customers_).items():
            self._unspent[customer_id] = [one.id for one in found]
            self._grants |= {one.id: one for one in found if one.id not in self._grants}

    def hold_grants(self, ids: Iterable[str]) -> dict[str, Grant]:
        """Return credit grants as they have become, whose customers are held."""
        ids = list(ids)
        missing = [id_ for id_ in ids if id_ not in self._grants]
        if missing:
            self._grants |= credit_grants.by_ids(self.connection, missing)
        return {id_: self._grants[id_] for id_ in ids}

    def grants(self, customer_id: str) -> list[Grant]:
        """Return those of a customer of which something is left."""
        if customer_id not in self._unspent:
            self.expect_grants([customer_id])
        return [one for id_ in self._unspent[customer_id] if (one := self._grants[id_]).balance]

    def grant(self, grant_id: str) -> Grant:
        """Return one that was asked for before, as it has become."""
        return self._grants[grant_id]

    def create_grant(self, grant: Grant) -> None:
        """Note a new grant, of which nothing is there yet."""
        self.grants(grant.customer)
        self._unspent[grant.customer].append(grant.id)
        self._grants[grant.id] = self._granted[grant.id] = grant

    def update_grant(self, grant: Grant) -> None:
        """Note what a grant has become; its balance changes with a transaction alone."""
        noted = self._granted if grant.id in self._granted else self._regranted
        self._grants[grant.id] = noted[grant.id] = grant

    def book(self, transaction: Transaction) -> None:
        """Note a transaction, and what it makes of its grant."""
        before = self._grants[transaction.grant]
        self.update_grant(replace(before, balance=before.balance + transaction.amount))
        self._booked.append(transaction)

    def applied_to(self, invoice_id: str) -> list[Transaction]:
        """Return the transactions with which credits were applied to an invoice."""
        noted = [
            one
            for one in self._booked
            if one.invoice == invoice_id and one.kind == "credits_applied"
        ]
        return [*credit_transactions.applied_to(self.connection, invoice_id), *noted]

    def tell(self, events: Iterable[Notification]) -> None:
        """Note what is announced."""
        self._told += events

    def _post(self) -> None:
        """Write it all: what others refer to first, and lines while their invoice is a draft."""
        connection = self.connection
        customers.update_accounts(connection, self._customers.values())
        for one, due in self._begun:
            subscriptions.create_subscription(connection, one, due)
        subscriptions.put_revised(connection, [*self._changed.values()])
        invoices.create_invoices(connection, [*self._new.values()])
        invoice_items.create_items(connection, self._items)
        invoice_items.assign(connection, self._assigned)
        self._post_lines()
        invoices.put_revised(connection, [*self._revised.values()])
        credit_grants.create_grants(connection, self._granted.values())
        credit_grants.update_grants(connection, self._regranted.values())
        credit_transactions.add(connection, self._booked)
        outbox.emit_all(connection, self._told)

    def _post_lines(self) -> None:
        new, old = self._parted(self._put_lines)
        invoice_lines.insert_lines(self.connection, new)
        invoice_lines.replace_lines(self.connection, old)
        new_segments, old_segments = self._parted(self._put_segments)
        invoice_segments.insert_segments(self.connection, new_segments)
        invoice_segments.replace_segments(self.connection, old_segments)

    def _parted(self, put: Mapping[str, T]) -> tuple[list[T], list[T]]:
        """Return what new invoices get, and what others get in the place of what they have."""
        new = [one for id_, one in put.items() if id_ in self._new]
        return new, [one for id_, one in put.items() if id_ not in self._new]
