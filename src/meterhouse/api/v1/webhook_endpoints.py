"""`/v1/webhook_endpoints` (https://docs.stripe.com/api/webhook_endpoints)."""

from typing import Annotated, Any
from urllib.parse import urlsplit

import sqlalchemy as sa
from msgspec import UNSET, UnsetType

from meterhouse import limits
from meterhouse.api import destination
from meterhouse.api.call import Answer, Call, ok
from meterhouse.api.once import once
from meterhouse.ledger import destinations
from meterhouse.ledger.destinations import Destination, Secret
from meterhouse.render.destination import render_webhook_endpoint
from meterhouse.wire import envelope
from meterhouse.wire.deleted import deleted
from meterhouse.wire.expand import check_expand
from meterhouse.wire.ids import new_id, new_signing_secret
from meterhouse.wire.metadata import merge_metadata
from meterhouse.wire.page import PageParams, list_object
from meterhouse.wire.params import Items, Metadata, RequestParams
from meterhouse.wire.version import parse_version

EnabledEvents = Annotated[list[str], Items(limits.DESTINATION_EVENTS_ITEMS_MAX)]


class EndpointWrite(RequestParams, kw_only=True):
    """What can be said of an endpoint at any time."""

    description: str | UnsetType | None = UNSET
    metadata: Metadata | UnsetType | None = UNSET


class EndpointCreate(EndpointWrite):
    """The parameters of a new endpoint."""

    enabled_events: EnabledEvents
    url: str
    api_version: str | None = None
    connect: bool = False


class EndpointUpdate(EndpointWrite):
    """What can be changed of an endpoint."""

    disabled: bool | None = None
    enabled_events: EnabledEvents | None = None
    url: str | None = None


async def create(call: Call) -> Answer:
    """Create an endpoint; its secret is told now and never again."""
    params = call.params(EndpointCreate)
    _check(call, params)
    if params.api_version is not None:
        parse_version(params.api_version)
    secret = new_signing_secret()
    endpoint = Destination(
        id=new_id("we"),
        scope=call.scope.id,
        name=urlsplit(params.url).hostname or params.url,
        description=params.description or "",
        url=params.url,
        local=call.local(),
        payload="snapshot",
        enabled_events=params.enabled_events,
        events_from=["@accounts" if params.connect else "@self"],
        api_version=params.api_version,
        metadata=merge_metadata({}, params.metadata),
        enabled=True,
        secrets=[Secret(secret, None)],
        created=call.now,
        updated=call.now,
    )

    def work(connection: sa.Connection) -> Answer:
        destination.create(connection, call, endpoint)
        return ok(_shown(call, endpoint) | {"secret": destination.withheld(secret)})

    return await destination.tell_secret(call, await once(call, work), secret, "secret")


async def retrieve(call: Call) -> Answer:
    """Show an endpoint."""
    check_expand(call.params(RequestParams).expand)
    return ok(_shown(call, await call.read(destination.find, call)))


async def update(call: Call) -> Answer:
    """Change an endpoint, or disable it."""
    params = call.params(EndpointUpdate)
    _check(call, params)

    def work(connection: sa.Connection) -> Answer:
        before = destination.find(connection, call, lock=True)
        changed = destination.change(connection, call, before, **_changes(before, params))
        return ok(_shown(call, changed))

    return await once(call, work)


async def delete(call: Call) -> Answer:
    """Delete an endpoint."""
    check_expand(call.params(RequestParams).expand)
    gone = await call.services.stores.write(destination.delete, call)
    return ok(deleted(gone.id, "webhook_endpoint"))


async def list_(call: Call) -> Answer:
    """List endpoints, newest first."""
    params = call.params(PageParams)
    check_expand(params.expand)
    page = await call.read(
        destinations.list_destinations, call.scope.id, params, payload="snapshot"
    )
    if page is None:
        raise envelope.no_such("webhook endpoint", params.cursor, params.cursor_param)
    rows, has_more = page
    return ok(list_object(call.path, [_shown(call, row) for row in rows], has_more))


def _check(call: Call, params: EndpointCreate | EndpointUpdate) -> None:
    check_expand(params.expand)
    destination.check(
        call,
        "snapshot",
        url=params.url,
        url_param="url",
        enabled_events=params.enabled_events,
    )


def _changes(before: Destination, params: EndpointUpdate) -> dict[str, Any]:
    changes: dict[str, Any] = {
        "enabled": None if params.disabled is None else not params.disabled,
        "enabled_events": params.enabled_events,
        "url": params.url,
        "metadata": merge_metadata(before.metadata, params.metadata),
    }
    if params.description is not UNSET:
        changes["description"] = params.description or ""
    return {name: value for name, value in changes.items() if value is not None}


def _shown(call: Call, endpoint: Destination) -> dict[str, Any]:
    return render_webhook_endpoint(endpoint, livemode=call.scope.livemode)
