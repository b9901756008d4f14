"""Meterhouse: usage metering that speaks Stripe's metering API on the wire."""

from importlib.metadata import version

__version__ = version("meterhouse")
