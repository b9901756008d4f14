"""Stripe's API v2: JSON in, JSON out (https://docs.stripe.com/api-v2-overview)."""
