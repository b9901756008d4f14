"""Meters as Stripe shows them."""

from typing import Any

from meterhouse.metering.model import Meter
from meterhouse.render.instant import seconds, seconds_or_none
from meterhouse.wire.version import ApiVersion


def render_meter(one: Meter, *, livemode: bool, version: ApiVersion) -> dict[str, Any]:
    """Render a meter (https://docs.stripe.com/api/billing/meter/object).

    `dimension_payload_keys` is a preview: it shows at preview versions, and wherever it is set.
    """
    document: dict[str, Any] = {
        "id": one.id,
        "object": "billing.meter",
        "created": seconds(one.created),
        "customer_mapping": {"event_payload_key": one.customer_key, "type": "by_id"},
        "default_aggregation": {"formula": one.formula},
        "display_name": one.display_name,
        "event_name": one.event_name,
        "event_time_window": one.event_time_window,
        "livemode": livemode,
        "status": "active" if one.active else "inactive",
        "status_transitions": {"deactivated_at": seconds_or_none(one.deactivated_at)},
        "updated": seconds(one.updated),
        "value_settings": {"event_payload_key": one.value_key},
    }
    if one.dimension_keys is not None or version.preview:
        document["dimension_payload_keys"] = one.dimension_keys
    return document
