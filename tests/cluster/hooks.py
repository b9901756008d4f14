"""A receiver of everything that happens, and what it must have heard in the end."""

import asyncio
import json
from collections import Counter
from typing import Any

import stripe

from tests.crash.client import VERSION, Client
from tests.receiver import Receiver

SNAPSHOTS, THIN = "/snapshots", "/thin"
REPORTS = ("v1.billing.meter.error_report_triggered", "v1.billing.meter.no_meter_found")
TOLD_SECONDS_MAX = 60
LOOK_SECONDS = 0.5


class Hooks:
    """Two destinations at one receiver: events as snapshots, and thin ones."""

    def __init__(self, client: Client, receiver: Receiver) -> None:
        self._client = client
        self._receiver = receiver
        self._secrets: dict[str, str] = {}
        self._seen: dict[str, dict[str, Any]] = {}

    async def set_up(self) -> None:
        """Make the destinations; nothing that happens before is owed to them."""
        everything = {"url": self._receiver.url + SNAPSHOTS, "enabled_events[]": "*"}
        made = await self._client.post("/v1/webhook_endpoints", everything)
        self._secrets[SNAPSHOTS] = made.document["secret"]
        thin = {
            "name": "Everything",
            "type": "webhook_endpoint",
            "event_payload": "thin",
            "enabled_events": ["*"],
            "webhook_endpoint": {"url": self._receiver.url + THIN},
            "include": ["webhook_endpoint.signing_secret"],
        }
        made = await self._client.post_v2("/v2/core/event_destinations", thin)
        assert made.status == 200, made
        self._secrets[THIN] = made.document["webhook_endpoint"]["signing_secret"]
        self._client.close()  # it would be cut off by the first kill

    async def check(self, rejected: range) -> int:
        """Wait until all that happened was told; return how many reports were beside another.

        `rejected` are the numbers of rejected events that there may be. A window has more than one
        report of a meter where judging took longer than its report would wait.
        """
        async with asyncio.timeout(TOLD_SECONDS_MAX):
            while True:
                happened = {SNAPSHOTS: await self._snapshots(), THIN: await self._thin()}
                reports = await self._reports(happened[THIN])
                told = sum(int(report["reason"]["error_count"]) for _, report in reports)
                if told >= rejected.start and all(
                    self._has_heard(path, ids) for path, ids in happened.items()
                ):
                    break
                await asyncio.sleep(LOOK_SECONDS)
        assert told in rejected, (told, rejected)
        for one in self._receiver.heard:
            stripe.WebhookSignature.verify_header(
                one.body, one.headers["Stripe-Signature"], self._secrets[one.path]
            )
        windows = Counter((meter, report["validation_start"]) for meter, report in reports)
        return len(reports) - len(windows)

    def _has_heard(self, path: str, ids: set[str]) -> bool:
        """Tell whether all were delivered there; what was not announced never may be."""
        heard = {json.loads(one.body)["id"] for one in self._receiver.heard if one.path == path}
        assert heard <= ids, "something was told that never happened"
        return heard == ids

    async def _reports(self, ids: set[str]) -> list[tuple[str, dict[str, Any]]]:
        """Return the error reports among the thin events, each with its meter."""
        for id_ in ids - self._seen.keys():
            self._seen[id_] = await self._get(f"/v2/core/events/{id_}")
        return [
            ((event.get("related_object") or {}).get("id", ""), event["data"])
            for event in self._seen.values()
            if event["type"] in REPORTS
        ]

    async def _snapshots(self) -> set[str]:
        return {event["id"] for event in await listed(self._client, "/v1/events")}

    async def _thin(self) -> set[str]:
        ids: set[str] = set()
        path: str | None = "/v2/core/events?limit=100"
        while path:
            page = await self._get(path)
            ids |= {event["id"] for event in page["data"]}
            path = page.get("next_page_url")
        return ids

    async def _get(self, path: str) -> dict[str, Any]:
        reply = await self._client.send("GET", path, "", {"Stripe-Version": VERSION})
        assert reply.status == 200, reply
        return reply.document


async def listed(client: Client, path: str) -> list[dict[str, Any]]:
    """Return all objects of a list of API v1."""
    rows: list[dict[str, Any]] = []
    more = True
    while more:
        after = {"starting_after": rows[-1]["id"]} if rows else {}
        page = await client.get(path, limit=100, **after)
        assert page.status == 200, page
        rows += page.document["data"]
        more = page.document["has_more"]
    return rows
