"""What a listening Stripe CLI is sent: the frames of an event, signed now, or of a log line."""

import msgspec

from meterhouse.delivery.attempt import HEADERS
from meterhouse.delivery.listener import Device, Event, Item
from meterhouse.usage.request_logs import RequestLog
from meterhouse.wire.body import to_json
from meterhouse.wire.notification import snapshot_event, thin_event
from meterhouse.wire.signature import sign
from meterhouse.wire.stripecli import log_frame, snapshot_frame, thin_frame
from meterhouse.wire.version import DEFAULT_VERSION

# The CLI reads a compressed answer only where it has asked for it by itself.
_HEADERS = {name: value for name, value in HEADERS.items() if name != "Accept-Encoding"}


def frames(item: Item, device: Device, *, livemode: bool, now: int) -> list[str]:
    """Return the frames that tell `item` to `device`.

    A snapshot event has two, as Stripe sends them: the CLI takes the copy at the default version,
    or with `--latest` the one at the newest. Here both are the same.
    """
    if isinstance(item, RequestLog):
        return [log_frame(item.request, to_json(_log(item)))]
    if item.notification.payload == "thin":
        return [_thin(item, device, livemode, now)]
    return _snapshot(item, device, livemode, now)


def _thin(item: Event, device: Device, livemode: bool, now: int) -> str:
    event, account = item
    payload = to_json(thin_event(event, livemode=livemode, account=account, fetched=False))
    return thin_frame(_headers(device, payload, now), device.id, payload)


def _snapshot(item: Event, device: Device, livemode: bool, now: int) -> list[str]:
    event, account = item
    payload = to_json(snapshot_event(event, livemode=livemode, account=account, pending_webhooks=1))
    headers = _headers(device, payload, now)
    return [
        snapshot_frame(event.id, headers, device.id, payload, version)
        for version in (None, DEFAULT_VERSION.text)
    ]


def _log(log: RequestLog) -> dict[str, object]:
    document = {
        "created_at": log.created // 1000,
        "livemode": log.livemode,
        "method": log.method,
        "request_id": log.request,
        "status": log.status,
        "url": log.path,
    }
    return document | {"error": msgspec.Raw(log.error.encode())} if log.error else document


def _headers(device: Device, payload: bytes, now: int) -> dict[str, str]:
    return _HEADERS | {"Stripe-Signature": sign((device.secret,), payload, now)}
