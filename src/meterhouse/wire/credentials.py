"""API keys: how a request carries one, how one is shown to people, what one permits.

A secret is never kept: the ledger knows it by its digest, people by its mask
(https://docs.stripe.com/api/authentication, https://docs.stripe.com/keys).
"""

import base64
import binascii
import hashlib
from collections.abc import Mapping
from typing import Literal

from meterhouse.limits import API_KEY_CHARS_MAX, EMBED_TOKEN_CHARS_MAX
from meterhouse.wire.embed import is_embed_token
from meterhouse.wire.envelope import invalid_api_key, no_api_key

Kind = Literal["secret", "restricted"]
Access = Literal["read", "write"]
Permissions = Mapping[str, Access]

# What a restricted key may be permitted to do, and what that covers.
PERMISSION_RESOURCES: dict[str, str] = {
    "account": "The account that the key belongs to, and those connected to it.",
    "audit_log": "Who changed what.",
    "billing_alerts": "Alerts on usage.",
    "billing_credits": "Credit grants, and what is left of them.",
    "billing_meter_event_adjustments": "Cancelling meter events.",
    "billing_meter_event_summaries": "Usage of a customer on a meter.",
    "billing_meter_usage": "Usage of customers on all meters, by dimensions and tenants.",
    "billing_meter_events": "Sending, searching and resending meter events.",
    "billing_meters": "Meters.",
    "customers": "Customers.",
    "event_destinations": "Event destinations, webhook endpoints, and what is delivered to them. "
    "To make, change or enable one, a key needs events:read as well.",
    "invoices": "Invoices and invoice items, and what they are made of.",
    "prices": "Prices.",
    "products": "Products.",
    "subscriptions": "Subscriptions and their items.",
    "test_clocks": "Test clocks.",
    "request_logs": "The log of requests.",
    "stripecli_sessions": "Listening with the Stripe CLI: to events with events:read, to requests "
    "with request_logs:read.",
    "events": "Events: what happened, error reports among them.",
}

_KINDS: dict[str, tuple[Kind, bool]] = {
    "sk_test_": ("secret", False),
    "sk_live_": ("secret", True),
    "rk_test_": ("restricted", False),
    "rk_live_": ("restricted", True),
}
_PREFIX_CHARS = 8
_SHOWN_CHARS = 4
_HIDDEN = "****"


def read_authorization(header: str | None) -> str:
    """Return the API key of the header `Authorization`: Bearer, or Basic without a password.

    Refuses a header that has no key, and a key or token longer than any that exists.
    """
    scheme, _, rest = (header or "").strip().partition(" ")
    rest = rest.strip()
    if scheme.lower() == "bearer":
        key = rest
    elif scheme.lower() == "basic":
        key = _basic_user(rest)
    else:
        key = ""
    if not key:
        raise no_api_key()
    if len(key) > (EMBED_TOKEN_CHARS_MAX if is_embed_token(key) else API_KEY_CHARS_MAX):
        raise invalid_api_key(mask(key))
    return key


def _basic_user(token: str) -> str:
    try:
        text = base64.b64decode(token, validate=True).decode()
    except (binascii.Error, ValueError):
        raise no_api_key() from None
    user, _, password = text.partition(":")
    if password:
        raise invalid_api_key(mask(user))
    return user


def kind_of(key: str) -> Kind | None:
    """Return what kind of key `key` is by its prefix; None when it can be none of ours."""
    found = _KINDS.get(key[:_PREFIX_CHARS])
    return found[0] if found else None


def is_live(key: str) -> bool:
    """Return whether the prefix of `key` says live mode."""
    found = _KINDS.get(key[:_PREFIX_CHARS])
    return found is not None and found[1]


def mask(key: str) -> str:
    """Return `key` as an error message may show it: `sk_test_****1a2B`.

    Of a text that is too short to hide anything behind its ends, nothing is shown.
    """
    prefix = key[:_PREFIX_CHARS] if kind_of(key) else ""
    hidden = len(key) - len(prefix) - _SHOWN_CHARS
    return f"{prefix}{_HIDDEN}{key[-_SHOWN_CHARS:] if hidden >= _SHOWN_CHARS else ''}"


def digest(key: str) -> bytes:
    """Return the SHA-256 digest by which the ledger knows `key`."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()


def parse_permissions(text: str) -> dict[str, Access]:
    """Read `billing_meters:read,billing_meter_events:write`; `write` includes `read`.

    Raises `ValueError` that tells what a permission may be.
    """
    permissions: dict[str, Access] = {}
    for item in filter(None, map(str.strip, text.split(","))):
        resource, _, access = item.partition(":")
        if resource not in PERMISSION_RESOURCES:
            raise ValueError(
                f"'{item}' permits nothing: '{resource}' is not one of "
                f"{', '.join(PERMISSION_RESOURCES)}."
            )
        if access not in ("read", "write"):
            raise ValueError(f"'{item}' must end in ':read' or ':write'.")
        permissions[resource] = "write" if access == "write" else "read"
    if not permissions:
        raise ValueError("no permission given; one looks like billing_meter_events:write.")
    return permissions


def permits(permissions: Permissions, resource: str, access: Access) -> bool:
    """Return whether a restricted key with `permissions` may read or write `resource`."""
    return permissions.get(resource) in ("write", access)
