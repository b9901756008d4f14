"""Meters: the list, one of them with its chart, and changes of them."""

import asyncio
from collections import Counter, defaultdict
from http import HTTPStatus
from typing import Any

from starlette.responses import Response

from meterhouse.dashboard import usage
from meterhouse.dashboard.client import ApiError, path_part
from meterhouse.dashboard.visit import Visit

_HOUR = 3_600
_DAY = 24 * _HOUR
_PATH = "/v1/billing/meters"


async def list_(visit: Visit) -> Response:
    """List meters."""
    return await _list(visit)


async def create(visit: Visit) -> Response:
    """Make a meter."""
    said = visit.said
    keys = [key for key in said("dimensions").replace(",", " ").split() if key]
    form = [
        ("display_name", said("display_name")),
        ("event_name", said("event_name")),
        ("default_aggregation[formula]", said("formula") or "sum"),
        ("value_settings[event_payload_key]", said("value_key") or "value"),
        ("customer_mapping[type]", "by_id"),
        (
            "customer_mapping[event_payload_key]",
            said("customer_key") or "stripe_customer_id",
        ),
        *((f"dimension_payload_keys[{number}]", key) for number, key in enumerate(keys)),
    ]
    try:
        made = await visit.post(_PATH, form)
    except ApiError as error:
        return await _list(visit, str(error))
    return visit.go(f"meters/{made['id']}")


async def show(visit: Visit) -> Response:
    """Show a meter: its definition, calls to paste, and how much was used."""
    meter = await visit.get(f"{_PATH}/{path_part(visit.part('id'))}")
    base = f"meters/{meter['id']}"
    found = await usage.section(visit, [meter], base, meter=meter["id"])
    if visit.request.headers.get("x-fragment"):
        return visit.page("_usage.html", here="meters", **found)
    customers = await visit.items("/v1/customers", [("limit", 1)])
    example = customers[0]["id"] if customers else "cus_…"
    return visit.page(
        "meter.html",
        here="meters",
        calls=calls(meter, visit.url, example),
        **(found | {"meter": meter}),
    )


async def rename(visit: Visit) -> Response:
    """Give a meter another name."""
    return await _change(visit, "", [("display_name", visit.said("display_name"))])


async def deactivate(visit: Visit) -> Response:
    """Deactivate a meter: it takes no more events."""
    return await _change(visit, "/deactivate")


async def reactivate(visit: Visit) -> Response:
    """Reactivate a meter."""
    return await _change(visit, "/reactivate")


def calls(meter: dict[str, Any], url: str, customer: str) -> list[tuple[str, str, str]]:
    """Return calls that send an event to a meter: the id and name of a language, and the code."""
    payload = {meter["customer_mapping"]["event_payload_key"]: customer}
    if meter["default_aggregation"]["formula"] != "count":
        payload[meter["value_settings"]["event_payload_key"]] = "25"
    payload |= dict.fromkeys(meter.get("dimension_payload_keys") or [], "…")
    name = meter["event_name"]
    fields = "".join(f' \\\n  -d "payload[{key}]={value}"' for key, value in payload.items())
    python = "".join(f'        "{key}": "{value}",\n' for key, value in payload.items())
    node = "".join(f"    '{key}': '{value}',\n" for key, value in payload.items())
    host, _, port = url.partition("://")[2].partition(":")
    secure = url.startswith("https")
    curl = f'curl {url}/v1/billing/meter_events -u "$KEY:" \\\n  -d event_name={name}{fields}'
    python_call = (
        "import os, stripe\n\n"
        f'client = stripe.StripeClient(\n    os.environ["KEY"],\n'
        f'    base_addresses={{"api": "{url}"}},\n    max_network_retries=2,\n)\n'
        f'client.v1.billing.meter_events.create({{\n    "event_name": "{name}",\n'
        f'    "payload": {{\n{python}    }},\n}})'
    )
    node_call = (
        f"const stripe = require('stripe')(process.env.KEY, {{\n  host: '{host}',\n"
        f"  port: {port or (443 if secure else 80)},\n"
        f"  protocol: '{'https' if secure else 'http'}',\n}});\n\n"
        "await stripe.billing.meterEvents.create({\n"
        f"  event_name: '{name}',\n  payload: {{\n{node}  }},\n}});"
    )
    return [("curl", "curl", curl), ("python", "Python", python_call), ("node", "Node", node_call)]


async def _change(visit: Visit, action: str, form: list[tuple[str, str]] | None = None) -> Response:
    id_ = path_part(visit.part("id"))
    await visit.post(f"{_PATH}/{id_}{action}", form or [])
    return visit.go(f"meters/{id_}")


async def _list(visit: Visit, wrong: str = "") -> Response:
    start = visit.now - visit.now % _HOUR - _DAY + _HOUR
    asked = [("starts_at", start), ("ends_at", visit.now + 1), ("window", "hour")]
    month = [("starts_at", max(0, visit.now - 34 * _DAY)), ("ends_at", visit.now + 1)]
    by_meter = ("group_by[]", "meter")
    meters, hours, lasts = await asyncio.gather(
        visit.meters(),
        visit.items("/meterhouse/v1/activity", [*asked, by_meter, ("outcome", "accepted")]),
        visit.items("/meterhouse/v1/activity", [*month, by_meter]),
    )
    sums: dict[str, Counter[int]] = defaultdict(Counter)
    for row in hours:
        sums[row["meter"]][row["starts_at"]] += row["events"]
    starts = range(start, visit.now + 1, _HOUR)
    lines = [(one, [sums[one["id"]][at] for at in starts]) for one in meters]
    return visit.page(
        "meters.html",
        here="meters",
        status=HTTPStatus.BAD_REQUEST if wrong else HTTPStatus.OK,
        meters=[(one, sum(line), sparkline(line)) for one, line in lines],
        lasts={row["meter"]: row["last_received_at"] for row in lasts},
        wrong=wrong,
        form=visit.form,
    )


def sparkline(counts: list[int]) -> str:
    """Return the points of a line of 100 by 24, with the least at the bottom."""
    highest = max(counts, default=0) or 1
    step = 100 / max(1, len(counts) - 1)
    return " ".join(
        f"{number * step:.1f},{23 - 21 * count / highest:.1f}"
        for number, count in enumerate(counts)
    )
