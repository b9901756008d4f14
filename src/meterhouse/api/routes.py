"""The whole surface on one page: method, path, what a restricted key needs, handler."""

from collections.abc import Awaitable, Callable
from typing import NamedTuple
from urllib.parse import unquote

from meterhouse import limits
from meterhouse.api import health
from meterhouse.api.call import Answer, Call, OpenRequest
from meterhouse.api.meterhouse import (
    accounts,
    activity,
    api_keys,
    audit_log,
    backup,
    credit_burn_down,
    deliveries,
    destinations,
    dimensions,
    embed_tokens,
    entitlement,
    erasures,
    holdups,
    invoice_lines,
    late_usage,
    rejections,
    request_logs,
    resends,
    revenue,
    status,
    usage,
    verification,
    what_if,
)
from meterhouse.api.meterhouse import alerts as our_alerts
from meterhouse.api.meterhouse import customers as customers_by_text
from meterhouse.api.meterhouse import meter_events as raw_events
from meterhouse.api.rate_limits import Limit
from meterhouse.api.services import Services
from meterhouse.api.v1 import accounts as v1_accounts
from meterhouse.api.v1 import (
    alerts,
    catalog_search,
    credit_balance_summary,
    credit_balance_transactions,
    credit_grants,
    customer_lists,
    customer_search,
    customers,
    event_retry,
    event_summaries,
    events,
    invoice_actions,
    invoice_items,
    invoice_payments,
    invoice_preview,
    invoice_search,
    invoices,
    meter_event_adjustments,
    meter_events,
    meter_usage,
    meters,
    prices,
    products,
    stripecli,
    subscription_changes,
    subscription_items,
    subscription_search,
    subscriptions,
    test_clocks,
    webhook_endpoints,
)
from meterhouse.api.v1 import invoice_lines as v1_invoice_lines
from meterhouse.api.v2 import event_destinations, meter_event_session, meter_event_stream
from meterhouse.api.v2 import events as v2_events
from meterhouse.api.v2 import meter_event_adjustments as v2_meter_event_adjustments
from meterhouse.api.v2 import meter_events as v2_meter_events
from meterhouse.wire.credentials import Access

Handler = Callable[[Call], Awaitable[Answer]]
OpenHandler = Callable[[Services, OpenRequest], Awaitable[Answer]]


class Route(NamedTuple):
    """One row. A part of the path in braces stands for any one part and is handed to the handler.

    `open` answers without an API key, unless it asks for one by itself. `session`
    takes the token of a session as well, `embed` an embed token. `limit` is what a request counts
    towards in the limits profile `stripe`; where it is None the handler counts. `logged` requests
    can be read by their sender: all but a stream's, which are too many, and those of our own
    extensions. Those with `sends` are turned away while the clock is wrong. `json` takes a JSON
    body outside of API v2. `body_bytes_max` bounds the body. `hears` is what a key must be
    permitted to read as well, because it names where that goes. The operator, who is the dashboard
    and the command line of the same machine, is let in everywhere; `operator_only` lets in nobody
    else.
    """

    method: str
    path: str
    resource: str
    access: Access
    handler: Handler
    open: OpenHandler | None = None
    session: bool = False
    embed: bool = False
    limit: Limit | None = "basic"
    logged: bool = False
    sends: bool = False
    json: bool = False
    body_bytes_max: int = limits.REQUEST_BODY_BYTES_MAX
    operator_only: bool = False
    hears: str = ""


def _route(method: str, path: str, resource: str, handler: Handler) -> Route:
    access: Access = "read" if method == "GET" else "write"
    logged = not path.startswith(_EXTENSIONS)
    return Route(method, path, resource, access, handler, logged=logged)


async def _closed(_: Call) -> Answer:
    raise AssertionError("an open route has no handler for calls")


def _open(method: str, path: str, handler: OpenHandler) -> Route:
    return Route(method, path, "", "read", _closed, handler)


def _operator(method: str, path: str, handler: Handler) -> Route:
    return _route(method, path, "", handler)._replace(operator_only=True)


