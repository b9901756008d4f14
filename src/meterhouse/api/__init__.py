"""Answers for machines: Stripe's API on the wire, and our own beside it."""
