"""`/v2/core/event_destinations` (https://docs.stripe.com/api/v2/core/event-destinations)."""

from typing import Annotated, Literal

import msgspec
import sqlalchemy as sa
from msgspec import Meta, Struct, field

from meterhouse import limits
from meterhouse.api import destination
from meterhouse.api.call import Answer, Call, ok
from meterhouse.api.once import once
from meterhouse.ledger import destinations, outbox
from meterhouse.ledger.destinations import Destination, Secret, Source
from meterhouse.render.destination import SIGNING_SECRET, URL, render_event_destination
from meterhouse.wire import refusals
from meterhouse.wire.document import Document, check_include
from meterhouse.wire.envelope_v2 import invalid_field, unsupported_destination
from meterhouse.wire.ids import new_id, new_signing_secret
from meterhouse.wire.metadata import merge_metadata
from meterhouse.wire.notification import Notification, Payload, thin_event
from meterhouse.wire.query import PageQuery, Query, bad_page, page_object
from meterhouse.wire.version import parse_version

_URL = frozenset({URL})

# The names of sources, and those that older API versions have for them.
_SOURCES: dict[str, Source] = {
    "@self": "@self",
    "@accounts": "@accounts",
    "self": "@self",
    "other_accounts": "@accounts",
}

Text = Annotated[str, Meta(max_length=limits.REQUEST_STRING_CHARS_MAX)]
Name = Annotated[str, Meta(min_length=1, max_length=limits.DESTINATION_NAME_CHARS_MAX)]
EnabledEvents = Annotated[
    list[Text], Meta(min_length=1, max_length=limits.DESTINATION_EVENTS_ITEMS_MAX)
]
Metadata = Annotated[
    dict[
        Annotated[str, Meta(max_length=limits.METADATA_KEY_CHARS_MAX)],
        Annotated[str, Meta(max_length=limits.METADATA_VALUE_CHARS_MAX)] | None,
    ],
    Meta(max_length=limits.REQUEST_LIST_ITEMS_MAX),
]


class WebhookEndpoint(Struct, forbid_unknown_fields=True):
    """Where to deliver."""

    url: Text


class DestinationCreate(Document):
    """The body of a request for a new destination."""

    includable = frozenset({SIGNING_SECRET, URL})

    enabled_events: EnabledEvents
    event_payload: Payload
    name: Name
    type: Literal["amazon_eventbridge", "azure_event_grid", "webhook_endpoint"]
    amazon_eventbridge: dict[str, str] | None = None
    azure_event_grid: dict[str, str] | None = None
    description: Text = ""
    events_from: Annotated[list[str], Meta(min_length=1)] | None = None
    metadata: Metadata | None = None
    snapshot_api_version: str | None = None
    webhook_endpoint: WebhookEndpoint | None = None


class DestinationUpdate(Document):
    """What can be changed of a destination."""

    includable = _URL

    description: Text | None = None
    enabled_events: EnabledEvents | None = None
    metadata: Metadata | None = None
    name: Name | None = None
    webhook_endpoint: WebhookEndpoint | None = None


class DestinationQuery(Query):
    """The parameters of the question for a destination."""

    lists = frozenset({"include"})

    include: list[str] = field(default_factory=list)


class DestinationList(PageQuery):
    """The parameters of the list."""

    lists = frozenset({"include"})

    include: list[str] = field(default_factory=list)


async def create(call: Call) -> Answer:
    """Create a destination; its secret is told now, if it is asked for, and never again."""
    sent = call.document(DestinationCreate)
    new = _new(call, sent)
    secret = new.secrets[0].secret
    kept = msgspec.structs.replace(new, secrets=[Secret(destination.withheld(secret), None)])

    def work(connection: sa.Connection) -> Answer:
        destination.create(connection, call, new)
        return _shown(call, kept, sent.include)

    answer = await once(call, work)
    return await destination.tell_secret(call, answer, secret, "webhook_endpoint", "signing_secret")


async def retrieve(call: Call) -> Answer:
    """Show a destination."""
    asked = call.query(DestinationQuery)
    check_include(asked.include, _URL)
    return _shown(call, await call.read(destination.find, call), asked.include)


async def update(call: Call) -> Answer:
    """Change a destination."""
    sent = call.document(DestinationUpdate)
    url = sent.webhook_endpoint.url if sent.webhook_endpoint else None
    changes = {
        "name": sent.name,
        "description": sent.description,
        "enabled_events": sent.enabled_events,
        "url": url,
    }
    given = {name: value for name, value in changes.items() if value is not None}

    def work(connection: sa.Connection) -> Answer:
        before = destination.find(connection, call, lock=True)
        _check(call, before.payload, url, sent.enabled_events)
        metadata = merge_metadata(before.metadata, _unset_by_null(sent.metadata))
        changed = destination.change(connection, call, before, metadata=metadata, **given)
        return _shown(call, changed, sent.include)

    return await once(call, work)