_EXTENSIONS = "/meterhouse/"
_OUR_ALERT = "/meterhouse/v1/alerts/{id}"
_METER = "/v1/billing/meters/{id}"
_ALERT = "/v1/billing/alerts/{id}"
_CUSTOMER = "/v1/customers/{id}"
_PRODUCT = "/v1/products/{id}"
_PRICE = "/v1/prices/{id}"
_TEST_CLOCK = "/v1/test_helpers/test_clocks/{id}"
_SUBSCRIPTION = "/v1/subscriptions/{id}"
_ITEM = "/v1/subscription_items/{id}"
_INVOICE = "/v1/invoices/{id}"
_INVOICE_ITEM = "/v1/invoiceitems/{id}"
_ENDPOINT = "/v1/webhook_endpoints/{id}"
_DIMENSIONS = "/meterhouse/v1/meters/{id}/dimensions"
_CREDIT_GRANT = "/v1/billing/credit_grants/{id}"
_LINE = "/meterhouse/v1/invoice_lines/{id}"
_DELIVERY = "/meterhouse/v1/deliveries/{id}"
_DESTINATION = "/v2/core/event_destinations/{id}"

ROUTES: tuple[Route, ...] = (
    _route(
        "POST", "/v1/billing/meter_events", "billing_meter_events", meter_events.create
    )._replace(limit="meter_events", sends=True),
    _route(
        "POST",
        "/v1/billing/meter_event_adjustments",
        "billing_meter_event_adjustments",
        meter_event_adjustments.create,
    )._replace(sends=True),
    _route("POST", "/v1/billing/meters", "billing_meters", meters.create),
    _route("GET", "/v1/billing/meters", "billing_meters", meters.list_),
    _route("GET", _METER, "billing_meters", meters.retrieve),
    _route("POST", _METER, "billing_meters", meters.update),
    _route("POST", _METER + "/deactivate", "billing_meters", meters.deactivate),
    _route("POST", _METER + "/reactivate", "billing_meters", meters.reactivate),
    _route(
        "GET", _METER + "/event_summaries", "billing_meter_event_summaries", event_summaries.list_
    ),
    _route(
        "GET", "/v1/billing/analytics/meter_usage", "billing_meter_usage", meter_usage.retrieve
    )._replace(limit="meter_usage", embed=True),
    _route("POST", "/v1/billing/alerts", "billing_alerts", alerts.create),
    _route("GET", "/v1/billing/alerts", "billing_alerts", alerts.list_),
    _route("GET", _ALERT, "billing_alerts", alerts.retrieve),
    _route("POST", _ALERT + "/activate", "billing_alerts", alerts.activate),
    _route("POST", _ALERT + "/deactivate", "billing_alerts", alerts.deactivate),
    _route("POST", _ALERT + "/archive", "billing_alerts", alerts.archive),
    _route("POST", "/v1/billing/credit_grants", "billing_credits", credit_grants.create),
    _route("GET", "/v1/billing/credit_grants", "billing_credits", credit_grants.list_),
    _route("GET", _CREDIT_GRANT, "billing_credits", credit_grants.retrieve),
    _route("POST", _CREDIT_GRANT, "billing_credits", credit_grants.update),
    _route("POST", _CREDIT_GRANT + "/expire", "billing_credits", credit_grants.expire),
    _route("POST", _CREDIT_GRANT + "/void", "billing_credits", credit_grants.void),
    _route(
        "GET",
        "/v1/billing/credit_balance_summary",
        "billing_credits",
        credit_balance_summary.retrieve,
    ),
    _route(
        "GET",
        "/v1/billing/credit_balance_transactions",
        "billing_credits",
        credit_balance_transactions.list_,
    ),
    _route(
        "GET",
        "/v1/billing/credit_balance_transactions/{id}",
        "billing_credits",
        credit_balance_transactions.retrieve,
    ),
    _route("POST", "/v1/customers", "customers", customers.create),
    _route("GET", "/v1/customers", "customers", customers.list_),
    _route("GET", _CUSTOMER, "customers", customers.retrieve),
    _route("POST", _CUSTOMER, "customers", customers.update),
    _route("DELETE", _CUSTOMER, "customers", customers.delete),
    _route("GET", "/v1/customers/search", "customers", customer_search.search)._replace(
        limit="search"
    ),
    _route("GET", _CUSTOMER + "/sources", "customers", customer_lists.sources),
    _route("GET", _CUSTOMER + "/subscriptions", "customers", customer_lists.subscriptions),
    _route("GET", _CUSTOMER + "/tax_ids", "customers", customer_lists.tax_ids),
    _route("POST", "/v1/products", "products", products.create),
    _route("GET", "/v1/products", "products", products.list_),
    _route("GET", "/v1/products/search", "products", catalog_search.products_by_query)._replace(
        limit="search"
    ),
    _route("GET", _PRODUCT, "products", products.retrieve),
    _route("POST", _PRODUCT, "products", products.update),
    _route("DELETE", _PRODUCT, "products", products.delete),
    _route("POST", "/v1/prices", "prices", prices.create),
    _route("GET", "/v1/prices", "prices", prices.list_),
    _route("GET", "/v1/prices/search", "prices", catalog_search.prices_by_query)._replace(
        limit="search"
    ),
    _route("GET", _PRICE, "prices", prices.retrieve),
    _route("POST", _PRICE, "prices", prices.update),
    _route("POST", "/v1/subscriptions", "subscriptions", subscriptions.create),
    _route("GET", "/v1/subscriptions", "subscriptions", subscriptions.list_),
    _route("GET", "/v1/subscriptions/search", "subscriptions", subscription_search.search)._replace(
        limit="search"
    ),
    _route("GET", _SUBSCRIPTION, "subscriptions", subscriptions.retrieve),
    _route("POST", _SUBSCRIPTION, "subscriptions", subscription_changes.update),
    _route("DELETE", _SUBSCRIPTION, "subscriptions", subscription_changes.cancel),
    _route("POST", _SUBSCRIPTION + "/migrate", "subscriptions", subscription_changes.migrate),
    _route("POST", _SUBSCRIPTION + "/pause", "subscriptions", subscription_changes.pause),
    _route("POST", _SUBSCRIPTION + "/resume", "subscriptions", subscription_changes.resume),
    _route("POST", "/v1/subscription_items", "subscriptions", subscription_items.create),
    _route("GET", "/v1/subscription_items", "subscriptions", subscription_items.list_),
    _route("GET", _ITEM, "subscriptions", subscription_items.retrieve),
    _route("POST", _ITEM, "subscriptions", subscription_items.update),
    _route("DELETE", _ITEM, "subscriptions", subscription_items.delete),
    _route("POST", _ITEM + "/usage_records", "subscriptions", subscription_items.usage_records),
    _route(
        "GET", _ITEM + "/usage_record_summaries", "subscriptions", subscription_items.usage_records
    ),
    _route("POST", "/v1/invoices", "invoices", invoices.create),
    _route("GET", "/v1/invoices", "invoices", invoices.list_),
    _route("GET", "/v1/invoices/search", "invoices", invoice_search.search)._replace(
        limit="search"
    ),
    _route("GET", _INVOICE, "invoices", invoices.retrieve),
    _route("POST", _INVOICE, "invoices", invoices.update),
    _route("DELETE", _INVOICE, "invoices", invoices.delete),
    _route("POST", _INVOICE + "/finalize", "invoices", invoice_actions.finalize),
    _route("POST", _INVOICE + "/pay", "invoices", invoice_actions.pay),
    _route("POST", _INVOICE + "/void", "invoices", invoice_actions.void),
    _route(
        "POST", _INVOICE + "/mark_uncollectible", "invoices", invoice_actions.mark_uncollectible
    ),
    _route("POST", _INVOICE + "/send", "invoices", invoice_actions.send),
    _route("GET", _INVOICE + "/lines", "invoices", v1_invoice_lines.list_),
    _route("POST", _INVOICE + "/lines/{line}", "invoices", v1_invoice_lines.update_one),
    _route("POST", _INVOICE + "/add_lines", "invoices", v1_invoice_lines.add),
    _route("POST", _INVOICE + "/update_lines", "invoices", v1_invoice_lines.update),
    _route("POST", _INVOICE + "/remove_lines", "invoices", v1_invoice_lines.remove),
    _route("POST", "/v1/invoiceitems", "invoices", invoice_items.create),
    _route("GET", "/v1/invoiceitems", "invoices", invoice_items.list_),
    _route("GET", _INVOICE_ITEM, "invoices", invoice_items.retrieve),
    _route("POST", _INVOICE_ITEM, "invoices", invoice_items.update),
    _route("DELETE", _INVOICE_ITEM, "invoices", invoice_items.delete),
    _route("GET", "/v1/invoice_payments", "invoices", invoice_payments.list_),
    _route("POST", "/v1/invoices/create_preview", "invoices", invoice_preview.create)._replace(
        access="read"
    ),
    _route("GET", "/v1/invoices/upcoming", "invoices", invoice_preview.upcoming),
    _route("GET", "/v1/invoices/upcoming/lines", "invoices", invoice_preview.upcoming_lines),
    _route("GET", "/v1/account", "account", v1_accounts.current),
    _route("GET", "/v1/accounts", "account", v1_accounts.list_),
    _route("GET", "/v1/accounts/{id}", "account", v1_accounts.retrieve),
    _route("GET", "/v1/events", "events", events.list_),
    _route("GET", "/v1/events/{id}", "events", events.retrieve),
    _route("POST", "/v1/events/{id}/retry", "events", event_retry.create),
    _route("POST", "/v1/test_helpers/test_clocks", "test_clocks", test_clocks.create),
    _route("GET", "/v1/test_helpers/test_clocks", "test_clocks", test_clocks.list_),
    _route("GET", _TEST_CLOCK, "test_clocks", test_clocks.retrieve),
    _route("POST", _TEST_CLOCK + "/advance", "test_clocks", test_clocks.advance),
    _route("DELETE", _TEST_CLOCK, "test_clocks", test_clocks.delete),
    _route(
        "POST", "/v1/webhook_endpoints", "event_destinations", webhook_endpoints.create
    )._replace(hears="events"),
    _route("GET", "/v1/webhook_endpoints", "event_destinations", webhook_endpoints.list_),
    _route("GET", _ENDPOINT, "event_destinations", webhook_endpoints.retrieve),
    _route("POST", _ENDPOINT, "event_destinations", webhook_endpoints.update)._replace(
        hears="events"
    ),
    _route("DELETE", _ENDPOINT, "event_destinations", webhook_endpoints.delete),
    _route("POST", "/v1/stripecli/sessions", "stripecli_sessions", stripecli.create),
    _route(
        "POST",
        "/v2/billing/meter_event_session",
        "billing_meter_events",
        meter_event_session.create,
    ),
    _route(
        "POST", "/v2/billing/meter_event_stream", "billing_meter_events", meter_event_stream.create
    )._replace(
        session=True,
        limit=None,
        logged=False,
        sends=True,
        body_bytes_max=limits.STREAM_BODY_BYTES_MAX,
    ),
    _route(
        "POST", "/v2/billing/meter_events", "billing_meter_events", v2_meter_events.create
    )._replace(limit="meter_events", sends=True),
    _route(
        "POST",
        "/v2/billing/meter_event_adjustments",
        "billing_meter_event_adjustments",
        v2_meter_event_adjustments.create,
    )._replace(sends=True),
    _route(
        "POST", "/v2/core/event_destinations", "event_destinations", event_destinations.create
    )._replace(hears="events"),
    _route("GET", "/v2/core/event_destinations", "event_destinations", event_destinations.list_),
    _route("GET", _DESTINATION, "event_destinations", event_destinations.retrieve),
    _route("POST", _DESTINATION, "event_destinations", event_destinations.update)._replace(
        hears="events"
    ),
    _route("DELETE", _DESTINATION, "event_destinations", event_destinations.delete),
    _route(
        "POST", _DESTINATION + "/enable", "event_destinations", event_destinations.enable
    )._replace(hears="events"),
    _route("POST", _DESTINATION + "/disable", "event_destinations", event_destinations.disable),
    _route("POST", _DESTINATION + "/ping", "event_destinations", event_destinations.ping),
    _route("GET", "/v2/core/events", "events", v2_events.list_),
    _route("GET", "/v2/core/events/{id}", "events", v2_events.retrieve),
    _route("GET", "/meterhouse/v1/deliveries", "event_destinations", deliveries.list_),
    _route("GET", _DELIVERY, "event_destinations", deliveries.retrieve),
    _route("POST", _DELIVERY + "/redeliver", "event_destinations", deliveries.redeliver),
    _route(
        "POST",
        "/meterhouse/v1/destinations/{id}/roll_secret",
        "event_destinations",
        destinations.roll_secret,
    ),
    _route("GET", "/meterhouse/v1/status", "billing_meter_events", status.retrieve),
    _route("GET", "/meterhouse/v1/rejections", "billing_meter_events", rejections.list_),
    _route("GET", "/meterhouse/v1/activity", "billing_meter_events", activity.list_),
    _route("GET", "/meterhouse/v1/revenue", "invoices", revenue.list_),
    _route("GET", "/meterhouse/v1/customers", "customers", customers_by_text.list_),
    _route("GET", "/meterhouse/v1/meter_events", "billing_meter_events", raw_events.list_),
    _route("GET", "/meterhouse/v1/meter_event", "billing_meter_events", raw_events.retrieve),
    _route("GET", "/meterhouse/v1/meter_events/{id}", "billing_meter_events", raw_events.retrieve),
    _route(
        "POST",
        "/meterhouse/v1/invalid_meter_events/resend",
        "billing_meter_events",
        resends.create,
    )._replace(json=True, sends=True),
    _route("GET", "/meterhouse/v1/resends/{id}", "billing_meter_events", resends.retrieve),
    _route("GET", "/meterhouse/v1/request_logs", "request_logs", request_logs.list_),
    _route("GET", "/meterhouse/v1/audit_log", "audit_log", audit_log.list_),
    _route("GET", _DIMENSIONS, "billing_meters", dimensions.retrieve),
    _route("POST", _DIMENSIONS, "billing_meters", dimensions.update),
    _route("POST", "/meterhouse/v1/alerts", "billing_alerts", our_alerts.create),
    _route("GET", "/meterhouse/v1/alerts", "billing_alerts", our_alerts.list_),
    _route("GET", _OUR_ALERT, "billing_alerts", our_alerts.retrieve),
    _route("GET", _OUR_ALERT + "/history", "billing_alerts", our_alerts.history),
    _route("GET", _OUR_ALERT + "/forecast", "billing_alerts", our_alerts.forecast),
    _route("GET", "/meterhouse/v1/usage", "billing_meter_usage", usage.retrieve)._replace(
        limit="meter_usage"
    ),
    _route(
        "GET", "/meterhouse/v1/credit_burn_down", "billing_credits", credit_burn_down.retrieve
    )._replace(limit="meter_usage"),
    _route("GET", "/meterhouse/v1/entitlement", "billing_alerts", entitlement.retrieve),
    _route("GET", "/meterhouse/v1/entitlement/stream", "billing_alerts", entitlement.stream),
    _route("GET", "/meterhouse/v1/holdups", "invoices", holdups.list_),
    _route("GET", "/meterhouse/v1/late_usage", "invoices", late_usage.list_)._replace(
        limit="meter_usage"
    ),
    _route("POST", "/meterhouse/v1/what_if", "invoices", what_if.create)._replace(
        access="read", limit="meter_usage"
    ),
    _route("GET", _LINE + "/events", "invoices", invoice_lines.events),
    _route("GET", _LINE + "/breakdown", "invoices", invoice_lines.breakdown)._replace(
        limit="meter_usage"
    ),
    _route("POST", "/meterhouse/v1/embed_tokens", "billing_meter_usage", embed_tokens.create),
    _operator("GET", "/meterhouse/v1/api_keys", api_keys.list_),
    _operator("POST", "/meterhouse/v1/api_keys", api_keys.create),
    _operator("POST", "/meterhouse/v1/api_keys/{id}/revoke", api_keys.revoke),
    _operator("GET", "/meterhouse/v1/accounts", accounts.list_),
    _operator("GET", "/meterhouse/v1/accounts/{id}", accounts.retrieve),
    _operator("POST", "/meterhouse/v1/customers/{id}/erase", erasures.create)._replace(json=True),
    _operator("GET", "/meterhouse/v1/erasures/{id}", erasures.retrieve),
    _open("GET", "/healthz", health.live),
    _open("GET", "/readyz", health.ready),
    _open("GET", "/metrics", health.metrics),
    _open("POST", "/meterhouse/v1/verification", verification.start),
    _open("GET", "/meterhouse/v1/verification", verification.retrieve),
    _open("POST", "/meterhouse/v1/backup", backup.start),
    _open("GET", "/meterhouse/v1/backup", backup.retrieve),
    _open("DELETE", "/meterhouse/v1/backup", backup.delete),
)


