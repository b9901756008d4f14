"""Stripe's v1 resources: each handler decodes, makes one call, and renders."""
