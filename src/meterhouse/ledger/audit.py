"""The audit log: who changed what, and when. Entries are appended, and never changed.

What a reader may rely on:

- `note` writes an entry in the transaction of the change that it tells of, so there is neither one
  without the other. What is undone has no entry.
- Nothing is in an entry that a secret could be read from, and nothing that a customer of an account
  has told about itself: it names what was changed, and values only where they are one of few, such
  as a status.
- Entries leave when they are older than the setting `audit_days`, and not before, whatever becomes
  of what they tell of.
- One without a scope is about the installation as a whole.
"""

from collections.abc import Collection, Mapping
from typing import Any, Literal, NamedTuple

import msgspec
import sqlalchemy as sa

from meterhouse.ledger.paging import of_time, read_page
from meterhouse.ledger.tables import audit_log, scopes
from meterhouse.wire.ids import new_id
from meterhouse.wire.page import PageParams

# Whatever can be done that an entry tells of.
ACTIONS: Mapping[str, str] = {
    "account.created": "An account was made.",
    "account.renamed": "An account was given another name, or none.",
    "alert.activated": "An alert was activated.",
    "alert.archived": "An alert was archived.",
    "alert.created": "An alert was made.",
    "alert.deactivated": "An alert was deactivated.",
    "api_key.created": "A key was made, or the setting `api_keys` named one.",
    "api_key.revoked": "A key was revoked, or left the setting `api_keys`.",
    "backup.created": "A back-up of both stores was asked for.",
    "backup.restored": "Both stores were put in place as a back-up has them.",
    "clock.accepted": "The operator said that the machine's clock is right.",
    "credit_grant.created": "Credit was granted to a customer.",
    "credit_grant.expired": "What was left of a credit grant was let expire by hand.",
    "credit_grant.updated": "A credit grant was changed.",
    "credit_grant.voided": "A credit grant was taken back.",
    "customer.deleted": "A customer was deleted.",
    "customer.erased": "A customer, or values of its events, were erased for good.",
    "dashboard_session.created": "Somebody signed in to the dashboard.",
    "dashboard_session.ended": "Somebody signed out, or was signed out.",
    "dashboard_session.failed": "Somebody tried to sign in, and the password was not right.",
    "delivery.redelivered": "A notification was sent to a destination once more.",
    "event_destination.created": "An event destination or webhook endpoint was made.",
    "event_destination.deleted": "One was deleted.",
    "event_destination.disabled": "One was disabled: by somebody, or because nothing had arrived.",
    "event_destination.enabled": "One was enabled.",
    "event_destination.secret_rolled": "One got a new signing secret.",
    "event_destination.updated": "One was changed otherwise.",
    "invoice.created": "An invoice was made.",
    "invoice.deleted": "A draft of an invoice was deleted.",
    "invoice.finalized": "An invoice was finalized.",
    "invoice.marked_uncollectible": "An invoice was written off.",
    "invoice.paid": "Somebody said that an invoice was paid elsewhere.",
    "invoice.sent": "An invoice was sent.",
    "invoice.updated": "An invoice, or what is on a draft of one, was changed.",
    "invoice.voided": "An invoice was declared void.",
    "invoice_item.created": "An invoice item was made.",
    "invoice_item.deleted": "An invoice item was deleted.",
    "invoice_item.updated": "An invoice item was changed.",
    "meter.created": "A meter was made.",
    "meter.deactivated": "A meter was deactivated.",
    "meter.dimensions_changed": "A meter got other dimensions.",
    "meter.reactivated": "A meter was reactivated.",
    "meter.updated": "A meter was renamed.",
    "meter_event_adjustment.created": "An event was cancelled.",
    "price.created": "A price was made.",
    "price.updated": "A price was changed: archived, renamed, or given other currencies.",
    "product.created": "A product was made.",
    "product.deleted": "A product was deleted.",
    "product.updated": "A product was changed.",
    "resend.created": "Rejected events were sent again.",
    "settings.changed": "The server was started with other settings than before.",
    "signing_secret.renewed": "What signs was renewed, which ended every session and token.",
    "stores.moved": "Both stores were moved here from others.",
    "subscription.canceled": "A subscription was ended.",
    "subscription.created": "A customer was subscribed to prices.",
    "subscription.migrated": "A subscription was brought to the flexible billing mode.",
    "subscription.paused": "A subscription was let stand still.",
    "subscription.resumed": "A subscription was let go on.",
    "subscription.updated": "A subscription was changed.",
    "subscription_item.created": "An item was added to a subscription.",
    "subscription_item.deleted": "An item was removed from a subscription.",
    "subscription_item.updated": "An item of a subscription was changed.",
    "test_clock.advanced": "A test clock was sent on its way.",
    "test_clock.created": "A test clock was made.",
    "test_clock.deleted": "A test clock was deleted, and its customers with it.",
    "usage.exported": "The usage of customers was downloaded as CSV or Parquet.",
    "user.created": "A user of the dashboard was made.",
    "user.deleted": "A user was deleted.",
    "user.password_changed": "A user got another password.",
}

ActorType = Literal["anonymous", "api_key", "operator", "system", "user"]


