"""`/v1/stripecli/sessions`: the Stripe CLI asks to listen to events or to the log of requests.

`stripe listen` and `stripe logs tail` begin here and go on with the websocket of `api.subscribe`;
`stripe listen --print-secret` ends here. No page describes it: see `wire.stripecli`.
"""

from typing import Annotated, cast, get_args

from meterhouse import limits
from meterhouse.api.call import Answer, Call, ok
from meterhouse.wire import envelope
from meterhouse.wire.expand import check_expand
from meterhouse.wire.param_errors import invalid_choice, invalid_object
from meterhouse.wire.params import Items, Length, RequestParams
from meterhouse.wire.stripecli import EVERY_LOG, Feature, LogFilters, read_filters
from meterhouse.wire.version import DEFAULT_VERSION

# What a key must be permitted to read, to hear of it.
_HEARS: dict[Feature, str] = {
    "webhooks": "events",
    "v2_events": "events",
    "request_logs": "request_logs",
}
_FEATURES: tuple[Feature, ...] = get_args(Feature)


class SessionCreate(RequestParams):
    """What the CLI wants to hear. Where it forwards to is its own business: that is not kept."""

    device_name: Annotated[str, Length(limits.CLI_DEVICE_CHARS_MAX)]
    websocket_features: Annotated[list[str], Items(len(_FEATURES))]
    filters: str | None = None
    forward_to_url: str | None = None
    forward_connect_to_url: str | None = None
    forward_thin_to_url: str | None = None
    forward_thin_connect_to_url: str | None = None


async def create(call: Call) -> Answer:
    """Begin a session: what happens from now on is kept for it until it connects."""
    params = call.params(SessionCreate)
    check_expand(params.expand)
    features = _features(params.websocket_features)
    for feature in features:
        call.credential.require(_HEARS[feature], "read")
    filters = EVERY_LOG if params.filters is None else _filters(params.filters)
    listener = await call.services.broadcast.listen(
        call.scope, call.credential.key, params.device_name, frozenset(features), filters
    )
    if listener is None:
        raise envelope.too_many_listeners()
    return ok(
        {
            "websocket_id": listener.id,
            "websocket_url": f"{_server(call)}/subscribe/{call.scope.account}",
            "websocket_authorized_feature": features[0],
            "secret": listener.device.secret,
            "reconnect_delay": limits.CLI_RECONNECT_SECONDS,
            "default_version": DEFAULT_VERSION.text,
            "latest_version": DEFAULT_VERSION.text,
            "device_token": listener.device.id,
            "display_connect_filter_warning": bool(filters.filter_account),
        }
    )


def _features(names: list[str]) -> list[Feature]:
    if not names or not set(names) <= set(_FEATURES):
        raise invalid_choice("websocket_features", _FEATURES)
    return cast("list[Feature]", names)


def _filters(text: str) -> LogFilters:
    try:
        return read_filters(text)
    except ValueError:
        raise invalid_object("filters") from None


def _server(call: Call) -> str:
    """Return where the CLI has reached us, as it sees it: also on a socket or behind a proxy."""
    config = call.services.config
    scheme, host = config.trusted_proxies.front(call.headers, call.peer)
    return f"{'wss' if scheme == 'https' else 'ws'}://{host}{config.base_path}"
