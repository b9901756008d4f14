"""`/meterhouse/v1/entitlement`: whether a customer may use more of a meter, asked before each call.

The answer comes from memory (`api.entitlements`) and says how fresh it is. Whoever wants all that
was acknowledged before asks with `Meterhouse-Consistency: strong`, and waits for it, also with a
test key.
"""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

from meterhouse import limits
from meterhouse.api.call import Answer, Call
from meterhouse.api.entitlements import Found
from meterhouse.api.services import Services
from meterhouse.background import is_set_within
from meterhouse.billing.charge import ZERO
from meterhouse.billing.entitlement import Entitlement, Position
from meterhouse.errors import CrowdedError, StoreError
from meterhouse.invoicing.entitlement import Pair
from meterhouse.metering.model import Scope
from meterhouse.metering.value import print_value
from meterhouse.render.instant import seconds, seconds_or_none
from meterhouse.wire.body import to_json
from meterhouse.wire.expand import check_expand
from meterhouse.wire.params import RequestParams
from meterhouse.wire.refusals import too_many_streams


class EntitlementParams(RequestParams, kw_only=True):
    """Who asks to use what; with `require_credits` only what credits pay for."""

    customer: str
    meter: str
    require_credits: bool = False


class _Asked:
    """One question: what finds its answer, and how that is shown."""

    def __init__(self, call: Call) -> None:
        self._params = call.params(EntitlementParams)
        check_expand(self._params.expand)
        self._services: Services = call.services
        self._scope: Scope = call.scope
        self._strong = call.headers.get(b"meterhouse-consistency") == b"strong"
        self._pair = Pair(self._params.customer, self._params.meter)

    async def answer(self) -> Answer:
        known = self._services.entitlements
        settled = self._strong and await self._services.progress.reach(strong=True)
        found = await (known.find if self._strong else known.get)(self._scope, self._pair)
        consistency = "strong" if settled else "eventual"
        return Answer(200, self._body(found), {"Meterhouse-Consistency": consistency})

    async def changes(self) -> AsyncGenerator[bytes]:
        """Yield what is so now, and then whatever has changed, until the server stops."""
        known, loop = self._services.entitlements, asyncio.get_running_loop()
        known.listeners += 1
        told: dict[str, Any] | None = None
        spoke = loop.time()
        try:
            while not known.stopping.is_set():
                found = await self._get()
                document = told if found is None else self._document(found.entitlement)
                if found is not None and document != told:
                    told, spoke = document, loop.time()
                    yield b"data: " + self._body(found) + b"\n\n"
                elif loop.time() - spoke >= limits.ENTITLEMENT_SILENCE_SECONDS:
                    spoke = loop.time()
                    yield b": still here\n\n"
                await is_set_within(known.stopping, limits.ENTITLEMENT_FRESH_SECONDS)
        finally:
            known.listeners -= 1

    async def _get(self) -> Found | None:
        """Return what is known; None while a store does not answer."""
        try:
            return await self._services.entitlements.get(self._scope, self._pair)
        except (CrowdedError, StoreError):
            return None

    def _body(self, found: Found) -> bytes:
        age = asyncio.get_running_loop().time() - found.at
        fresh = {
            "age_milliseconds": int(age * 1000),
            "complete_until": seconds(found.entitlement.complete_until),
        }
        return to_json(self._document(found.entitlement) | fresh)

    def _document(self, one: Entitlement) -> dict[str, Any]:
        """Show all of it but how fresh it is."""
        reasons = one.reasons(require_credits=self._params.require_credits)
        return {
            "object": "meterhouse.entitlement",
            "alerts": [_position(position) for position in one.positions],
            "credits": [
                {"currency": currency, "remaining": left} for currency, left in one.credits.items()
            ],
            "customer": self._params.customer,
            "entitled": not reasons,
            "livemode": self._scope.livemode,
            "meter": self._params.meter,
            "reasons": reasons,
        }


async def retrieve(call: Call) -> Answer:
    """Tell whether a customer may use more of a meter, and what is left."""
    return await _Asked(call).answer()


async def stream(call: Call) -> Answer:
    """Tell it now, and again whenever it has changed, as server-sent events."""
    asked = _Asked(call)
    await asked.answer()  # refuses what is not in order
    if call.services.entitlements.listeners >= limits.ENTITLEMENT_LISTENERS_MAX:
        raise too_many_streams()
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return Answer(200, b"", headers, "text/event-stream", pieces=asked.changes())


def _position(one: Position) -> dict[str, Any]:
    """Show how far a customer is from the last step of an alert; what is over has nothing left."""
    ends = one.alert.recurs != "one_time"
    return {
        "alert": one.alert.id,
        "gte": print_value(one.limit),
        "hard_limit": one.alert.hard_limit,
        "reached": one.used >= one.limit,
        "remaining": print_value(max(one.limit - one.used, ZERO)),
        "resets_at": seconds_or_none(one.period.end if ends else None),
        "title": one.alert.title,
        "used": print_value(one.used),
    }