class Actor(NamedTuple):
    """Who does something: `id` is that of an API key, or the name of a user; None for others.

    `name` is for people: the masked key, or who it is on the machine of the operator.
    """

    type: ActorType
    id: str | None
    name: str


class Origin(NamedTuple):
    """Where a change comes from: who makes it, and when.

    `address` is that of the client, empty where there is none; `request` the id of the request.
    """

    actor: Actor
    at: int
    address: str = ""
    request: str | None = None


class Change(NamedTuple):
    """What became of a member: its values, where they may be told."""

    old: Any = None
    new: Any = None


Changes = Mapping[str, Change]


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """An entry; `account` and `livemode` are None where it is about the whole installation."""

    id: str
    created: int
    account: str | None
    livemode: bool | None
    action: str
    actor_type: ActorType
    actor_id: str | None
    actor_name: str
    object_id: str | None
    address: str
    request_id: str | None
    changes: dict[str, dict[str, Any]]


class Filter(NamedTuple):
    """Which entries to list; what is None leaves nothing out.

    An `action` that ends in `*` stands for all that begin so. An `actor` is named by its id or its
    name. `created` is a half-open window, open where a bound is None.
    """

    action: str | None = None
    actor: str | None = None
    object_id: str | None = None
    created: tuple[int | None, int | None] = (None, None)


_OWN = (
    "id",
    "created",
    "action",
    "actor_type",
    "actor_id",
    "actor_name",
    "object_id",
    "address",
    "request_id",
    "changes",
)
_entries = sa.select(
    *(audit_log.c[name] for name in _OWN), scopes.c.account, scopes.c.livemode
).outerjoin_from(audit_log, scopes)
_expired = (
    sa.select(audit_log.c.seq)
    .where(audit_log.c.created < sa.bindparam("before"))
    .order_by(audit_log.c.created)
    .limit(sa.bindparam("rows"))
)
_expire = sa.delete(audit_log).where(audit_log.c.seq.in_(_expired))


# Whoever may read the token in the data folder.
OPERATOR = Actor("operator", None, "operator")


def system(now: int) -> Origin:
    """Return what a change comes from that the server makes by itself."""
    return Origin(Actor("system", None, "Meterhouse"), now)


def note(
    connection: sa.Connection,
    origin: Origin,
    action: str,
    scope: int | None,
    object_id: str | None,
    changes: Changes | None = None,
) -> None:
    """Write down what is done in this transaction; `scope` is None for the whole installation."""
    if action not in ACTIONS:
        raise ValueError(f"'{action}' is no row of the table of actions.")
    row = {
        "id": new_id("aud"),
        "created": origin.at,
        "scope": scope,
        "action": action,
        "actor_type": origin.actor.type,
        "actor_id": origin.actor.id,
        "actor_name": origin.actor.name,
        "object_id": object_id,
        "address": origin.address,
        "request_id": origin.request,
        "changes": {name: change._asdict() for name, change in (changes or {}).items()},
    }
    connection.execute(sa.insert(audit_log), row)


def changed(
    before: msgspec.Struct, after: msgspec.Struct, told: Collection[str], but: Collection[str] = ()
) -> dict[str, Change]:
    """Return what differs between two states of an object, without the members `but`.

    The values of those in `told` are told, too.
    """
    found: dict[str, Change] = {}
    for name in before.__struct_fields__:
        old, new = getattr(before, name), getattr(after, name)
        if old != new and name not in but:
            found[name] = Change(old, new) if name in told else Change()
    return found


def list_entries(
    connection: sa.Connection,
    scope: int | None,
    page: PageParams,
    wanted: Filter,
    *,
    installation: bool = False,
) -> tuple[list[Entry], bool] | None:
    """Return a page of the entries of a scope, newest first, and whether there are more.

    With `installation` those of the installation as a whole are among them; where `scope` is None
    they are all entries there are. Returns None when the cursor of `page` names no entry.
    """
    own = sa.true() if scope is None else audit_log.c.scope == scope
    if installation:
        own = sa.or_(own, audit_log.c.scope.is_(None))
    found = read_page(connection, audit_log, _filtered(wanted), None, page, own=own)
    return ([Entry(**row) for row in found.rows], found.has_more) if found else None


def expire(connection: sa.Connection, created_before: int, rows_max: int) -> int:
    """Delete up to `rows_max` of the entries from before an instant; return how many went."""
    return connection.execute(_expire, {"before": created_before, "rows": rows_max}).rowcount


def _filtered(wanted: Filter) -> sa.Select[Any]:
    query = _entries
    if wanted.action is not None:
        query = query.where(_begins_so(wanted.action))
    if wanted.actor is not None:
        named = (audit_log.c.actor_id == wanted.actor, audit_log.c.actor_name == wanted.actor)
        query = query.where(sa.or_(*named))
    if wanted.object_id is not None:
        query = query.where(audit_log.c.object_id == wanted.object_id)
    return of_time(query, audit_log.c.created, wanted.created)


def _begins_so(pattern: str) -> sa.ColumnElement[bool]:
    if not pattern.endswith("*"):
        return audit_log.c.action == pattern
    return audit_log.c.action.in_([one for one in ACTIONS if one.startswith(pattern[:-1])])
