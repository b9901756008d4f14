"""What an answer may expand (https://docs.stripe.com/api/expanding_objects)."""

from collections.abc import Collection, Iterable

from meterhouse.limits import EXPAND_LEVELS_MAX
from meterhouse.wire.envelope import cannot_expand, expand_too_deep

# What a restricted key must be permitted to read to see more than the id of it.
_RESOURCES = {
    "credit_balance_transaction": "billing_credits",
    "credit_grant": "billing_credits",
    "customer": "customers",
    "default_price": "prices",
    "invoice": "invoices",
    "latest_invoice": "invoices",
    "meter": "billing_meters",
    "price": "prices",
    "product": "products",
    "subscription": "subscriptions",
    "subscriptions": "subscriptions",
    "test_clock": "test_clocks",
}


def check_expand(paths: Iterable[str], expandable: Collection[str] = ()) -> None:
    """Refuse a path to expand, such as `data.customer`, that is not in `expandable`.

    Nor lies below something that is: nothing here fills what can be expanded, so that whatever a
    client expects in it may be asked for.
    """
    for path in paths:
        if path.count(".") >= EXPAND_LEVELS_MAX:
            raise expand_too_deep(path)
        if not any(f"{path}.".startswith(f"{known}.") for known in expandable):
            raise cannot_expand(path)


def expanded(paths: Iterable[str], *, listed: bool = False) -> frozenset[str]:
    """Return which members of an object are to be expanded, by the paths in the answer.

    `listed` tells that the answer is a list of such objects, so that paths begin with `data.`.
    """
    within = (path.removeprefix("data.") if listed else path for path in paths)
    return frozenset(path.partition(".")[0] for path in within)


def expanded_resources(paths: Iterable[str]) -> list[str]:
    """Return the resources, by the names that permissions have, that paths lead to."""
    names = {name for path in paths for name in path.split(".")}
    return sorted({_RESOURCES[name] for name in names if name in _RESOURCES})