class Routes:
    """Finds a row: by the exact path first, else part by part. HEAD is found where GET is."""

    def __init__(self, rows: tuple[Route, ...] = ROUTES) -> None:
        exact = {(row.method, row.path): row for row in rows if "{" not in row.path}
        heads = {("HEAD", path): row for (method, path), row in exact.items() if method == "GET"}
        self._exact = exact | heads
        self._patterns = [(row, row.path.split("/")) for row in rows if "{" in row.path]

    def find(
        self, method: str, path: str, raw_path: str = ""
    ) -> tuple[Route | None, tuple[str, ...]]:
        """Return the row for a request and the variable parts of its path.

        `raw_path` is the path as it was sent; a slash that is encoded there is part of an id.
        """
        exact = self._exact.get((method, path))
        if exact is not None:
            return exact, ()
        method = "GET" if method == "HEAD" else method
        encoded = "%" in raw_path
        parts = [unquote(part) for part in raw_path.split("/")] if encoded else path.split("/")
        for row, pattern in self._patterns:
            if row.method == method and len(parts) == len(pattern):
                ids = _match(pattern, parts)
                if ids is not None:
                    return row, ids
        return None, ()


def _match(pattern: list[str], parts: list[str]) -> tuple[str, ...] | None:
    ids: list[str] = []
    for wanted, part in zip(pattern, parts, strict=True):
        if wanted.startswith("{"):
            if not part or "\0" in part:  # no id has one, and not every database takes one
                return None
            ids.append(part)
        elif wanted != part:
            return None
    return tuple(ids)
