"""The texts of lines, to the letter: `31 credit × Gitpod Usage (Tier 2 at $0.036 / month)`.

The product gives its name and its unit label, which stands as it is: nothing is put in the plural,
and without a label it is left out.
"""

from decimal import Decimal

from meterhouse.billing.charge import Charge
from meterhouse.billing.money import print_decimal, print_money
from meterhouse.billing.price import Pricing, Recurrence
from meterhouse.billing.subscription import BillingMode


def describe(
    charge: Charge, pricing: Pricing, recurrence: Recurrence, name: str, unit_label: str | None
) -> str:
    """Return what a line says of a charge for a product of this name."""
    at = f"at {print_money(charge.unit_amount, pricing.currency)}{packages(pricing)}"
    tier = f"Tier {charge.tier} " if charge.tier is not None else ""
    text = f"{name} ({tier}{at} {every(recurrence)})"
    return text if charge.flat else f"{_units(charge.quantity, unit_label)} × {text}"


def describe_free_trial(
    quantity: Decimal, name: str, unit_label: str | None, mode: BillingMode = "flexible"
) -> str:
    """Return what a line says of usage in a period that was a trial."""
    units = f"{_units(quantity, unit_label)} × {name}"
    return f"Free trial for {units}" if mode == "flexible" else f"{units} (Free trial)"


def describe_trial(quantity: Decimal, name: str, unit_label: str | None, mode: BillingMode) -> str:
    """Return what a line says of a trial of what is not metered."""
    if mode == "classic":
        return f"Trial period for {name}"
    return describe_free_trial(quantity, name, unit_label)


def describe_billed_before() -> str:
    """Return what a line says that takes off what earlier invoices have charged."""
    return "Amount previously billed"


def packages(pricing: Pricing) -> str:
    """Return how many units an amount is for, where it is for more than one: ` per 60 units`."""
    return f" per {pricing.transform.divide_by} units" if pricing.transform else ""


def every(recurrence: Recurrence) -> str:
    """Return how often an amount is due: `/ month`, `every 3 months`."""
    if recurrence.count == 1:
        return f"/ {recurrence.interval}"
    return f"every {recurrence.count} {recurrence.interval}s"


def _units(quantity: Decimal, unit_label: str | None) -> str:
    return f"{print_decimal(quantity)} {unit_label}" if unit_label else print_decimal(quantity)