async def delete(call: Call) -> Answer:
    """Delete a destination."""
    call.query(Query)

    def work(connection: sa.Connection) -> Answer:
        gone = destination.delete(connection, call)
        return ok({"id": gone.id, "object": "v2.core.event_destination"})

    return await once(call, work)


async def enable(call: Call) -> Answer:
    """Send to a destination again; what became due meanwhile stays cancelled."""
    return await _switch(call, enabled=True)


async def disable(call: Call) -> Answer:
    """Send nothing to a destination."""
    return await _switch(call, enabled=False)


async def ping(call: Call) -> Answer:
    """Send an event to a destination that tells nothing, to see that it arrives."""
    call.document(Document)

    def work(connection: sa.Connection) -> Answer:
        target = destination.find(connection, call)
        if not target.enabled:
            raise refusals.destination_disabled(target.id)
        event = Notification(
            id=new_id("evt_thin", call.scope.livemode),
            scope=call.scope.id,
            payload="thin",
            type="v2.core.event_destination.ping",
            created=call.now,
            object_id=target.id,
            object_type="v2.core.event_destination",
            object_url=f"/v2/core/event_destinations/{target.id}",
            request_id=call.request,
            idempotency_key=call.idempotency_key,
        )
        outbox.emit_to(connection, event, target.id)
        account = call.scope.account if call.connected else None
        return ok(thin_event(event, livemode=call.scope.livemode, account=account, fetched=True))

    return await once(call, work)


async def list_(call: Call) -> Answer:
    """List destinations, newest first."""
    asked = call.query(DestinationList)
    check_include(asked.include, _URL)
    cut = asked.cut()
    page = await call.read(destinations.list_destinations, call.scope.id, cut)
    if page is None:
        raise bad_page()
    rows, has_more = page
    livemode = call.scope.livemode
    data = [render_event_destination(row, asked.include, livemode=livemode) for row in rows]
    return ok(page_object(call.path, call.parameters, cut, data, has_more=has_more))


def _new(call: Call, sent: DestinationCreate) -> Destination:
    if sent.type != "webhook_endpoint":
        raise unsupported_destination(sent.type)
    if sent.webhook_endpoint is None:
        raise invalid_field("Missing required field: webhook_endpoint.")
    url = sent.webhook_endpoint.url
    _check(call, sent.event_payload, url, sent.enabled_events)
    if sent.snapshot_api_version is not None:
        if sent.event_payload == "thin":
            raise invalid_field("snapshot_api_version is only for snapshot payloads.")
        parse_version(sent.snapshot_api_version)
    return Destination(
        id=new_id("ed", call.scope.livemode),
        scope=call.scope.id,
        name=sent.name,
        description=sent.description,
        url=url,
        local=call.local(),
        payload=sent.event_payload,
        enabled_events=sent.enabled_events,
        events_from=_sources(sent.events_from or ["@self"]),
        api_version=sent.snapshot_api_version,
        metadata=merge_metadata({}, _unset_by_null(sent.metadata)),
        enabled=True,
        secrets=[Secret(new_signing_secret(), None)],
        created=call.now,
        updated=call.now,
    )


def _check(call: Call, payload: Payload, url: str | None, enabled: list[str] | None) -> None:
    destination.check(
        call, payload, url=url, url_param="webhook_endpoint.url", enabled_events=enabled
    )


def _sources(names: list[str]) -> list[Source]:
    for index, name in enumerate(names):
        if name not in _SOURCES:
            raise invalid_field(
                f"events_from[{index}] must be @self or @accounts: there are no organizations here."
            )
    return list(dict.fromkeys(_SOURCES[name] for name in names))


def _unset_by_null(metadata: dict[str, str | None] | None) -> dict[str, str]:
    """Return a change of metadata as API v1 asks for it: an empty value unsets a key."""
    return {key: value or "" for key, value in (metadata or {}).items()}


async def _switch(call: Call, *, enabled: bool) -> Answer:
    sent = call.document(Document)

    def work(connection: sa.Connection) -> Answer:
        before = destination.find(connection, call, lock=True)
        changed = destination.change(connection, call, before, enabled=enabled)
        return _shown(call, changed, sent.include)

    return await once(call, work)


def _shown(call: Call, one: Destination, include: list[str]) -> Answer:
    return ok(render_event_destination(one, include, livemode=call.scope.livemode))
